"""Challenge: an undecided candidate becomes the challenger, and the same model is judged again on later spans."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def challenge(model: dsl.Input[dsl.Model], name: str, span: str, ledger: str, run: str, spans: int) -> str:
    """Register an undecided candidate as the challenger and return its version; empty when another one comes first.

    Args:
        model: The candidate.
        name: Name of the flywheel, and of the registered model.
        span: The run's span.
        ledger: MLflow tracking URI.
        run: Row of the ledger, with the verdict of the model gate.
        spans: How many spans a run has: no more can judge at once.
    """
    from flywheel.artifacts import Model
    from flywheel.steps.challenge import challenge

    return challenge(Model.open(model.path), name, span, ledger, run, spans)
