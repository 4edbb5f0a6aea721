"""`source`: where the data comes from, and how much of it a run takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import ByteSize, Field

from flywheel.config.strict import Duration, Strict
from flywheel.spans import Every


class Sample(Strict):
    """Keeps a share of the rows, always the same ones, and all rows of a key together."""

    key: tuple[str, ...] = Field(min_length=1, description="Columns of the query; rows of one key stay together.")
    share: float = Field(gt=0, le=1, description="How much is kept, from 0 to 1.")


class Split(Strict):
    """Holds rows of the training window back for validation, all rows of a key together."""

    key: tuple[str, ...] = Field(min_length=1, description="Columns of the query; rows of one key stay together.")
    validation: float = Field(0.1, gt=0, lt=1, description="The share that is held back, from 0 to 1.")


class BigQuery(Strict):
    """How BigQuery is asked; other warehouses do not look at it."""

    location: str | None = Field(None, description="Where jobs run, as EU; BigQuery finds out by itself.")
    labels: dict[str, str] = Field({}, description="Labels of every job, for the bill.")
    timeout: Duration = Field(timedelta(hours=1), description="How long a query may take, as 30m.")
    priority: Literal["interactive", "batch"] = Field("interactive", description="Batch queries wait for idle slots.")
    storage_api: bool = Field(True, description="Read results by the Storage Read API; false, and pages by REST.")
    export: str | None = Field(None, description="Folder as gs://bucket/path for results too large to stream.")
    export_over: ByteSize = Field(ByteSize(20 * 1000**3), description="Results above it go through `export`.")


class Source(Strict):
    """Where the data comes from, and how much of it a run takes."""

    warehouse: str = Field(
        description="bigquery://project/dataset, duckdb:///file.duckdb, parquet:///glob or csv:///glob."
    )
    query: str = Field(description="SQL file in BigQuery's dialect, with @start and @end.")
    every: Every = Field("day", description="How long a span is.")
    window: int = Field(28, ge=1, description="How many spans a model is trained on.")
    judge: int = Field(14, ge=1, description="How many of the newest spans are held out to judge on.")
    grace: Duration = Field(timedelta(0), description="How long after its end rows of a span may still arrive, as 6h.")
    watermark: str | None = Field(
        None,
        description="SQL that gives one time, before which all rows have arrived; a span waits for it.",
    )
    sample: Sample | None = Field(None, description="Take a share of the rows.")
    split: Split | None = Field(None, description="Choose validation rows by a key; by default they are whole spans.")
    serving: str | None = Field(None, description="SQL file that gives logged requests, to compare with training data.")
    serving_warehouse: str | None = Field(None, description="Where those are, if not in `warehouse`.")
    maximum_bytes_billed: ByteSize | None = Field(None, description="A query that would read more is refused.")
    bigquery: BigQuery = Field(BigQuery(), description="How BigQuery is asked.")

    def for_steps(self) -> dict[str, Any]:
        """Return what steps are told of it, as JSON values; warehouses and the text of queries they are told apart."""
        elsewhere = {"warehouse", "query", "serving", "serving_warehouse"}
        return self.model_dump(mode="json", exclude=elsewhere, exclude_none=True)
