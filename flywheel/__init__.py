"""Continuous training on Kubeflow Pipelines: retrain, judge, promote, serve, and start again."""

from __future__ import annotations

from flywheel import order

__all__ = ["__version__"]

order.keep()


def __getattr__(name: str) -> str:
    """Return `__version__`, looked up when it is asked for: the metadata of packages take longer than all else here."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ai-flywheel")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
