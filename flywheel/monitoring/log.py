"""Logged requests of some spans, behind one DuckDB view, whatever wrote them; memory stays flat, bad files are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel import warehouse as warehouses
from flywheel.errors import DataError
from flywheel.monitoring.database import Database
from flywheel.serving.pyfunc import DECISION, PREDICTION, PROBABILITY
from flywheel.serving.request_log import META, TIME, VERSION
from flywheel.serving.traffic import PREFIX
from flywheel.spans import Every, Span, last_complete

if TYPE_CHECKING:
    import pyarrow as pa


class Log(Database):
    """Requests of `spans` as the view `requests`, each with its `flywheel_span`; opened by `of_folder` or `of_query`.

    Attributes:
        spans: Oldest first.
        folder: Where the log is; None when a query gave it.
        damaged: Files that are no whole Parquet file, and why.
    """

    def __init__(self, spans: Sequence[Span], folder: Path | None = None) -> None:
        super().__init__()
        self.spans, self.folder, self.damaged = list(spans), folder, dict[str, str]()

    @classmethod
    def of_folder(cls, folder: Path, spans: Sequence[Span]) -> Log:
        """Return the log in `folder`, a request log as `flywheel serve` writes it, or JSON lines of the same columns.

        A file that was cut off is left out and told, so is a line that was.

        Raises:
            DataError: There are no requests of these spans, or files that are no log.
        """
        log = cls(spans, folder)
        days = days_of(spans)
        files = [file for day in days for file in sorted((folder / f"day={day}").glob("*.parquet"))]
        lines = [file for day in days for file in sorted((folder / f"day={day}").glob("*.jsonl*"))]
        whole = [file for file in files if log._is_whole(file)]
        try:
            log._create(whole, [file for file in lines if not file.name.startswith(PREFIX)])
        except BaseException:
            log.close()
            raise
        return log

    @classmethod
    def of_query(cls, url: str, query: str, source: Mapping[str, Any], spans: Sequence[Span]) -> Log:
        """Return what `query` (`source.serving`) gives of each span.

        Raises:
            SQLError: The query does not run.
            DataError: It gives nothing, or no `flywheel_time`.
        """
        log = cls(spans)
        try:
            with warehouses.open(url, warehouses.Options.of(source)) as warehouse:
                files = [log.spill(f"requests-{span}", warehouse.batches(query, span)) for span in spans]
            log._create([file for file in files if file], [])
        except BaseException:
            log.close()
            raise
        return log

    @property
    def columns(self) -> list[str]:
        """All columns that were logged."""
        return [str(row[0]) for row in self.ask("DESCRIBE requests")][1:]

    @property
    def inputs(self) -> list[str]:
        """Columns that were asked with, so neither the log's own nor answers."""
        return [
            name
            for name in self.columns
            if name not in (*META, PREDICTION, DECISION) and not name.startswith(PROBABILITY)
        ]

    def rows(self) -> dict[str, int]:
        """Return how many rows were logged by span; 0 where none were."""
        counted = dict(self.ask("SELECT flywheel_span, count(*) FROM requests GROUP BY ALL"))
        return {span.name: int(counted.get(span.name, 0)) for span in self.spans}

    def lines_cut_off(self) -> int:
        """Return how many lines could not be read."""
        return int(self.ask(f"SELECT count(*) FROM logged WHERE {TIME} IS NULL")[0][0])

    def batches(self, span: Span, columns: Sequence[str], most: int) -> Iterator[pa.RecordBatch]:
        """Return rows of a span; of more than `most` a sample, whole requests of it, the same each time.

        Args:
            span: Which.
            columns: Which.
            most: Rows, about.
        """
        import math

        total = int(self.ask("SELECT count(*) FROM requests WHERE flywheel_span = $span", {"span": span.name})[0][0])
        share = min(1.0, most / max(total, 1))
        sampled = f"AND hash({quoted(TIME)}) % 1000000 < {math.ceil(share * 1e6)}" if share < 1 else ""
        names = ", ".join(map(quoted, columns))
        sql = f"SELECT {names} FROM requests WHERE flywheel_span = $span {sampled}"
        return self.read(sql, {"span": span.name})

    def spill(self, name: str, batches: Iterator[pa.RecordBatch]) -> Path | None:
        """Write batches to a Parquet file that goes with the log, and return it; None when there were no rows."""
        from flywheel.artifacts.examples import ShardWriter

        file, first = self.scratch / f"{name}.parquet", next(batches, None)
        if first is None:
            return None
        with ShardWriter(lambda: str(file), first.schema) as writer:
            writer.write(first)
            for batch in batches:
                writer.write(batch)
        return file if writer.rows else None

    def _is_whole(self, file: Path) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            pq.ParquetFile(file).close()
        except (pa.ArrowException, OSError) as error:
            self.damaged[file.name] = str(error).splitlines()[0]
            return False
        return True

    def _create(self, files: Sequence[Path], lines: Sequence[Path]) -> None:
        """Make the views `logged`, as it was found, and `requests`, what of it is of the spans."""
        import duckdb

        parts = []
        if files:
            parts.append(
                f"SELECT * FROM read_parquet({_texts(files)}, union_by_name = true, hive_partitioning = false)"
            )
        if lines:
            told = "format = 'newline_delimited', ignore_errors = true, union_by_name = true, hive_partitioning = false"
            parts.append(f"SELECT * FROM read_json({_texts(lines)}, {told})")
        where = self.folder or "what source.serving gives"
        if not parts:
            damaged = f"; {len(self.damaged)} files there are damaged" if self.damaged else ""
            raise DataError(
                f"no requests of {self.spans[0]} to {self.spans[-1]} are logged in {str(where)!r}{damaged}",
                "have `deploy.log` keep requests and `flywheel serve` serve them, or choose another span by --span.",
            )
        try:
            self.connection.execute(f"CREATE VIEW logged AS {' UNION ALL BY NAME '.join(parts)}")
            found = [str(row[0]) for row in self.connection.execute("DESCRIBE logged").fetchall()]
        except duckdb.Error as error:
            raise DataError(f"the log in {where} cannot be read: {str(error).splitlines()[0]}", "mend it.") from None
        if missing := [name for name in (TIME, VERSION, PREDICTION) if name not in found]:
            raise DataError(
                f"the requests in {str(where)!r} have no column {missing[0]!r}, only {', '.join(found)}",
                f"have them keep {TIME} (when), {VERSION} (who answered) and {PREDICTION} (what).",
            )
        every = self.spans[0].every
        form = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}[every]
        at = f"CAST({TIME} AS TIMESTAMP)"
        self.run(
            f"CREATE VIEW requests AS SELECT strftime(date_trunc('{every}', {at}), '{form}') AS flywheel_span, "
            f"* REPLACE ({at} AS {TIME}, CAST({VERSION} AS VARCHAR) AS {VERSION}) FROM logged "
            f"WHERE {at} >= TIMESTAMP '{self.spans[0].start}' AND {at} < TIMESTAMP '{self.spans[-1].end}'"
        )


def newest(folder: Path) -> str:
    """Return the last day that has a log in `folder`, as 2013-06-01.

    Raises:
        DataError: None has.
    """
    days = sorted(path.name.removeprefix("day=") for path in folder.glob("day=*") if any(path.iterdir()))
    if not days:
        raise DataError(
            f"no requests are logged in {str(folder)!r}",
            "give `deploy: {log: {sample: 1.0}}` in flywheel.yaml, and let `flywheel serve` answer some requests.",
        )
    return days[-1]


def newest_span(folder: Path, every: Every) -> Span:
    """Return the span of the last day that has a log in `folder`; of a day of hours its last one.

    Raises:
        DataError: None has.
    """
    day = datetime.strptime(newest(folder), "%Y-%m-%d").replace(tzinfo=UTC)
    if every in ("hour", "day"):
        return last_complete(every, day + timedelta(days=1))
    return last_complete(every, day).shift(1)


def types_of(log: Log, relation: str) -> dict[str, str]:
    """Return DuckDB's type of each column of a view or table."""
    return {str(row[0]): str(row[1]) for row in log.ask(f"DESCRIBE {relation}")}


def quoted(name: str) -> str:
    """Return a column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def days_of(spans: Sequence[Span]) -> list[str]:
    """Return the days that `spans` lie in, as 2013-06-01."""
    start, end = spans[0].start.date(), spans[-1].end
    count = (end - spans[0].start.replace(hour=0)) / timedelta(days=1)
    return [f"{start + timedelta(days=index):%Y-%m-%d}" for index in range(int(-(-count // 1)))]


def _texts(files: Sequence[Path]) -> str:
    return "[" + ", ".join("'" + str(file.absolute()).replace("'", "''") + "'" for file in files) + "]"
