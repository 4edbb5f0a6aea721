"""The ledger as a table: every row, typed columns, for whatever reads Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.ledger.timeline import ended
from flywheel.spans import Every, Span

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.ledger import Row

_ROWS = 1024
_GATES = ("data", "model", "serving")


def schema() -> pa.Schema:
    """Return the columns of the table."""
    import pyarrow as pa

    text, number, time = pa.string(), pa.float64(), pa.timestamp("us", "UTC")
    return pa.schema(
        [
            ("model", text),
            ("span", text),
            ("span_start", pa.timestamp("us")),
            ("run", text),
            ("job", text),
            ("status", text),
            ("outcome", text),
            ("why", text),
            ("unfinished", text),
            ("version", text),
            ("champion_before", text),
            ("champion_after", text),
            ("endpoint", text),
            ("started", time),
            ("ended", time),
            ("seconds", number),
            ("cost", number),
            ("rows", pa.int64()),
            ("trained", pa.bool_()),
            ("metric", text),
            ("candidate", number),
            ("champion", number),
            ("baseline", number),
            ("window", text),
            ("judge", text),
            ("code", text),
            *((f"{gate}_ok", pa.bool_()) for gate in _GATES),
            *((f"{gate}_why", text) for gate in _GATES),
            *((f"{gate}_facts", text) for gate in _GATES),
            ("tags", pa.map_(text, text)),
        ]
    )


def export(
    rows: Sequence[Row], file: Path, *, name: str, every: Every, serves: Mapping[str, str], hourly: float | None = None
) -> int:
    """Write `rows` to the Parquet `file`, whole or not at all, and return how many they are.

    Args:
        rows: The ledger's rows.
        file: Where to; a file that is there is replaced.
        name: Of the flywheel.
        every: How long its spans are.
        serves: By run, the version in service once it was closed.
        hourly: What an hour of a run costs; None leaves the column `cost` empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    partial = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with pq.ParquetWriter(partial, schema(), compression="zstd") as writer:
            records = _records(rows, name, every, serves, hourly)
            while part := list(islice(records, _ROWS)):
                writer.write_table(pa.Table.from_pylist(part, schema()))
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return len(rows)


def _records(
    rows: Sequence[Row], name: str, every: Every, serves: Mapping[str, str], hourly: float | None
) -> Iterator[dict[str, Any]]:
    for row in rows:
        told = {gate: row.decisions.get(gate) for gate in _GATES}
        yield {
            "model": name,
            "span_start": Span.parse(row.span, every).start,
            "champion_before": row.tags.get("flywheel.champion") or None,
            "champion_after": serves.get(row.run) or None,
            "ended": ended(row) if row.seconds is not None else None,
            "cost": None if hourly is None or row.seconds is None else row.seconds / 3600 * hourly,
            "rows": row.rows,
            "trained": row.trained,
            "metric": row.metric or None,
            **row.figures,
            **{key: row.tags.get(f"flywheel.{key}") or None for key in ("window", "judge", "code")},
            **{f"{gate}_ok": said.ok if said else None for gate, said in told.items()},
            **{f"{gate}_why": said.why if said else None for gate, said in told.items()},
            **{f"{gate}_facts": json.dumps(said.facts) if said else None for gate, said in told.items()},
            **{
                key: getattr(row, key)
                for key in ("span", "run", "job", "status", "outcome", "why", "unfinished", "version", "endpoint")
            },
            "started": row.started,
            "seconds": row.seconds,
            "tags": list(row.tags.items()),
        }
