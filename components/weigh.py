"""Weigh: is this span worth a training?"""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def weigh(
    examples: dsl.Input[dsl.Dataset],
    settings: dict,
    window: list,
    judge: list,
    ledger: str,
    run: str,
    code: dsl.Input[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> bool:
    """Return whether a training is worth it by the policy; the report says why.

    Args:
        examples: Raw rows.
        settings: `name`, `label`, `task`, `every`, and `retrain` and `hourly_cost` as in flywheel.yaml.
        window: The spans to train on that are fit for it.
        judge: The spans to judge on that are.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        code: The project's archive.
        report: The decision, readable in the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples
    from flywheel.ledger import Ledger
    from flywheel.steps.weigh import worth_it

    told = settings | {"window": window, "judge": judge}
    verdict = worth_it(Examples.open(examples.path), told, ledger, run, Path(code.path), Path(report.path))
    Ledger(ledger).record(run, verdict)
    return verdict.ok
