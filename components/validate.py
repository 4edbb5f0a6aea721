"""Validate: may this data train a model?"""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def validate(
    examples: dsl.Input[dsl.Dataset],
    code: dsl.Input[dsl.Artifact],
    settings: dict,
    ledger: str,
    run: str,
    statistics: dsl.Output[dsl.Artifact],
    schema: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> bool:
    """Return whether the data is fit to train on; the report says why.

    Args:
        examples: Rows of training window and judge, the newest span last.
        code: The project's archive; its schema.pbtxt is what the data is held against.
        settings: `label`, and `drift` as in `gates.data` of flywheel.yaml.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to.
        statistics: TFDV statistics of all rows, of the newest span and of the one before.
        schema: The schema that was used; inferred when the project has none yet.
        report: The verdict, readable in the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.artifacts import Examples
    from flywheel.ledger import Ledger
    from flywheel.steps.validate import validate

    verdict = validate(
        Examples.open(examples.path),
        Path(code.path),
        settings,
        statistics=Path(statistics.path),
        schema=Path(schema.path),
        report=Path(report.path),
    )
    Ledger(ledger).record(run, verdict)
    return verdict.ok
