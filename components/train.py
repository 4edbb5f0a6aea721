"""Train: call the user's trainer and package what it returns."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def train(
    examples: dsl.Input[dsl.Dataset],
    transformed: dsl.Input[dsl.Dataset],
    state: dsl.Input[dsl.Artifact],
    code: dsl.Input[dsl.Artifact],
    settings: dict,
    champion: str,
    ledger: str,
    model: dsl.Output[dsl.Model],
):
    """Train a model and write it as an MLflow folder: raw columns in, predictions out.

    Args:
        examples: Raw rows; a few of them become the model's input example.
        transformed: The training window as the model sees it.
        state: The transform, packed into the model.
        code: The project's archive, which holds the trainer.
        settings: `name` of the flywheel, and `trainer`, `parameters`, `seed` as in `train` of flywheel.yaml; `role` is
            `baseline` for the model that every other is compared with.
        champion: MLflow URI of the model in service, to start from; empty when there is none.
        ledger: MLflow tracking URI, where parameters and metrics are logged.
        model: The packaged model.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples, TransformState
    from flywheel.steps.train import train

    made = train(
        Examples.open(examples.path),
        Examples.open(transformed.path),
        TransformState.open(state.path),
        Path(code.path),
        settings,
        champion,
        ledger,
        Path(model.path),
    )
    model.metadata.update(made.manifest.facts, digest=made.digest)
