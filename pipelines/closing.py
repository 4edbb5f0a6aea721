"""The exit task of every pipeline here: it closes the run's row, and tells people when the state has changed."""

from kfp import dsl

from flywheel.components import conclude
from flywheel.config import Project
from flywheel.pipelines.asking import ask


def closing(project: Project, ledger: str, kind: str) -> dsl.PipelineTask:
    """Return the exit task, with the secrets that its channels name taken from Kubernetes.

    Args:
        project: What flywheel.yaml declares.
        ledger: MLflow tracking URI.
        kind: `ledger` of the pipeline that trains, `monitor` of the one that looks.
    """
    notices = project.notify.model_dump(mode="json", exclude_none=True) | {"kind": kind}
    given = {"notices": notices} if project.notify.channels or project.notify.metrics else {}
    task = conclude(name=project.name, ledger=ledger, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER, **given)
    for channel in project.notify.channels:
        if channel.secret:
            from kfp import kubernetes

            kubernetes.use_secret_as_env(task, channel.secret, {name: name for name in channel.variables})
    return ask(project, "conclude", task)
