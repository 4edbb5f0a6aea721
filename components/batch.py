"""Batch: score the rows of a span with the champion."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def batch(name: str, span: str, target: str, ledger: str, report: dsl.Output[dsl.HTML]) -> str:
    """Write the champion's predictions for the rows of a span to a table, by Beam, and return which table.

    Args:
        name: Name of the flywheel, and of the registered model.
        span: Name of the span; what the champion has scored already is left as it is.
        target: `deploy` of flywheel.yaml as JSON, its target `batch` and its query the SQL text.
        ledger: MLflow tracking URI.
        report: What was scored, and what was left out and why.
    """
    from flywheel.steps.batch import batch

    return batch(name, span, target, ledger, report.path).endpoint
