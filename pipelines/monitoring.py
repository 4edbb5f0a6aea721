"""Monitoring: a look at what serving sees, on a schedule of its own."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from flywheel.components import monitor
from flywheel.config import Project
from flywheel.pipelines.asking import ask
from flywheel.pipelines.closing import closing


def monitoring(project: Project, labels: str = "", serving_query: str = "") -> BaseComponent:
    """Return the monitoring pipeline of `project`, ready to be compiled.

    Args:
        project: What flywheel.yaml declares.
        labels: Text of the SQL file that `monitor.labels` names; none, and live quality is not measured.
        serving_query: Text of the SQL file that gives logged requests, where there is no folder of them.
    """
    source = project.source
    watched = {
        "label": project.label,
        "task": project.task,
        "every": source.every,
        "gate": project.gates.data.model_dump(mode="json", exclude_none=True),
        "monitor": project.monitor.model_dump(mode="json", exclude={"schedule"}, exclude_none=True),
        "source": source.model_dump(mode="json", include={"bigquery", "serving_warehouse"}, exclude_none=True),
        "labels": labels,
        "serving": serving_query,
    }

    @dsl.pipeline(name=f"{project.name}-monitoring", description=f"Monitoring of {project.name}")
    def pipeline(
        span: str = "",
        requests: str = "",
        warehouse: str = source.warehouse,
        ledger: str = project.ledger.tracking_uri,
    ):
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        with dsl.ExitHandler(closing(project, ledger, "monitor")):
            look = monitor(
                name=project.name,
                span=span,
                requests=requests,
                settings=watched,
                warehouse=warehouse,
                ledger=ledger,
                job=job,
            ).set_caching_options(False)
            ask(project, "monitor", look)

    return pipeline
