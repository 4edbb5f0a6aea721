"""Continuous training: from fresh data to a judged model in service."""

from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from flywheel.components import analyze, decide, extract, plan, score, train, transform, validate, weigh
from flywheel.config import Analyze, Batch, Project, Resources, Train
from flywheel.pipelines.asking import ask
from flywheel.pipelines.closing import closing
from flywheel.pipelines.judging import Judging, if_yes


def continuous_training(project: Project, query: str, serving_query: str = "") -> BaseComponent:
    """Return the pipeline of `project`, ready to be compiled.

    Args:
        project: What flywheel.yaml declares.
        query: Text of the SQL file that it names.
        serving_query: Text of the SQL file that gives logged requests; none, and nothing is compared with them.
    """
    source, label = project.source, project.label
    asked = asked_of(project)
    checked = {
        "name": project.name,
        "label": label,
        "task": project.task,
        "every": source.every,
        "window": source.window,
        "judge": source.judge,
        "gate": project.gates.data.model_dump(mode="json", exclude_none=True),
        "statistics": project.statistics.model_dump(mode="json", exclude_none=True),
    }
    judged: dict[str, Any] = {"label": label, "task": project.task, "slices": list(project.slices)}
    if project.naive:
        judged |= {"naive": project.naive}
    if project.metrics:
        judged |= {"metrics": {name: each.model_dump(mode="json") for name, each in project.metrics.items()}}
    if project.ranking:
        judged |= {"ranking": project.ranking.model_dump(mode="json")}
    if project.gates.cluster or project.gates.test != "auto":
        judged |= {"evidence": {"cluster": project.gates.cluster or "", "test": project.gates.test}}
    if worst := project.gates.worst_slices:
        judged |= {"search": worst.model_dump(mode="json") | {"columns": list(project.searched)}}
    if (shown := project.shown) != Analyze():
        judged |= {"analyze": shown.model_dump(mode="json", exclude_none=True)}
    if project.gates.leak:
        judged |= {"leak": project.gates.leak.model_dump(mode="json")}
    gates = [gate.model_dump(mode="json", exclude_none=True) for gate in project.gates.model]
    looks = project.gates.looks

    @dsl.pipeline(name=project.name, description=f"Continuous training of {project.name}")
    def pipeline(
        code: str,
        span: str = "",
        warehouse: str = source.warehouse,
        ledger: str = project.ledger.tracking_uri,
        serving: str = project.deploy.text(),
        schedule: dict = {},  # noqa: B006 - kfp only reads it
    ):
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        with dsl.ExitHandler(closing(project, ledger, "ledger")):
            archive = dsl.importer(artifact_uri=code, artifact_class=dsl.Artifact).output
            planned = plan(
                name=project.name,
                span=span,
                source=asked | {"leave_out": project.gates.data.leave_out},
                warehouse=warehouse,
                query=query,
                ledger=ledger,
                code=archive,
                job=job,
                schedule=schedule,
            ).set_caching_options(False)
            to = ask(project, "plan", planned).outputs
            known = {"ledger": ledger, "run": to["run"]}
            own = {"code": archive} if project.metrics else {}
            kept = _each_span_scored(project, to, serving, ledger)
            with dsl.If(to["go"] == True, name="there is something to do"):
                data = extract(
                    query=query,
                    warehouse=warehouse,
                    spans=to["spans"],
                    columns=list(project.columns),
                    source=asked,
                    state=to["state"],
                )
                ask(project, "extract", data)
                logged = {}
                if serving_query:
                    requests = extract(
                        query=serving_query,
                        warehouse=source.serving_warehouse or warehouse,
                        spans=to["judge"],
                        columns=[],
                        source={"every": source.every, "may_be_empty": True},
                        state="",
                    )
                    asked_for = ask(project, "extract", requests.set_caching_options(False))
                    logged = {"serving": asked_for.set_display_name("extract requests").output}
                fit = validate(
                    examples=data.output,
                    code=archive,
                    settings=checked,
                    **known,
                    **logged,
                ).set_caching_options(False)
                ask(project, "validate", fit)
                spans = {"window": fit.outputs["window"], "judge": fit.outputs["judge"]}
                again = {
                    "examples": data.output,
                    "spans": fit.outputs["spans"],
                    "settings": {"analyze": judged, "gates": gates, "looks": looks},
                    **own,
                }
                judging = Judging(project, to, ledger, serving, tuple(kept))
                with dsl.If(fit.outputs["ok"] == True, name="the data is good"):
                    worth = _weighed(project, examples=data.output, code=archive, **spans, **known)
                    with if_yes(worth, "training is worth it"):
                        seen = transform(
                            examples=data.output, window=fit.outputs["window"], code=archive, **transformed_as(project)
                        )
                        ask(project, "transform", seen)
                        rows = _window(data, seen, archive, ledger)
                        model = _candidate(project, to["champion"] if project.train.warm_start else "", **rows)
                        simple = _baseline(project, **rows)
                        found = analyze(
                            examples=data.output,
                            model=model,
                            champion=to["champion"],
                            judge=fit.outputs["judge"],
                            settings=judged,
                            ledger=ledger,
                            **simple,
                            **own,
                        )
                        ask(project, "analyze", found)
                        evaluation = found.outputs["evaluation"]
                        better = decide(evaluation=evaluation, gates=gates, looks=looks, **known)
                        ask(project, "decide", better.set_caching_options(False))
                        tried = {"examples": data.output, "model": model, "evaluation": evaluation}
                        with (
                            dsl.If(better.outputs["ok"] == True, name="the candidate passed"),
                            judging.if_probed(**tried),
                        ):
                            judging.promoted(model=model)
                        if looks > 1:
                            undecided = dsl.If(better.outputs["undecided"] == True, name="the candidate is undecided")
                            with undecided, judging.if_probed("undecided", **tried):
                                judging.challenged(model)
                            with dsl.If(better.outputs["ok"] == False, name="the candidate did not pass"):
                                judging.rejudged(**again)
                    if worth is not None and looks > 1:
                        with dsl.If(worth.outputs["Output"] == False, name="training is not worth it"):
                            judging.rejudged("challenger-untrained", **again)

    return pipeline


def ahead(project: Project, query: str) -> BaseComponent:
    """Return the pipeline of what a run does before it needs the champion: a backfill fills the runner's cache by it.

    Its steps are those of `continuous_training`, with the same parameters. Models are among them where every span is
    trained for, and none starts from the champion; with a GPU they wait for their turn, as it is not to be shared.

    Args:
        project: What flywheel.yaml declares.
        query: Text of the SQL file that it names.
    """

    @dsl.pipeline(name=f"{project.name}-ahead", description=f"Rows of later spans of {project.name}")
    def pipeline(
        code: str,
        spans: list,
        window: list,
        state: str,
        baseline: bool,
        warehouse: str = project.source.warehouse,
        ledger: str = project.ledger.tracking_uri,
    ):
        archive = dsl.importer(artifact_uri=code, artifact_class=dsl.Artifact).output
        columns = list(project.columns)
        data = extract(
            query=query, warehouse=warehouse, spans=spans, columns=columns, source=asked_of(project), state=state
        )
        seen = transform(examples=data.output, window=window, code=archive, **transformed_as(project))
        if project.is_trained_ahead:
            rows = _window(data, seen, archive, ledger)
            _candidate(project, "", **rows)
            if project.train.for_baseline() is not None:
                with dsl.If(baseline == True, name="there is time for the baseline"):
                    _baseline(project, **rows)

    return pipeline


def _window(data: Any, seen: Any, archive: Any, ledger: Any) -> dict[str, Any]:
    """Return what every model of a run is trained on, and where that is logged."""
    rows = {"examples": data.output, "transformed": seen.outputs["transformed"], "state": seen.outputs["state"]}
    return rows | {"code": archive, "ledger": ledger}


def _candidate(project: Project, champion: Any, **window: Any) -> Any:
    """Return the model of a task that trains the candidate."""
    # What a step asks for is no part of what it does, so the cache does not see it; but a TrainJob is asked for by it.
    asks = project.asked("train")
    several = isinstance(asks, Resources) and asks.nodes
    nodes = {"resources": asks.model_dump(mode="json", exclude_none=True)} if several else {}
    made = train(settings=settings_of(project, project.train) | nodes, champion=champion, **window)
    return ask(project, "train", made).outputs["model"]


def _baseline(project: Project, **window: Any) -> dict[str, Any]:
    """Return the model of a task that trains the baseline by its name, where there is to be one."""
    plain = project.train.for_baseline()
    if plain is None:
        return {}
    made = train(settings=settings_of(project, plain) | {"role": "baseline"}, champion="", **window)
    return {"baseline": ask(project, "baseline", made).outputs["model"]}


def asked_of(project: Project) -> dict[str, Any]:
    """Return what `plan` and `extract` are told of the source."""
    return project.source.for_steps() | ({"weight": project.train.weight} if project.train.weight else {})


def transformed_as(project: Project) -> dict[str, Any]:
    """Return what `transform` is told, whatever the rows."""
    return {
        "features": [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in project.features],
        "label": project.label,
        "settings": {"task": project.task, **project.transform.model_dump(mode="json")},
    }


def settings_of(project: Project, how: Train) -> dict[str, Any]:
    """Return what the step `train` is told."""
    unsaid = {"resources", "baseline"} | (set() if how.thresholds else {"thresholds"})
    told = how.model_dump(mode="json", exclude=unsaid, exclude_none=True)
    return {"name": project.name, **told}


def _each_span_scored(project: Project, to: Any, serving: Any, ledger: Any) -> list[dsl.PipelineTask]:
    """Score the run's span by who is champion before it, if the target asks for that, and return the task.

    A training that fails, or takes hours, keeps no predictions back; a version that is promoted replaces them.
    """
    if not isinstance(project.deploy, Batch) or project.deploy.score == "promoted":
        return []
    scored = score(
        name=project.name, span=to["span"], target=serving, ledger=ledger, run=to["run"], outcome=to["outcome"]
    )
    return [ask(project, "score", scored.set_caching_options(False))]


def _weighed(project: Project, **weighed: Any) -> dsl.PipelineTask | None:
    """Return the task that finds whether a training is worth it by `retrain`; None where it always is."""
    if project.is_always_trained:
        return None
    settings: dict[str, Any] = {
        "name": project.name,
        "label": project.label,
        "task": project.task,
        "every": project.source.every,
        "retrain": project.retrain.model_dump(mode="json", exclude_none=True),
    }
    if project.analyze.weight:
        settings |= {"weight": project.analyze.weight}
    if project.hourly_cost is not None:
        settings |= {"hourly_cost": project.hourly_cost}
    return ask(project, "weigh", weigh(settings=settings, **weighed).set_caching_options(False))
