"""Which label belongs to which request: point in time, by id, whatever types the two sides have it in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError, DataError
from flywheel.monitoring.log import Log, quoted, types_of
from flywheel.serving.request_log import TIME

if TYPE_CHECKING:
    import pyarrow as pa

LABEL, WAITED = "flywheel_label", "flywheel_waited"


def join(log: Log, labels: Iterator[pa.RecordBatch], settings: Mapping[str, Any], label: str, task: str = "") -> None:
    """Make the view `labelled`: the requests, each with its label and the seconds that it took, null where none came.

    A label belongs to a request when it is the first of its id that became known after it, within `delay` and before
    the end of the newest span.

    Args:
        log: The requests.
        labels: Rows with `settings["id"]`, the label and when it arrived.
        settings: `monitor` of flywheel.yaml, `delay` in seconds.
        label: Column of `labels`.
        task: If `binary`, labels have to be 0 or 1.

    Raises:
        ConfigError: A column is missing.
        DataError: A label is none.
    """
    keys, at, delay = list(settings["id"]), quoted(settings["arrived"]), float(settings["delay"])
    file = log.spill("labels", labels)
    if file is None:  # nothing arrived: the same, without any row
        columns = ", ".join(f"CAST(NULL AS VARCHAR) AS {quoted(name)}" for name in dict.fromkeys([*keys, label]))
        given = f"(SELECT {columns}, CAST(NULL AS TIMESTAMP) AS {at} WHERE false)"
    else:
        given = f"read_parquet('{file}')"
    log.run(f"CREATE OR REPLACE VIEW labels AS SELECT * FROM {given}")
    kinds = types_of(log, "labels")
    for name, key in ((label, "label"), (settings["arrived"], "monitor.arrived")):
        if name not in kinds:
            raise ConfigError(
                f"monitor.labels gives no column {name!r}, only {', '.join(kinds)}",
                f"select it there: `{key}` of flywheel.yaml names it.",
            )
    alike = same(types_of(log, "requests"), kinds, keys)
    log.run(
        f"CREATE OR REPLACE VIEW known AS SELECT * REPLACE (CAST({at} AS TIMESTAMP) AS {at}) FROM labels "
        f"WHERE CAST({at} AS TIMESTAMP) < TIMESTAMP '{log.spans[-1].end}' AND {quoted(label)} IS NOT NULL"
    )
    if task == "binary":
        _refuse_others(log, quoted(label))
    waited = f"epoch(l.{at}) - epoch(r.{TIME})"
    log.run(
        f"CREATE OR REPLACE VIEW labelled AS SELECT r.*, CASE WHEN {waited} <= {delay} THEN l.{quoted(label)} END "
        f"AS {LABEL}, CASE WHEN {waited} <= {delay} THEN {waited} END AS {WAITED} "
        f"FROM requests r ASOF LEFT JOIN known l ON {alike} AND r.{TIME} <= l.{at}"
    )


def _refuse_others(log: Log, label: str) -> None:
    """Raise a DataError if a label is neither 0 nor 1."""
    number = f"TRY_CAST({label} AS DOUBLE)"
    ((wrong, one),) = log.ask(f"SELECT count(*), min({label}) FROM known WHERE {number} NOT IN (0, 1)")
    if wrong:
        raise DataError(
            f"monitor.labels gives {wrong:,} labels that are neither 0 nor 1, as {one}",
            "have the query give 0 or 1, as the one that is trained on does; leave out what is not known yet.",
        )


def same(
    left: Mapping[str, str], right: Mapping[str, str], columns: Sequence[str], where: str = "monitor.labels"
) -> str:
    """Return the condition that a request `r` and a label `l` have the same id, whatever types their columns have.

    Args:
        left: DuckDB's type of each column of the requests.
        right: And of the labels.
        columns: The id.
        where: Where the labels are from.

    Raises:
        ConfigError: One lacks a column.
    """
    for side, name in ((left, "the requests that are logged"), (right, where)):
        if missing := [column for column in columns if column not in side]:
            raise ConfigError(
                f"monitor.id names the column {missing[0]!r}, which {name} do not have, only {', '.join(side)}",
                "log it by `deploy.log.columns`, select it in the query of labels, or mend `monitor.id`.",
            )
    return " AND ".join(
        f"r.{quoted(name)} = l.{quoted(name)}"
        if left[name] == right[name]
        else f"{_as_text('r', name, left[name])} = {_as_text('l', name, right[name])}"
        for name in columns
    )


def _as_text(side: str, name: str, kind: str) -> str:
    column = f"{side}.{quoted(name)}"
    if kind in ("DOUBLE", "FLOAT"):  # 7.0 that was sent for 7
        whole = f"{column} = floor({column}) AND abs({column}) < 1e15"
        return f"CASE WHEN {whole} THEN CAST(CAST({column} AS BIGINT) AS VARCHAR) ELSE CAST({column} AS VARCHAR) END"
    return f"CAST({column} AS VARCHAR)"
