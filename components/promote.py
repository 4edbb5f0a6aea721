"""Promote: make the model a version of the registry, and the champion."""

from typing import NamedTuple, Optional

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def promote(
    name: str,
    span: str,
    ledger: str,
    run: str,
    approval: bool = False,
    version: str = "",
    model: Optional[dsl.Input[dsl.Model]] = None,  # noqa: UP045 - kfp reads this form alone
) -> NamedTuple("Promotion", [("version", str), ("champion", bool)]):
    """Register the model, and move the alias `champion` to it and `previous` to the former.

    Args:
        name: Name of the flywheel, and of the registered model.
        span: The run's span; the alias only moves forward in it.
        ledger: MLflow tracking URI.
        run: Row of the ledger; promoting the same run twice changes nothing.
        approval: Whether a person has to approve it; until then, and while the flywheel is frozen, the aliases stay.
        version: A version that is registered already and passed by now, a challenger, in place of `model`.
        model: The candidate that passed every gate.
    """
    from flywheel.artifacts import Model
    from flywheel.steps.promote import promote

    return promote(Model.open(model.path) if model else version, name, span, ledger, run, approval=approval)
