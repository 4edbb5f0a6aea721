"""Trials: models of many windows, each asked about spans that it never saw; what a backtest replays policies over.

Each has the rows of its own window and its own judge, so that it does not depend on what else is asked: a longer range,
or another policy, finds it in the cache.
"""

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
    def pipeline(code: str, state: str, warehouse: str, ledger: str, truth: str = "", truth_state: str = ""):
        archive = dsl.importer(artifact_uri=code, artifact_class=dsl.Artifact).output
        # One that judges may have no rows on its last day; what a window lacks, training says.
        asked = {"columns": list(project.columns), "source": asked_of(project) | {"may_be_empty": True}}
        there, true = {"warehouse": warehouse, "state": state}, {"warehouse": truth, "state": truth_state}
        with_code = {"code": archive} if project.metrics else {}
        for number, each in enumerate(models):
            window = list(each["window"])
            rows = extract(query=query, spans=window, **there, **asked).set_display_name(f"window {number}").output
            seen = transform(examples=rows, window=window, code=archive, **transformed_as(project))
            made = train(
                settings=settings_of(project, project.train),
                champion="",
                examples=rows,
                transformed=seen.outputs["transformed"],
                state=seen.outputs["state"],
                code=archive,
                ledger=ledger,
            ).set_display_name(f"train {number}")
            for part, source in (("judge", there), ("truth", true)):
                if each[part]:
                    spans = list(each[part])
                    met = extract(query=query, spans=spans, **source, **asked).set_display_name(
                        f"rows of {part} {number}"
                    )
                    analyze(
                        examples=met.output,
                        model=made.outputs["model"],
                        champion="",
                        judge=spans,
                        settings=judged,
                        ledger=ledger,
                        **with_code,
                    ).set_display_name(f"{part} {number}")

    return pipeline
