"""PyTorch modules: what comes back from a folder is what was saved, without the user's code."""

import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from flywheel.errors import TrainerError
from flywheel.training import frameworks
from flywheel.training import torch as framework


class Mixed(nn.Module):
    """Takes a number, an index, an embedding and an image."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.convolution = nn.Conv2d(3, 2, 3)
        self.dense = nn.Linear(1 + 4 + 3 + 2, 1)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs):
        image = self.convolution(inputs["image"].permute(0, 3, 1, 2).float() / 255).mean((2, 3))
        parts = [inputs["size"].unsqueeze(1), self.embedding(inputs["word"]), inputs["vector"], image]
        return torch.sigmoid(self.dense(self.dropout(torch.cat(parts, 1))))


def inputs_of(rows, seed=0):
    random = np.random.default_rng(seed)
    return {
        "word": random.integers(0, 7, rows).astype(np.int32),
        "size": random.normal(size=rows).astype(np.float32),
        "vector": random.normal(size=(rows, 3)).astype(np.float32),
        "image": random.integers(0, 256, (rows, 8, 8, 3)).astype(np.uint8),
    }


@pytest.fixture
def saved(tmp_path):
    framework.seed(3)
    model = Mixed()
    framework.save(model, tmp_path, inputs_of(5))
    return model, tmp_path


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 100, 9000])
def test_a_module_predicts_the_same_once_it_is_saved_for_any_number_of_rows(saved, rows):
    model, folder = saved
    inputs = inputs_of(rows, seed=1)
    found = framework.predict(framework.load(folder), inputs)

    assert found.shape == (rows, 1)
    assert found.dtype == np.float32
    assert np.allclose(found, framework.predict(model, inputs), rtol=1e-6, atol=1e-7)


def test_the_order_of_inputs_does_not_matter(saved):
    inputs = inputs_of(4)
    loaded = framework.load(saved[1])

    assert (framework.predict(loaded, inputs) == framework.predict(loaded, dict(reversed(inputs.items())))).all()


def test_a_model_is_traced_from_a_single_example_row(tmp_path):
    framework.save(Mixed(), tmp_path, inputs_of(1))

    assert framework.predict(framework.load(tmp_path), inputs_of(3)).shape == (3, 1)


@pytest.mark.slow
def test_a_saved_module_needs_no_class_of_its_own_and_holds_no_pickle(saved, tmp_path):
    with zipfile.ZipFile(saved[1] / framework.FILE) as archive:
        for name in archive.namelist():
            with pytest.raises(Exception):  # noqa: B017, PT011 (whatever it says of what is no pickle)
                pickle.loads(archive.read(name))
    text = (
        "import sys, pathlib; from flywheel.training import torch as f; "
        "m = f.load(pathlib.Path(sys.argv[1])); print(type(m).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", text, str(saved[1])], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "GraphModule"


def test_equal_models_are_equal_files_wherever_they_are_made(tmp_path):
    files = []
    for name in ("one", "two"):
        framework.seed(5)
        folder = tmp_path / name
        folder.mkdir()
        framework.save(Mixed(), folder, inputs_of(4))
        files.append((folder / framework.FILE).read_bytes())

    assert files[0] == files[1]


class Branches(nn.Module):
    def forward(self, inputs):
        return inputs["size"] if inputs["size"].sum() > 0 else -inputs["size"]


class FixedRows(nn.Module):
    def forward(self, inputs):
        return inputs["size"] + torch.zeros(2)


@pytest.mark.parametrize("module", [Branches, FixedRows])
def test_a_module_that_cannot_be_exported_is_refused_with_its_cause(tmp_path, module):
    with pytest.raises(TrainerError, match=rf"'{module.__name__}' cannot be exported: \w+: .+(.|\n)*torch.where"):
        framework.save(module(), tmp_path, {"size": np.ones(2, np.float32)})


def test_a_module_is_known_by_its_base_class():
    assert frameworks.name_of(Mixed(), "trainer:train") == "torch"
