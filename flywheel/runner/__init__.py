"""Run compiled Kubeflow pipelines on this machine: faithfully, warm, in parallel."""

from flywheel.runner.api import rerun, resume, run, show
from flywheel.runner.cache import Cache
from flywheel.runner.folder import list_runs, remove_runs
from flywheel.runner.result import Artifact, Result, TaskError, TaskResult

__all__ = [
    "Artifact", "Cache", "Result", "TaskError", "TaskResult", "list_runs", "remove_runs", "rerun", "resume",
    "run", "show",
]  # fmt: skip
