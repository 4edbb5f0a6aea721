"""Promote: make the model a version of the registry, and the champion."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def promote(model: dsl.Input[dsl.Model], name: str, span: str, ledger: str, run: str) -> str:
    """Register the model, move the alias `champion` to it and `previous` to the former; return its version.

    Args:
        model: The candidate that passed every gate.
        name: Name of the flywheel, and of the registered model.
        span: The run's span; the alias only moves forward in it.
        ledger: MLflow tracking URI.
        run: Row of the ledger; promoting the same run twice changes nothing.
    """
    from flywheel.artifacts import Model
    from flywheel.steps.promote import promote

    return promote(Model.open(model.path), name, span, ledger, run)
