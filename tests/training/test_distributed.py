"""Processes that train together: they make what one would have made, and fail as one."""

import time

import pytest
import torch

from flywheel.errors import TrainerError
from flywheel.training import distributed
from tests.trainers import together

pytestmark = pytest.mark.slow


def test_two_processes_make_what_one_makes_of_the_joint_batches(tmp_path):
    alone = together.train(tmp_path / "e").state_dict()
    joint = distributed.launch(together.train, tmp_path / "e", 2, gpus=False).state_dict()

    assert joint.keys() == alone.keys()
    for name in alone:
        assert torch.allclose(joint[name], alone[name], atol=1e-4), name


@pytest.mark.parametrize(
    ("how", "said"),
    [("error", r"process 1 of those(.|\n)*the second has failed(.|\n)*mend it"), ("killed", r"process 1 (.|\n)*-9")],
)
def test_when_one_fails_all_end_with_its_error(how, said):
    began = time.monotonic()
    with pytest.raises(TrainerError, match=said):
        distributed.launch(together.fail, how, 2, gpus=False)

    assert time.monotonic() - began < 100
