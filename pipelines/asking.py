"""What the steps of every pipeline here ask the cluster for."""

from kfp import dsl

from flywheel import images
from flywheel.config import Pod, Project, Resources, laid_over
from flywheel.kubeflow.resources import resources

_OF_THE_STEP = {"platform", "pull_policy", "pull_secrets", "volume", "secrets", "config_maps", "labels", "annotations"}


def ask(project: Project, stage: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Return a task that asks for what flywheel.yaml says of its step, and is shown by that name: kfp numbers them.

    Args:
        project: What flywheel.yaml declares.
        stage: The step, as `resources` in flywheel.yaml names it.
        task: Its task.
    """
    asked = project.asked(stage)
    task.set_display_name(stage)
    if isinstance(asked, Resources) and asked.nodes:
        return _of_nodes(project, asked, task)
    if asked.gpu:
        task.set_container_image(images.GPU)
    return resources(task, asked)


def _of_nodes(project: Project, asked: Resources, task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Ask for little: the step only waits for a TrainJob, and finds it again when it is tried again."""
    own = laid_over(Pod(retries={"times": 3, "factor": 2.0, "at_most": "1h"}), project.resources.all)
    kept = {name: getattr(asked, name) for name in _OF_THE_STEP & asked.model_fields_set}
    return resources(task, laid_over(own, Pod(**kept)))
