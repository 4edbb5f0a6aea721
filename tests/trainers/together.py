"""What the processes of a test do that train together."""

import os
import time

import torch

from flywheel.errors import TrainerError
from flywheel.trainers import torch_tabular
from flywheel.training import torch as framework
from flywheel.training.rows import Share
from tests.trainers.worlds import context_of

PARAMETERS = {"epochs": 3, "batch": 41, "hidden": (16,), "rate": 0.02, "dropout": 0.0}


def train(examples, rank=0, world=1):
    """Return the fitted model."""
    torch.set_num_threads(1)
    framework.seed(5)
    return torch_tabular.train(context_of(examples, rows=80, parameters=PARAMETERS, share=Share(rank, world)))


def fail(how, rank, world):
    """Fail in the second process, while the first waits for it."""
    if rank == 1 and how == "error":
        raise TrainerError("the second has failed", "mend it.")
    if rank == 1 and how == "killed":
        os.kill(os.getpid(), 9)
    time.sleep(120)
