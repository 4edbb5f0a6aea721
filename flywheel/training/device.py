"""Where to train."""

from __future__ import annotations

import sys

from flywheel.errors import TrainerError


def choose(gpus: int, rank: int = 0) -> str:
    """Return `cuda` if a GPU was asked for, with its number where several are; else `cpu`.

    Args:
        gpus: How many were asked for.
        rank: Which of them this process takes.

    Raises:
        TrainerError: Fewer are there.
    """
    if not gpus:
        return "cpu"
    there, by = _count()
    if there < gpus:
        raise TrainerError(
            f"train.resources asks for {gpus} GPU{'s' * (gpus > 1)}, {by} finds {there or 'none'} here",
            "set train.resources.gpu to 0 to train on the CPU, or run where there is one: is a driver there "
            "(nvidia-smi), and is it a build of the framework with CUDA?",
        )
    return "cuda" if gpus == 1 else f"cuda:{rank}"


def _count() -> tuple[int, str]:
    """Return how many GPUs there are, as the framework says that is loaded."""
    if "tensorflow" in sys.modules and "torch" not in sys.modules:
        import tensorflow as tf

        return len(tf.config.list_physical_devices("GPU")), "TensorFlow"
    try:
        import torch
    except ImportError:
        return 0, "Flywheel, without PyTorch,"
    return torch.cuda.device_count() if torch.cuda.is_available() else 0, "PyTorch"
