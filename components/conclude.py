"""Conclude: close the run's row in the ledger, however the run went."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def conclude(name: str, ledger: str, job: str, status: dsl.PipelineTaskFinalStatus, notices: dict = {}) -> dict:  # noqa: B006 - kfp reads it
    """Give the run its outcome, what the gates left in the ledger or `failed`, and return the row; none, no keys.

    Args:
        name: Name of the flywheel.
        ledger: MLflow tracking URI.
        job: Identity of this pipeline run.
        status: How the rest of the pipeline ended.
        notices: As `notify` in flywheel.yaml, and `kind` of the pipeline, `ledger` or `monitor`.
    """
    from flywheel.steps.conclude import conclude

    row = conclude(name, ledger, job, status.state, status.error_message or "", notices)
    return row.to_dict() if row else {}
