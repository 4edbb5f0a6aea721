"""Extract: run the query once for each span and keep its rows as Parquet."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def extract(
    query: str,
    warehouse: str,
    spans: list,
    columns: list,
    source: dict,
    state: str,
    examples: dsl.Output[dsl.Dataset],
):
    """Write the rows of each span as Examples, streamed from the warehouse.

    Args:
        query: SQL in BigQuery's dialect with @start and @end.
        warehouse: URL of the warehouse.
        spans: Names of the spans, oldest first.
        columns: Columns that the query has to give.
        source: As `source` in flywheel.yaml: `every`, and `sample`, `split`, `maximum_bytes_billed`, `bigquery` if any.
        state: What the warehouse's rows are like, from `plan`: a cache that knows it sees that they changed.
        examples: The rows, one or more Parquet shards a span.
    """
    from pathlib import Path

    from flywheel.steps.extract import extract

    found = extract(query, warehouse, spans, columns, source, state, Path(examples.path))
    examples.metadata.update(rows=found.rows, spans=len(found.spans), digest=found.digest)
