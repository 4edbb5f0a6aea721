"""Decide: may the freshly trained model take the champion's place?"""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def decide(
    evaluation: dsl.Input[dsl.Artifact],
    gates: list,
    ledger: str,
    run: str,
    report: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
) -> bool:
    """Return whether every gate is passed; the report says why.

    Args:
        evaluation: What `analyze` found, candidate and champion on the same examples.
        gates: Bars to clear, as in `gates.model` of flywheel.yaml.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        report: The verdict, readable in the Kubeflow UI.
        metrics: The candidate's overall figures, for the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.artifacts import Evaluation
    from flywheel.ledger import Ledger
    from flywheel.steps.decide import decide

    found = Evaluation.open(evaluation.path)
    for key, value in found.manifest.facts["overall"]["candidate"].items():
        metrics.log_metric(key, value)
    verdict = decide(found, gates, Path(report.path))
    Ledger(ledger).record(run, verdict)
    return verdict.ok
