"""Probe: does the packaged model serve, outside the run, as well as it has to?"""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def probe(
    examples: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    evaluation: dsl.Input[dsl.Artifact],
    settings: dict,
    serving: str,
    ledger: str,
    run: str,
    report: dsl.Output[dsl.HTML],
) -> bool:
    """Return whether the packaged model answers as analyzed and fast enough, loaded outside the run.

    Args:
        examples: Raw rows.
        model: The candidate.
        evaluation: What `analyze` predicted with it.
        settings: `name` and `task` of the flywheel, and `gate`, as `gates.serving` of flywheel.yaml.
        serving: URI of the folder that `flywheel serve` watches; its request logs are replayed, if there are any.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        report: The verdict, readable in the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.artifacts import Evaluation, Examples, Model
    from flywheel.ledger import Ledger
    from flywheel.steps.probe import probe

    judged = Examples.open(examples.path), Model.open(model.path), Evaluation.open(evaluation.path)
    verdict = probe(*judged, settings, serving, Path(report.path))
    Ledger(ledger).record(run, verdict)
    return verdict.ok
