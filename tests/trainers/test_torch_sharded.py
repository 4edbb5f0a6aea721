"""Processes that share the weights (FSDP) make what one process makes, and what they keep is whole."""

import pytest
import torch
from torch import nn

from flywheel.errors import ConfigError, TrainerError
from flywheel.trainers.torch_sharded import _layers
from flywheel.training import distributed
from flywheel.training import torch as framework
from tests.trainers import together
from tests.trainers.together import Job
from tests.trainers.worlds import context_of

SWITCHES = {"ema": 0.9, "accumulate": 2, "clip": 0.05}


def joint(folder, stop=None, **more):
    return distributed.launch(together.train_job, Job(folder, SWITCHES | {"sharded": True} | more, stop), 2, gpus=False)


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        assert torch.allclose(found[name], expected[name], atol=1e-4), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Examples and weights of one process."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, together.train_job(Job(folder, SWITCHES)).state_dict()


def in_new(folder, alone):
    (folder / "e").symlink_to(alone[0] / "e")
    return folder


@pytest.mark.slow
def test_processes_that_share_the_weights_make_a_plain_model_as_one_process_makes(alone, tmp_path):
    model = joint(in_new(tmp_path, alone))

    assert_close(model.state_dict(), alone[1])
    assert all(type(weight) is nn.Parameter for weight in model.parameters())
    inputs = context_of(tmp_path / "e").validation.arrays()[0]
    framework.save(model, tmp_path, inputs)
    assert framework.predict(framework.load(tmp_path), inputs) == pytest.approx(framework.predict(model, inputs))


@pytest.mark.slow
def test_after_sigterm_they_go_on_from_a_whole_checkpoint_and_so_can_one_process(alone, tmp_path, capfd):
    with pytest.raises(TrainerError, match="143"):
        joint(in_new(tmp_path, alone), stop=6)
    newest = max((tmp_path / "c").iterdir())
    content = newest.read_bytes()
    kept = torch.load(newest, weights_only=True)
    assert (kept["at"]["epoch"], kept["at"]["step"]) == (2, 7)
    assert {name: value.shape for name, value in kept["at"]["best"].items()} == {
        name: value.shape for name, value in alone[1].items()
    }

    assert_close(joint(tmp_path).state_dict(), alone[1])
    assert capfd.readouterr().out.count("goes on from the checkpoint of step 7") == 2

    for file in (tmp_path / "c").iterdir():
        file.unlink()
    newest.write_bytes(content)
    assert_close(together.train_job(Job(tmp_path, SWITCHES)).state_dict(), alone[1])
    assert capfd.readouterr().out.count("goes on from the checkpoint of step 7") == 1


@pytest.mark.slow
def test_they_compute_in_bfloat16(alone, tmp_path):
    mixed = joint(in_new(tmp_path, alone), mixed=True).state_dict()

    assert all(values.dtype == alone[1][name].dtype for name, values in mixed.items())
    assert all(torch.allclose(mixed[name], alone[1][name], atol=0.05) for name in mixed)
    assert not all(torch.allclose(mixed[name], alone[1][name], atol=1e-6) for name in mixed)


def test_one_process_says_that_it_has_nobody_to_share_with(tmp_path, capsys):
    together.train_job(Job(tmp_path, {"epochs": 1, "sharded": True}))

    assert capsys.readouterr().out.count("parameters.sharded changes nothing: one process trains") == 1


def test_sharing_and_compiling_are_not_for_one_training(tmp_path):
    with pytest.raises(ConfigError, match="leave one of them out"):
        together.train_job(Job(tmp_path, {"sharded": True, "compile": True}))


def test_layers_are_gathered_one_at_a_time_inner_ones_first_unless_they_share_weights():
    inner = nn.Sequential(nn.Linear(20, 20), nn.ReLU(), nn.LayerNorm(1))
    module = nn.ModuleDict({"blocks": nn.ModuleList([inner, nn.Linear(20, 20)]), "last": nn.Linear(20, 1)})
    assert list(_layers(module)) == [inner[0], inner, module["blocks"][1]]

    module["last"].weight = nn.Parameter(torch.zeros(20, 20))
    module["blocks"][1].weight = module["last"].weight
    assert list(_layers(module)) == []
