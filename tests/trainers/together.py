"""What the processes of a test do that train together."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from flywheel.errors import TrainerError
from flywheel.trainers import torch_tabular
from flywheel.training import torch as framework
from flywheel.training.checkpoints import Checkpoints
from flywheel.training.rows import Share
from tests.trainers.worlds import context_of

PARAMETERS = {"epochs": 3, "batch": 41, "hidden": (16,), "rate": 0.02, "dropout": 0.0}


def train(examples, rank=0, world=1):
    """Return the fitted model."""
    torch.set_num_threads(1)
    framework.seed(5)
    return torch_tabular.train(context_of(examples, rows=80, parameters=PARAMETERS, share=Share(rank, world)))


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        folder: Where examples and checkpoints are.
        parameters: Beside those of all.
        stop: Number of the step in which the last process is asked to end.
    """

    folder: Path
    parameters: dict
    stop: int | None = None


def train_job(job, rank=0, world=1):
    """Return the fitted model; processes begin with weights of their own unless they share those of the first."""
    torch.set_num_threads(1)
    framework.seed(5 + rank)
    kept = Checkpoints(str(job.folder / "c"), steps=4)
    context = context_of(
        job.folder / "e", rows=80, parameters=PARAMETERS | job.parameters, share=Share(rank, world), checkpoints=kept
    )

    def progress(done, *_, **__):
        if done == job.stop and rank == world - 1:
            os.kill(os.getpid(), signal.SIGTERM)

    context.progress = progress
    return torch_tabular.train(context)


def fail(how, rank, world):
    """Fail in the second process, while the first waits for it."""
    if rank == 1 and how == "error":
        raise TrainerError("the second has failed", "mend it.")
    if rank == 1 and how == "killed":
        os.kill(os.getpid(), 9)
    time.sleep(120)
