"""Rows of the warehouse as files for Beam's workers, and what models say of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from flywheel.artifacts.examples import ShardWriter, batch_rows
from flywheel.errors import DataError, ServingError, meant
from flywheel.serving import inference
from flywheel.serving.rows import WAIT, NotArrived, empty, opened
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.config import Batch, Index
    from flywheel.serving.inference import PackagedModels, Written
    from flywheel.transform.beam import Job

PART = 512 * 1024
"""Rows of a file that one worker takes."""


@dataclass(frozen=True)
class Part:
    """A file of raw rows in the job's scratch folder.

    Attributes:
        span: Its span.
        name: Of the file.
        path: Of the file, as workers reach it.
        rows: How many it has.
    """

    span: str
    name: str
    path: str
    rows: int

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield its rows, never more than a row group in memory."""
        with FileSystems.open(self.path, compression_type="uncompressed") as file, pq.ParquetFile(file) as source:
            yield from source.iter_batches(batch_rows(source.schema_arrow), columns=list(columns))


def extracted(
    settings: Batch | Index, span: Span, job: Job, check: Callable[[pa.Schema], None]
) -> tuple[pa.Schema, list[Part]]:
    """Write the rows of a span to the job's scratch folder; return their columns, and the files.

    Args:
        settings: The target's, with the SQL text as its query.
        span: Which rows.
        job: Whose workers are to read them.
        check: Looks at the columns before a row is read.

    Raises:
        NotArrived: There are none.
        SQLError: The query does not run.
    """
    parts: list[Part] = []
    with opened(settings) as rows_of:
        schema = rows_of.schema(settings.query)
        check(schema)
        target = job.folder("rows")
        batches = rows_of.batches(settings.query, span)
        waiting = next(batches, None)
        if waiting is None:
            raise empty(rows_of, settings.query, span)
        while waiting is not None:
            name = f"part-{len(parts):05d}.parquet"
            path = FileSystems.join(target, name)
            with ShardWriter(lambda path=path: FileSystems.create(path), schema) as shard:  # type: ignore[misc]
                while waiting is not None and shard.rows < PART:
                    shard.write(waiting)
                    waiting = next(batches, None)
            if shard.rows:
                parts.append(Part(span.name, name, path, shard.rows))
    if not parts:
        raise NotArrived(f"there are no rows in span {span}", WAIT)
    return schema, parts


def asked(parts: Sequence[Part], schema: pa.Schema, handler: PackagedModels, job: Job) -> list[Written]:
    """Return what models say of all rows of `parts`.

    Raises:
        ServingError: Beam's runner lost rows.
        FlywheelError: What a model is wrong with.
    """
    batches = sum(ceil(part.rows / batch_rows(schema)) for part in parts)
    done = inference.infer(parts, schema.names, handler, job, batches)
    rows, back = sum(part.rows for part in parts), sum(each.rows + sum(each.reasons.values()) for each in done)
    if back != rows:
        raise ServingError(
            f"Beam's runner gave back {back:,} of {rows:,} rows", "take another runner: deploy.beam names it."
        )
    return done


def refuse_missing(schema: pa.Schema, asked: Sequence[tuple[str, str]]) -> None:
    """Return if a query gives every column that is asked for.

    Args:
        schema: What it gives.
        asked: Names, each with who asks for it.

    Raises:
        DataError: It does not give one.
    """
    for name, why in asked:
        if name not in schema.names:
            raise DataError(
                f"{why} the column {name!r}, the query gives only {', '.join(schema.names)}",
                meant(name, schema.names).rstrip() or "let the query that gives the rows give it too.",
            )
