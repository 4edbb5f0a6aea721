"""Analyze: how good are candidate and champion on the same fresh rows?"""

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
    metrics: dsl.Output[dsl.Metrics],
):
    """Predict the judge's rows with both models and measure them with TFMA, overall and by slice.

    Args:
        examples: Raw rows.
        model: The candidate.
        champion: MLflow URI of the model in service; empty when there is none.
        judge: Spans to judge on, none of which either model was trained on.
        settings: `label`, and the columns to slice by, `slices`.
        ledger: MLflow tracking URI, whose registry holds the champion.
        evaluation: Predictions and metrics of both.
        metrics: The overall figures, for the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples, Model
    from flywheel.steps.analyze import analyze

    found = analyze(
        Examples.open(examples.path), Model.open(model.path), champion, judge, settings, ledger, Path(evaluation.path)
    )
    for key, value in found.manifest.facts["overall"]["candidate"].items():
        metrics.log_metric(key, value)
