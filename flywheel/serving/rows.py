"""Rows that a target takes from the warehouse, and a sample of them in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from flywheel import warehouse as warehouses
from flywheel.artifacts.examples import joined
from flywheel.errors import DataError
from flywheel.spans import Span

if TYPE_CHECKING:
    from flywheel.config import Batch, Index, OnDevice
    from flywheel.warehouse import Warehouse

WAIT = "wait until its data has arrived, name another span, or mend the query's bounds."


class NotArrived(DataError):
    """The span has no rows: wait for them."""

    exit_code = 3


def sample(settings: OnDevice, span: Span, rows: int) -> pa.RecordBatch:
    """Return some rows of a span, any as likely as any other, the same ones each time; memory holds no more than those.

    Raises:
        NotArrived: There are none.
        SQLError: The query does not run.
    """
    random, kept, ranks = np.random.default_rng(0), [], np.empty(0)
    with opened(settings) as rows_of:
        for batch in rows_of.batches(settings.query, span):
            kept.append(batch)
            ranks = np.concatenate([ranks, random.random(batch.num_rows)])
            if len(ranks) > rows:
                chosen = np.sort(np.argpartition(ranks, rows)[:rows])
                table = pa.Table.from_batches(kept).take(pa.array(chosen))
                kept, ranks = table.combine_chunks().to_batches(), ranks[chosen]
        if not len(ranks):
            raise empty(rows_of, settings.query, span)
    return joined(kept)


def opened(settings: Batch | Index | OnDevice) -> Warehouse:
    """Return the warehouse of a target, opened."""
    options = warehouses.Options(maximum_bytes_billed=settings.maximum_bytes_billed)
    return warehouses.open(settings.warehouse, options)


def empty(rows_of: Warehouse, query: str, span: Span) -> NotArrived:
    """Return the error that a span has no rows, with when there are any."""
    extent = rows_of.extent(query)
    there = f"; there is data from {extent[0]:%Y-%m-%d %H:%M} to {extent[1]:%Y-%m-%d %H:%M}" if extent else ""
    return NotArrived(f"there are no rows in span {span}{there}", WAIT)
