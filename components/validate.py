"""Validate: may this data train a model?"""

from typing import NamedTuple, Optional

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
    report: dsl.Output[dsl.HTML],
    serving: Optional[dsl.Input[dsl.Dataset]] = None,  # noqa: UP045 - kfp reads this form alone
) -> NamedTuple("Validated", [("ok", bool), ("window", list), ("judge", list), ("spans", list)]):
    """Return whether the data is fit to train on, and which spans are; the report says why.

    Args:
        examples: Rows of training window and judge, the newest span last.
        code: The project's archive; its schema.pbtxt and invariants.yaml are what the data is held against.
        settings: `name`, `label`, `task`, `gate` and `statistics` as in flywheel.yaml; `every`, `window` and `judge`
            as in its `source`.
        ledger: MLflow tracking URI, which keeps the history of the data and what people waived.
        run: Row of the ledger that the verdict goes to, and which spans are trained and judged on.
        statistics: TFDV statistics of all rows, of the newest span and of the one before; the schema that they were
            held against, inferred when the project has none yet; and the history.
        report: The verdict, readable in the Kubeflow UI.
        serving: Logged requests of the newest spans, to compare with training data.
    """
    from flywheel.artifacts import Examples
    from flywheel.steps.validate import gate

    return gate(
        Examples.open(examples.path),
        code.path,
        settings,
        (statistics.path, report.path),
        ledger,
        run,
        Examples.open(serving.path) if serving else None,
    )
