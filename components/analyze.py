"""Analyze: how good are candidate, champion and baseline on the same fresh rows?"""

from typing import Optional

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def analyze(
    examples: dsl.Input[dsl.Dataset],
    model: dsl.Input[dsl.Model],
    champion: str,
    judge: list,
    settings: dict,
    ledger: str,
    evaluation: dsl.Output[dsl.Artifact],
    baseline: Optional[dsl.Input[dsl.Model]] = None,  # noqa: UP045 - kfp reads this form alone
    code: Optional[dsl.Input[dsl.Artifact]] = None,  # noqa: UP045 - as above
):
    """Predict the judge's rows with every model and measure them as TFMA does, overall and by slice.

    Args:
        examples: Raw rows.
        model: The candidate.
        champion: MLflow URI of the model in service; empty when there is none.
        judge: Spans to judge on, none of which either model was trained on.
        settings: `label`, `task`, the columns to slice by, `slices`, `naive`, a column with a forecast, and `metrics`.
        ledger: MLflow tracking URI, whose registry holds the champion.
        evaluation: Predictions and metrics of all.
        baseline: A simple model of the same window; none, and there is nothing simple to compare with.
        code: The project's archive, that the functions of `metrics` are in.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples, Model
    from flywheel.steps.analyze import analyze

    analyze(
        Examples.open(examples.path),
        Model.open(model.path),
        champion,
        judge,
        settings,
        ledger,
        Path(evaluation.path),
        baseline=Model.open(baseline.path) if baseline else None,
        code=Path(code.path) if code else None,
    )
