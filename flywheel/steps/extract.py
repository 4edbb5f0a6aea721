"""Extract: run the query once for each span and keep its rows as Parquet."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel import warehouse as warehouses
from flywheel.artifacts import Examples
from flywheel.artifacts.examples import ROW_GROUP
from flywheel.errors import ConfigError, DataError, SQLError, meant
from flywheel.kept import Kept
from flywheel.say import say
from flywheel.spans import Span
from flywheel.steps.ready import has_rows
from flywheel.warehouse import ReadAgain, Warehouse, sql
from flywheel.warehouse.narrow import narrowed

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.artifacts import ExamplesWriter

PRELOAD = ("pyarrow.parquet", "flywheel.warehouse.duckdb", "flywheel.runner.cache")
_SAID_EVERY = 5.0
_AT_ONCE = 4
SHARD = 16 * 2**20
"""Bytes of rows in memory that make a file: several are written at the same time."""


def extract(
    query: str,
    warehouse: str,
    spans: Sequence[str],
    columns: Sequence[str],
    source: Mapping[str, Any],
    state: str,
    path: Path,
    kept: Kept | None = None,
) -> Examples:
    """Write the rows of each span as Examples at `path`; memory does not grow with the data.

    A span without rows is kept as such; only the newest one has to have some.

    Args:
        query: SQL in BigQuery's dialect with @start and @end.
        warehouse: URL of the warehouse.
        spans: Names of the spans, oldest first.
        columns: Columns that the query has to give; what else it gives is kept too.
        source: As `source` in flywheel.yaml: `every`, `sample`, `split`, `maximum_bytes_billed`, `bigquery`; and
            `may_be_empty`, for logs that need not have any rows.
        state: What the warehouse's rows are like, from `plan`: those are extracted, where it keeps its past.
        path: Folder to write; nothing is left there when the step fails.
        kept: What was extracted before; by default what the runner keeps.

    Raises:
        SQLError: The query does not parse, cannot be translated or fails.
        ConfigError: It does not give a column that is asked for, or there is no such warehouse.
        DataError: There are no rows at all, or none in the newest span.
    """
    wanted = [Span.parse(name, source["every"]) for name in spans]
    started, kept = time.monotonic(), kept or Kept.here()
    with warehouses.open(warehouse, warehouses.Options.of(source)) as rows_of:
        asked = _asked(query, rows_of, columns, source)
        say(f"extracting {len(wanted)} spans, {wanted[0]} to {wanted[-1]}, from {warehouse}")
        with Examples.writer(path, rows_of.schema(asked), producer="extract") as writer:
            keys = _keys(kept, wanted, warehouse, asked, source, state)
            rows = _Copy(rows_of, asked, state, writer, kept, keys).all(wanted)
            if not source.get("may_be_empty"):
                _refuse_empty(rows, wanted, query, rows_of)
        newest = wanted[-1]
        if state and rows[newest.name] and (key := has_rows(kept, newest, warehouse, query, state)) not in kept:
            kept.note(key, f"that {newest} has rows")
    seconds = time.monotonic() - started
    empty = [name for name, count in rows.items() if not count]
    say(f"{sum(rows.values()):,} rows in {seconds:.1f} s" + (f"; none in {_list(empty)}" if empty else ""))
    return Examples.open(path)


def check(query: str, warehouse: str, columns: Sequence[str], source: Mapping[str, Any] | None = None) -> pa.Schema:
    """Return the columns that the query gives, if they are those that `columns`, `sample` and `split` need.

    No rows are read. The watermark is parsed and not asked.

    Args:
        query: SQL in BigQuery's dialect with @start and @end.
        warehouse: URL of the warehouse.
        columns: Columns that the query has to give.
        source: As `source` in flywheel.yaml.

    Raises:
        SQLError: The query does not parse or cannot be translated, or a table or column of it is not there.
        ConfigError: It does not give a column that is asked for, or there is no such warehouse.
    """
    if watermark := (source or {}).get("watermark"):
        try:
            sql.parameters(sql.parse(watermark), bound=False)
        except SQLError as error:
            raise SQLError(f"source.watermark: {error.message}", error.remedy) from None
    with warehouses.open(warehouse, warehouses.Options.of(source or {})) as rows_of:
        _asked(query, rows_of, columns, source or {})
        return rows_of.schema(query)


def _asked(query: str, rows_of: Warehouse, columns: Sequence[str], source: Mapping[str, Any]) -> str:
    """Return what the warehouse is asked: the user's query, sampled and split as `source` says."""
    schema = rows_of.schema(query)
    _require(columns, schema.names)
    return narrowed(query, schema, source)


def _keys(
    kept: Kept, spans: Sequence[Span], warehouse: str, query: str, source: Mapping[str, Any], state: str
) -> dict[str, str]:
    """Return under which key the rows of each span are kept; none where nobody knows whether they have changed."""
    if not state:
        return {}
    told = [warehouse, state, query, dict(source)]
    return {span.name: kept.key("rows", span.name, *told) for span in spans}


class _Copy:
    """Writes spans, several at a time.

    A span is read by one thread, so that its rows come in one order, and cut into shards by their size alone. So equal
    rows give equal files, whichever of the writing threads were busy.

    Args:
        source: Gives the rows.
        query: SQL that gives them.
        state: Rows as they were then.
        writer: Writes a shard.
        kept: What earlier runs have extracted.
        keys: Under which of its keys a span is; none of a span that is not kept.
    """

    def __init__(
        self,
        source: Warehouse,
        query: str,
        state: str,
        writer: ExamplesWriter,
        kept: Kept,
        keys: Mapping[str, str],
    ) -> None:
        self._source, self._query, self._state, self._writer = source, query, state, writer
        self._kept, self._keys = kept, keys
        self._cores = int(os.environ.get("OMP_NUM_THREADS", 2))
        self._room = threading.Semaphore(self._cores)  # for the shards that are written at this moment
        self._stopped = threading.Event()  # another span has failed

    def all(self, spans: Sequence[Span]) -> dict[str, int]:
        """Write `spans` and return how many rows each has."""
        self._progress = _Progress(len(spans))
        readers = ThreadPoolExecutor(min(_AT_ONCE, self._cores + 1))
        with ThreadPoolExecutor(self._cores) as self._writers, readers:
            copies = {span.name: readers.submit(self._span, span) for span in spans}
            try:
                done, _ = wait(copies.values(), return_when=FIRST_EXCEPTION)
                for failed in (future for future in copies.values() if future in done and future.exception()):
                    failed.result()
                return {name: future.result() for name, future in copies.items()}
            except BaseException:
                self._stopped.set()  # what is being read is for nothing, and what has not begun would cost as much
                readers.shutdown(cancel_futures=True)
                raise

    def _span(self, span: Span) -> int:
        key, folder = self._keys.get(span.name), self._writer.folder(span.name)
        if key and (found := self._kept.take(key, folder)) is not None:
            rows = int(found["rows"])
            self._writer.count(span.name, rows)
        else:
            rows = self._read(span)
            if key and rows:
                self._kept.keep(key, f"rows of {span}", folder, rows=rows)
        self._progress.finish()
        return rows

    def _read(self, span: Span) -> int:
        try:
            return self._rows(span)
        except ReadAgain as error:
            say(f"  {span}: {error.message}")
            self._writer.drop(span.name)
            return self._rows(span)

    def _rows(self, span: Span) -> int:
        batches = self._progress.count(self._source.batches(self._query, span, self._state))
        rows, written = 0, deque[Future[int]]()
        try:
            for part, shard in enumerate(_shards(batches)):
                if self._stopped.is_set():
                    break
                self._room.acquire()
                written.append(self._writers.submit(self._write, span.name, shard, part))
                while written and written[0].done():
                    rows += written.popleft().result()  # a full disk is told now, not after the last row
        finally:
            wait(written)
        return rows + sum(each.result() for each in written)

    def _write(self, span: str, shard: list[pa.RecordBatch], part: int) -> int:
        try:
            return self._writer.write(span, shard, part)
        finally:
            self._room.release()


def _shards(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Yield batches in lists of `SHARD` bytes and a row group at least; one list without any when there are none."""
    held: list[pa.RecordBatch] = []
    size, rows, first = 0, 0, True
    for batch in batches:
        held.append(batch)
        size, rows = size + batch.nbytes, rows + batch.num_rows
        if size >= SHARD and rows >= ROW_GROUP:
            yield held
            held, size, rows, first = [], 0, 0, False
    if held or first:
        yield held


class _Progress:
    """Says every few seconds how far the extraction is, so that long ones are seen to live."""

    def __init__(self, spans: int) -> None:
        self._spans, self._done, self._rows = spans, 0, 0
        self._said = time.monotonic()

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield batch
            self._rows += batch.num_rows
            if time.monotonic() - self._said > _SAID_EVERY:
                self._said = time.monotonic()
                say(f"  {self._done} of {self._spans} spans, {self._rows:,} rows so far")

    def finish(self) -> None:
        self._done += 1


def _require(columns: Sequence[str], given: Sequence[str]) -> None:
    missing = [column for column in columns if column not in given]
    if missing:
        raise ConfigError(
            f"the query gives no column {', '.join(map(repr, missing))}",
            meant(missing[0], given) + f"it gives {', '.join(given)}: mend flywheel.yaml, or add it to the query.",
        )


def _refuse_empty(rows: dict[str, int], spans: Sequence[Span], query: str, source: Warehouse) -> None:
    """Refuse a window with no rows, or a newest span with none: there would be nothing fresh to judge on."""
    newest = spans[-1].name
    if rows[newest]:
        return
    empty = [name for name, count in rows.items() if not count]
    extent = source.extent(query)
    there = f"the warehouse has data from {extent[0]:%Y-%m-%d %H:%M} to {extent[1]:%Y-%m-%d %H:%M}: " if extent else ""
    if len(empty) == len(rows):
        raise DataError(
            f"the query gives no rows in any span from {spans[0]} to {newest}",
            f"{there}choose a span within the data by --span, load that time, or mend the WHERE of the query.",
        )
    raise DataError(
        f"the newest span {newest!r} has no rows; without rows are {_list(empty)}",
        f"{there}run again when its data has arrived, or choose an earlier span by --span.",
    )


def _list(names: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
