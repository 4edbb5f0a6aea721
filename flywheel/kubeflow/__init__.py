"""What a cluster is asked for: compiling, task resources, submitting, schedules."""

from flywheel.kubeflow.resources import resources

__all__ = ["resources"]
