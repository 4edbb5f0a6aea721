"""Rejudge: is the challenger decided, now that further spans can judge it?"""

from typing import NamedTuple, Optional

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def rejudge(
    examples: dsl.Input[dsl.Dataset],
    challenger: str,
    spans: list,
    settings: dict,
    ledger: str,
    run: str,
    evaluation: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    code: Optional[dsl.Input[dsl.Artifact]] = None,  # noqa: UP045 - kfp reads this form alone
) -> NamedTuple("Rejudged", [("ok", bool), ("version", str)]):
    """Judge the challenger once more, on every span of this run that neither it nor its champion was trained on.

    Args:
        examples: Raw rows.
        challenger: MLflow URI of the version that was left undecided.
        spans: The run's spans that are fit to train or to judge on, its own last.
        settings: `analyze`, what that step is told; `gates`, as `gates.model` of flywheel.yaml; `looks`, as there.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        evaluation: Predictions and metrics of both.
        report: The verdict, readable in the Kubeflow UI.
        code: The project's archive, that the functions of `metrics` are in.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples
    from flywheel.steps.rejudge import rejudge

    return rejudge(
        Examples.open(examples.path),
        challenger,
        spans,
        settings,
        ledger,
        run,
        Path(evaluation.path),
        Path(report.path),
        Path(code.path) if code else None,
    )
