"""Extract: run the query once for each span and keep its rows as Parquet."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def extract(
    query: str,
    warehouse: str,
    spans: list,
    every: str,
    columns: list,
    maximum_bytes_billed: int,
    state: str,
    examples: dsl.Output[dsl.Dataset],
):
    """Write the rows of each span as Examples, streamed from the warehouse.

    Args:
        query: SQL in BigQuery's dialect with @start and @end.
        warehouse: URL of the warehouse.
        spans: Names of the spans, oldest first.
        every: How long a span is: hour, day, week or month.
        columns: Columns that the query has to give.
        maximum_bytes_billed: A query that would read more is refused; 0 for no limit.
        state: What the warehouse's rows are like, from `plan`: a cache that knows it sees that they changed.
        examples: The rows, one or more Parquet shards a span.
    """
    from pathlib import Path

    from flywheel.steps.extract import extract

    found = extract(query, warehouse, spans, every, columns, maximum_bytes_billed or None, Path(examples.path))
    examples.metadata.update(rows=found.rows, spans=len(found.spans), digest=found.digest)
