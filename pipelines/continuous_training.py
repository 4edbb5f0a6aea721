"""Continuous training: from fresh data to a judged model in service."""

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from flywheel import images
from flywheel.components import analyze, conclude, decide, deploy, extract, plan, promote, train, transform, validate
from flywheel.config import Project


def continuous_training(project: Project, query: str, serving_query: str = "") -> BaseComponent:
    """Return the pipeline of `project`, ready to be compiled.

    Args:
        project: What flywheel.yaml declares.
        query: Text of the SQL file that it names.
        serving_query: Text of the SQL file that gives logged requests; none, and nothing is compared with them.
    """
    source, label = project.source, project.label
    asked = source.model_dump(mode="json", exclude={"warehouse", "query", "serving"}, exclude_none=True)
    checked = {
        "name": project.name,
        "label": label,
        "every": source.every,
        "gate": project.gates.data.model_dump(mode="json", exclude_none=True),
        "statistics": project.statistics.model_dump(mode="json", exclude_none=True),
    }
    features = [feature.model_dump(mode="json", by_alias=True) for feature in project.features]
    gates = [gate.model_dump(mode="json", exclude_none=True) for gate in project.gates.model]

    @dsl.pipeline(name=project.name, description=f"Continuous training of {project.name}")
    def pipeline(
        code: str,
        span: str = "",
        warehouse: str = source.warehouse,
        ledger: str = project.ledger.tracking_uri,
        serving: str = ".flywheel/serving",
    ):
        job = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        closing = conclude(name=project.name, ledger=ledger, job=job)
        with dsl.ExitHandler(closing):
            archive = dsl.importer(artifact_uri=code, artifact_class=dsl.Artifact).output
            planned = plan(
                name=project.name,
                span=span,
                source=asked,
                warehouse=warehouse,
                query=query,
                ledger=ledger,
                code=archive,
                job=job,
            ).set_caching_options(False)
            to = planned.outputs
            with dsl.If(to["go"] == True):
                data = extract(
                    query=query,
                    warehouse=warehouse,
                    spans=to["spans"],
                    columns=list(project.columns),
                    source=asked,
                    state=to["state"],
                )
                logged = {}
                if serving_query:
                    requests = extract(
                        query=serving_query,
                        warehouse=warehouse,
                        spans=to["judge"],
                        columns=[],
                        source={"every": source.every, "may_be_empty": True},
                        state="",
                    )
                    logged = {"serving": requests.set_caching_options(False).output}
                fit = validate(
                    examples=data.output,
                    code=archive,
                    settings=checked,
                    ledger=ledger,
                    run=to["run"],
                    **logged,
                ).set_caching_options(False)
                with dsl.If(fit.outputs["ok"] == True):
                    seen = transform(examples=data.output, features=features, label=label, window=fit.outputs["window"])
                    candidate = train(
                        examples=data.output,
                        transformed=seen.outputs["transformed"],
                        state=seen.outputs["state"],
                        code=archive,
                        settings={
                            "name": project.name,
                            "gpus": project.train.resources.gpu,
                            **project.train.model_dump(mode="json", exclude={"resources"}, exclude_none=True),
                        },
                        champion=to["champion"],
                        ledger=ledger,
                    )
                    _ask_for(candidate, project)
                    found = analyze(
                        examples=data.output,
                        model=candidate.outputs["model"],
                        champion=to["champion"],
                        judge=fit.outputs["judge"],
                        settings={"label": label, "slices": list(project.slices)},
                        ledger=ledger,
                    )
                    better = decide(
                        evaluation=found.outputs["evaluation"], gates=gates, ledger=ledger, run=to["run"]
                    ).set_caching_options(False)
                    with dsl.If(better.outputs["Output"] == True):
                        promoted = promote(
                            model=candidate.outputs["model"],
                            name=project.name,
                            span=to["span"],
                            ledger=ledger,
                            run=to["run"],
                        ).set_caching_options(False)
                        deploy(
                            name=project.name, version=promoted.output, target=serving, ledger=ledger, run=to["run"]
                        ).set_caching_options(False)

    return pipeline


def _ask_for(task: dsl.PipelineTask, project: Project) -> None:
    """Ask the cluster for what `train.resources` says."""
    resources = project.train.resources
    if resources.cpu:
        task.set_cpu_request(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpu:
        task.set_accelerator_type(resources.gpu_kind).set_accelerator_limit(resources.gpu)
        task.set_container_image(images.GPU)
