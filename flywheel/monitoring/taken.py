"""Which requests are not to be labelled once more: those that were chosen before, and those that have a label."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel import warehouse as warehouses
from flywheel.errors import ConfigError
from flywheel.monitoring.join import same
from flywheel.monitoring.log import Log, types_of
from flywheel.serving.request_log import REQUEST, ROW
from flywheel.spans import containing

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "selected"


def key_of(log: Log, named: Sequence[str]) -> list[str]:
    """Return the columns that tell requests apart: `monitor.id`, and the place in a request that has many rows."""
    return [*named, ROW] if tuple(named) == (REQUEST,) and ROW in log.columns else list(named)


def leave_out_chosen(log: Log, folder: Path, lists: Sequence[Path], key: Sequence[str]) -> int:
    """Take the requests out of `log` that earlier selections chose, and return how many those were.

    Args:
        log: The requests.
        folder: What `remember` wrote to.
        lists: CSV files that selections made elsewhere wrote.
        key: As `key_of` gives it.

    Raises:
        ConfigError: A list cannot be read, or it, or the log, lacks a column of the key.
    """
    import duckdb

    before = sum(log.rows().values())
    for number, file in enumerate([*sorted(folder.glob("*.parquet")), *lists]):
        read, view = "read_csv" if file in lists else "read_parquet", f"chosen_{number}"
        name = str(file).replace("'", "''")
        try:
            log.connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {read}('{name}')")
        except duckdb.Error as error:
            why = str(error).splitlines()[0]
            raise ConfigError(f"the selection {file} cannot be read: {why}", "give a file that select wrote.") from None
        if file in lists or set(key) <= set(types_of(log, view)):  # an own one without them is of another `monitor.id`
            _leave_out(log, view, key, str(file))
    return before - sum(log.rows().values())


def leave_out_labelled(log: Log, labels: str, warehouse: str, source: Mapping[str, Any], monitor: Any) -> int:
    """Take the requests out of `log` whose label is in the warehouse, and return how many those were.

    Args:
        log: The requests.
        labels: SQL of `monitor.labels`; it is asked for the spans of the log, and for `monitor.delay` after them.
        warehouse: URL of the warehouse.
        source: As `source` in flywheel.yaml.
        monitor: `monitor` of flywheel.yaml.

    Raises:
        SQLError: The query does not run.
        ConfigError: Log or labels lack a column of `monitor.id`.
    """
    before, last = sum(log.rows().values()), log.spans[-1]
    until = min(last.end + timedelta(seconds=monitor.delay.total_seconds()), datetime.now(UTC).replace(tzinfo=None))
    span, newest = log.spans[0], max(last, containing(last.every, until))

    def arrived() -> Iterator[pa.RecordBatch]:
        at = span
        while at <= newest:
            yield from opened.batches(labels, at)
            at = at.shift(1)

    with warehouses.open(warehouse, warehouses.Options.of(source)) as opened:
        file = log.spill("arrived", arrived())
    if file is not None:
        log.run(f"CREATE VIEW arrived AS SELECT * FROM read_parquet('{file}')")
        _leave_out(log, "arrived", monitor.id, "monitor.labels")
    return before - sum(log.rows().values())


def remember(chosen: pa.Table, folder: Path, key: Sequence[str]) -> None:
    """Keep the ids of rows that were chosen, for the next selection to leave them out; doing it again adds nothing."""
    import pyarrow.parquet as pq

    ids = chosen.select([name for name in key if name in chosen.column_names])
    if not ids.num_columns:
        return
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(str(ids.to_pydict()).encode()).hexdigest()[:16]
    partial = folder / f".{name}.partial"
    pq.write_table(ids, partial)
    partial.replace(folder / f"{name}.parquet")


def _leave_out(log: Log, view: str, key: Sequence[str], where: str) -> None:
    """Replace the view `requests` by what of it is not in another one."""
    alike = same(types_of(log, "requests"), types_of(log, view), key, where)
    log.run(f"ALTER VIEW requests RENAME TO requests_without_{view}")
    log.run(f"CREATE VIEW requests AS SELECT r.* FROM requests_without_{view} r ANTI JOIN {view} l ON {alike}")
