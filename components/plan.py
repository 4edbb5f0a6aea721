"""Plan: is there something to train, on what, and against which champion?"""

from typing import NamedTuple

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def plan(
    name: str,
    span: str,
    source: dict,
    warehouse: str,
    query: str,
    ledger: str,
    code: dsl.Input[dsl.Artifact],
    job: str,
    schedule: dict = {},  # noqa: B006 - kfp only reads it
) -> NamedTuple(
    "Plan",
    [
        ("go", bool),
        ("span", str),
        ("spans", list),
        ("window", list),
        ("judge", list),
        ("champion", str),
        ("challenger", str),
        ("state", str),
        ("run", str),
        ("reason", str),
        ("outcome", str),
    ],
):
    """Decide whether to train for a span, and open its row in the ledger.

    Args:
        name: Name of the flywheel.
        span: Name of the span, as 2013-06-01; empty for the last one whose data has arrived.
        source: As `source` in flywheel.yaml, and `leave_out` as in its `gates.data`.
        warehouse: URL of the warehouse.
        query: SQL that is going to be extracted.
        ledger: MLflow tracking URI.
        code: The project's archive; its digest goes to the ledger.
        job: Identity of this pipeline run.
        schedule: As `schedule` in flywheel.yaml, and `since` when it counts, for a run that it has started; else empty.
    """
    from pathlib import Path

    from flywheel.steps.plan import plan

    return plan(name, span, source, warehouse, query, ledger, Path(code.path), job, schedule)
