"""What a cluster is asked for: compiling, task resources, submitting, schedules."""

from flywheel.kubeflow.resources import resources
from flywheel.kubeflow.schedules import schedules
from flywheel.kubeflow.submit import submit

__all__ = ["resources", "schedules", "submit"]
