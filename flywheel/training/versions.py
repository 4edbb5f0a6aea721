"""Versions of installed packages, those that every training notes read at import: thirty files, in each process anew.

The step that trains names this module in its `PRELOAD`.
"""

from __future__ import annotations

import importlib.metadata
from contextlib import suppress
from functools import cache

NOTED = ("ai-flywheel", "keras", "mlflow", "numpy", "optuna", "pyarrow", "scikit-learn", "tensorflow", "torch")
"""What decides what comes out of a training."""
_PACKAGED = ("pandas",)


@cache
def version(package: str) -> str:
    """Return the version of an installed package.

    Raises:
        importlib.metadata.PackageNotFoundError: It is not installed.
    """
    return importlib.metadata.version(package)


for _name in (*NOTED, *_PACKAGED):
    with suppress(importlib.metadata.PackageNotFoundError):
        version(_name)
