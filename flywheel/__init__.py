"""Continuous training on Kubeflow Pipelines: retrain, judge, promote, serve, and start again."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ai-flywheel")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
