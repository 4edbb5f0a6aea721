"""Rows that a target takes from the warehouse: as files for Beam's workers, or a sample of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from flywheel import warehouse as warehouses
from flywheel.artifacts.examples import ShardWriter, batch_rows, joined
from flywheel.errors import DataError, ServingError
from flywheel.serving import inference
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.config import Batch, Index, OnDevice
    from flywheel.serving.inference import PackagedModels, Written
    from flywheel.transform.beam import Job
    from flywheel.warehouse import Warehouse

PART = 512 * 1024
"""Rows of a file that one worker takes."""


class NotArrived(DataError):
    """The span has no rows: wait for them."""

    exit_code = 3


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
    with _opened(settings) as rows_of:
        schema = rows_of.schema(settings.query)
        check(schema)
        target = job.folder("rows")
        batches = rows_of.batches(settings.query, span)
        waiting = next(batches, None)
        if waiting is None:
            raise _empty(rows_of, settings.query, span)
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
        raise NotArrived(f"there are no rows in span {span}", _WAIT)
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


def sample(settings: OnDevice, span: Span, rows: int) -> pa.RecordBatch:
    """Return some rows of a span, any as likely as any other, the same ones each time; memory holds no more than those.

    Raises:
        NotArrived: There are none.
        SQLError: The query does not run.
    """
    random, kept, ranks = np.random.default_rng(0), [], np.empty(0)
    with _opened(settings) as rows_of:
        for batch in rows_of.batches(settings.query, span):
            kept.append(batch)
            ranks = np.concatenate([ranks, random.random(batch.num_rows)])
            if len(ranks) > rows:
                chosen = np.sort(np.argpartition(ranks, rows)[:rows])
                table = pa.Table.from_batches(kept).take(pa.array(chosen))
                kept, ranks = table.combine_chunks().to_batches(), ranks[chosen]
        if not len(ranks):
            raise _empty(rows_of, settings.query, span)
    return joined(kept)


def _opened(settings: Batch | Index | OnDevice) -> Warehouse:
    options = warehouses.Options(maximum_bytes_billed=settings.maximum_bytes_billed)
    return warehouses.open(settings.warehouse, options)


_WAIT = "wait until its data has arrived, name another span, or mend the query's bounds."


def _empty(rows_of: Warehouse, query: str, span: Span) -> NotArrived:
    extent = rows_of.extent(query)
    there = f"; there is data from {extent[0]:%Y-%m-%d %H:%M} to {extent[1]:%Y-%m-%d %H:%M}" if extent else ""
    return NotArrived(f"there are no rows in span {span}{there}", _WAIT)
