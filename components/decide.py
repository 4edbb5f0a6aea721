"""Decide: may the freshly trained model take the champion's place?"""

from typing import NamedTuple

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
    curves: dsl.Output[dsl.ClassificationMetrics],
    looks: int = 1,
) -> NamedTuple("Decision", [("ok", bool), ("undecided", bool)]):
    """Return whether every gate is passed, or later spans can tell what this judge cannot; the report says why.

    Args:
        evaluation: What `analyze` found, candidate and champion on the same examples.
        gates: Bars to clear, as in `gates.model` of flywheel.yaml.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        report: The verdict, readable in the Kubeflow UI.
        metrics: Overall figures of all models, and what the candidate gains, for the Kubeflow UI.
        curves: The candidate's ROC curve and confusion matrix, drawn by the Kubeflow UI; empty for a number.
        looks: How often one candidate is judged at most; with 1 it is never left undecided to later spans.
    """
    from pathlib import Path

    from flywheel.artifacts import Evaluation
    from flywheel.ledger import Ledger
    from flywheel.steps.decide import Decision, Look, decide, shown

    found, book = Evaluation.open(evaluation.path), Ledger(ledger)
    verdict = decide(
        found, gates, Path(report.path), Look(of=looks), waiting=book.row(run).tags.get("flywheel.waiting", "")
    )
    book.record(run, verdict)
    shown(found, verdict).log(metrics, curves)
    return Decision.of(verdict)
