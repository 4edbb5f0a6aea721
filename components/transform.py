"""Transform: learn how to turn raw columns into model inputs, and do so."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def transform(
    examples: dsl.Input[dsl.Dataset],
    features: list,
    label: str,
    window: list,
    task: str,
    code: dsl.Input[dsl.Artifact],
    settings: dict,
    state: dsl.Output[dsl.Artifact],
    transformed: dsl.Output[dsl.Dataset],
):
    """Analyse the training window with Beam and write its rows as the model will see them.

    Args:
        examples: Raw rows.
        features: As `features` in flywheel.yaml.
        label: Column to predict.
        window: Spans to learn from, oldest first; the judge's are never looked at.
        task: `binary`, `multiclass` or `regression`.
        code: The project's archive, for the functions of features.
        settings: As `transform` in flywheel.yaml.
        state: What was learned; it goes into the model, so that serving does the same.
        transformed: Rows of the window, one column an input of the model, and the label; what could not be
            transformed lies beside them.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples
    from flywheel.steps.transform import transform

    _, rows = transform(
        Examples.open(examples.path),
        features,
        label,
        window,
        Path(state.path),
        Path(transformed.path),
        Path(code.path),
        settings,
        task,
    )
    transformed.metadata["dead_letters"] = rows.manifest.counts["dead_letters"]
