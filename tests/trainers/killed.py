"""A training that tests kill: `python -m tests.trainers.killed examples checkpoints weights`."""

import sys
import time
from pathlib import Path

import torch

from flywheel.trainers import torch_tabular
from flywheel.training import torch as framework
from flywheel.training.checkpoints import Checkpoints
from tests.trainers.worlds import context_of

PARAMETERS = {"epochs": 6, "batch": 16, "hidden": (16,), "patience": 2, "rate": 0.02, "ema": 0.9, "accumulate": 2}


def train(examples: Path, checkpoints: str, pause: float = 0.0):
    """Return the fitted model; `pause` seconds after each line of progress give time to be killed."""
    torch.set_num_threads(1)
    framework.seed(5)
    kept = Checkpoints(checkpoints, steps=3)
    context = context_of(examples, rows=80, parameters=PARAMETERS, checkpoints=kept)
    context.progress = lambda *_, **__: time.sleep(pause)
    return torch_tabular.train(context)


if __name__ == "__main__":
    torch.save(train(Path(sys.argv[1]), sys.argv[2], pause=0.02).state_dict(), sys.argv[3])
