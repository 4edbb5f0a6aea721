"""Run compiled Kubeflow pipelines on this machine: faithfully, warm, in parallel."""

from flywheel.runner.api import run
from flywheel.runner.result import Artifact, Result, TaskError, TaskResult

__all__ = ["Artifact", "Result", "TaskError", "TaskResult", "run"]
