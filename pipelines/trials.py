"""Trials: models of many windows, each asked about spans that it never saw; what a backtest replays policies over."""

from collections.abc import Mapping, Sequence
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from flywheel.components import analyze, extract, train, transform
from flywheel.config import Project
from flywheel.pipelines.continuous_training import asked_of, settings_of, transformed_as


def trials(project: Project, query: str, models: Sequence[Mapping[str, Any]]) -> BaseComponent:
    """Return the pipeline that trains each of `models` and lets it predict; tasks are named by their index.

    Args:
        project: What flywheel.yaml declares.
        query: Text of the SQL file that it names.
        models: For each `window`, the spans to train on, `judge`, those to predict, and `truth`, those to predict with
            the rows of the other warehouse.
    """
    judged: dict[str, Any] = {"label": project.label, "task": project.task, "slices": list(project.slices)}
    if project.metrics:
        judged |= {"metrics": {name: each.model_dump(mode="json") for name, each in project.metrics.items()}}

    @dsl.pipeline(name=f"{project.name}-trials", description=f"Models of {project.name} for a backtest")
    def pipeline(
        code: str, spans: list, state: str, warehouse: str, ledger: str, truth: str = "", truth_state: str = ""
    ):
        archive = dsl.importer(artifact_uri=code, artifact_class=dsl.Artifact).output
        asked = {"query": query, "spans": spans, "columns": list(project.columns), "source": asked_of(project)}
        rows = extract(warehouse=warehouse, state=state, **asked).output
        true = rows
        if any(each["truth"] for each in models):
            true = extract(warehouse=truth, state=truth_state, **asked).set_display_name("truth").output
        with_code = {"code": archive} if project.metrics else {}
        for number, each in enumerate(models):
            seen = transform(examples=rows, window=list(each["window"]), code=archive, **transformed_as(project))
            made = train(
                settings=settings_of(project, project.train),
                champion="",
                examples=rows,
                transformed=seen.outputs["transformed"],
                state=seen.outputs["state"],
                code=archive,
                ledger=ledger,
            ).set_display_name(f"train {number}")
            for part, source in (("judge", rows), ("truth", true)):
                if each[part]:
                    analyze(
                        examples=source,
                        model=made.outputs["model"],
                        champion="",
                        judge=list(each[part]),
                        settings=judged,
                        ledger=ledger,
                        **with_code,
                    ).set_display_name(f"{part} {number}")

    return pipeline
