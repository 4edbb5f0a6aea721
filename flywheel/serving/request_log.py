"""The request log: a sample of what a model was asked and what it answered, as Parquet files by day.

Beside them stand counts of all requests, sampled or not, answered or not: see `flywheel.serving.traffic`.

A file is written under another name and renamed, so whoever reads the folder sees whole files only. A server that is
killed loses what it has not written yet, at most what came in the last `every`; one that is stopped loses nothing.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from flywheel.config import RequestLog
from flywheel.say import say
from flywheel.serving.traffic import Traffic

if TYPE_CHECKING:
    import pandas as pd

REQUEST, ROW, TIME, VERSION = "flywheel_request", "flywheel_row", "flywheel_time", "flywheel_version"
META = (REQUEST, ROW, TIME, VERSION)
_TICK = 0.5
_MOST = 1_000_000  # rows that may wait while the disk is slow; what comes then is not kept
_TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("us"),
}


@dataclass(frozen=True)
class Layout:
    """The columns of a version's log.

    Attributes:
        inputs: Type of each input that is kept, by name.
        redacted: Columns that are not.
    """

    inputs: dict[str, pa.DataType]
    redacted: frozenset[str]

    @classmethod
    def of(cls, types: dict[str, str], settings: RequestLog) -> Layout:
        """Return what `settings` keep of a model's inputs.

        Args:
            types: MLflow's type of each input, by name; one that is no scalar is not kept.
            settings: `deploy.log`.
        """
        redacted = frozenset(settings.redact)
        kept = {name: _TYPES.get(types.get(name, "string")) for name in settings.columns or types}
        return cls({name: type for name, type in kept.items() if type and name not in redacted}, redacted)

    def batch(
        self, request: str, version: str, at: float, inputs: pd.DataFrame, outputs: pd.DataFrame
    ) -> pa.RecordBatch:
        """Return one request as Arrow, column by column.

        Raises:
            pa.ArrowException: A column holds what its type cannot.
        """
        rows = len(inputs)
        # One array of objects, cut into columns: to make a Series of each would take longer than all the rest.
        asked = dict(zip(map(str, inputs.columns), inputs.to_numpy(dtype=object).T, strict=True))
        answers = {str(name): outputs[name] for name in outputs if str(name) not in self.redacted}
        columns: dict[str, pa.Array] = {
            REQUEST: pa.repeat(request, rows),
            ROW: pa.array(np.arange(rows, dtype=np.int32)),
            TIME: pa.repeat(pa.scalar(round(at * 1e6), pa.timestamp("us", "UTC")), rows),
            VERSION: pa.repeat(version, rows),
        }
        for name, type in self.inputs.items():
            if name not in answers:  # an answer of the same name can be had nowhere else
                columns[name] = _column(asked[name], type) if name in asked else pa.nulls(rows, type)
        for name, values in answers.items():
            columns[name] = pa.array(values, from_pandas=True)
        return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _column(values: NDArray[Any], type: pa.DataType) -> pa.Array:
    """Return raw values as Arrow; what came as numbers and is kept as text becomes text."""
    try:
        return pa.array(values, type, from_pandas=True)
    except pa.ArrowTypeError:
        if type != pa.string():
            raise
        return pa.array(values, from_pandas=True).cast(type)


class RequestWriter:
    """Logs a sample of one model's requests, in a thread of its own; it never raises into a request.

    Args:
        folder: Where to: `day=2013-06-01/` and so on below it.
        settings: `deploy.log`.
        counted: Called with `written` or `lost` and how many rows that were.
        say: Called with a line when logging stops, and when it goes on.
        clock: Gives the time, in seconds since the epoch.
        chance: Gives a number from 0 to 1, drawn for each request.
    """

    def __init__(
        self,
        folder: Path,
        settings: RequestLog,
        counted: Callable[[str, int], object] = lambda what, rows: None,
        say: Callable[[str], object] = say,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.folder, self.settings = folder, settings
        self._counted, self._say, self._clock, self._chance = counted, say, clock, chance
        self._waiting: deque[pa.RecordBatch] = deque()
        self._rows = 0
        """How many rows wait, guarded by the lock: requests add, the thread takes."""
        self.traffic = Traffic(clock)
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._held: pa.Table | None = None
        self._since, self._files, self._failing = 0.0, 0, False
        self._thread = threading.Thread(target=self._run, name="request-log", daemon=True)
        self._thread.start()

    def add(self, request: str, version: str, layout: Layout, inputs: Any, outputs: Any) -> None:
        """Log a request, if it is one of the sample.

        Args:
            request: Its id.
            version: Version of the model that answered.
            layout: What of it is kept.
            inputs: What was asked, a DataFrame of raw columns.
            outputs: What was answered, a DataFrame with as many rows.
        """
        if self._chance() >= self.settings.sample or not len(inputs):
            return
        try:
            batch = layout.batch(request, version, self._clock(), inputs, outputs)
        except Exception as error:
            self._lose(1, f"a request is not logged: {type(error).__name__}: {error}")
            return
        with self._lock:
            fits = self._rows + batch.num_rows <= _MOST
            if fits:
                self._waiting.append(batch)
                self._rows += batch.num_rows
        if not fits:
            self._lose(batch.num_rows, "requests come faster than they can be logged: some are not")

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(_TICK)
            try:
                self._take()
                full = self._held is not None and self._held.num_rows >= self.settings.rows
                late = self._clock() - self._since >= self.settings.every.total_seconds()
                if closing or full or late:
                    self._roll()
                self.traffic.write(self.folder, self.settings.every.total_seconds(), whole=closing)
            except Exception as error:  # a request is never to suffer from its log
                self._drop(error)

    def _take(self) -> None:
        """Move what waits into one table; what is of another day or has other columns begins another file."""
        with self._lock:
            taken, self._waiting, self._rows = self._waiting, deque(), 0
        groups: list[list[pa.RecordBatch]] = []
        for batch in taken:
            if not groups or not _alike(groups[-1][0], batch):
                groups.append([])
            groups[-1].append(batch)
        for group in groups:
            if self._held is not None and not _alike(self._held, group[0]):
                self._roll()
            table = pa.Table.from_batches(group).combine_chunks()
            if self._held is None:
                self._held, self._since = table, self._clock()
            else:
                self._held = pa.concat_tables([self._held, table])

    def _roll(self) -> None:
        """Write what is held as a file."""
        if self._held is None:
            return
        now = datetime.now(UTC)
        folder = self.folder / f"day={_day(self._held)}"
        file = folder / f"part-{now:%Y%m%dT%H%M%S}-{os.getpid()}-{self._files:05d}.parquet"
        partial = file.with_name(f".{file.name}.partial")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(self._held, partial, compression="zstd")
            partial.replace(file)
        except BaseException:
            _remove(partial)  # half a file would only keep the disk full
            raise
        rows, self._held = self._held.num_rows, None
        self._files += 1
        self._counted("written", rows)
        if self._failing:
            self._failing = False
            self._say(f"requests are logged again, in {self.folder}")

    def _drop(self, error: Exception) -> None:
        """Let go of what cannot be written, so that memory stays flat while the disk is full."""
        rows, self._held = self._held.num_rows if self._held is not None else 0, None
        self._lose(rows, f"requests are not logged for now, serving goes on: {error}")

    def _lose(self, rows: int, why: str) -> None:
        self._counted("lost", rows)
        if not self._failing:
            self._failing = True
            self._say(why)


def _alike(one: pa.Table | pa.RecordBatch, other: pa.RecordBatch) -> bool:
    return bool(one.schema.equals(other.schema)) and _day(one) == _day(other)


def _day(rows: pa.Table | pa.RecordBatch) -> str:
    at: datetime = rows.column(rows.schema.get_field_index(TIME))[0].as_py()
    return f"{at:%Y-%m-%d}"


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        say(f"{file} is left behind: {error}")
