"""The state of what a query reads, and its rows as they were then: FOR SYSTEM_TIME AS OF on every base table.

A state is a text of three kinds:

- `as-of INSTANT DIGEST`: base tables only. Rows are read as of that instant, right after the newest change.
- `seen INSTANT DIGEST`: some are views or have no past (BigQuery reads no view as of a time). Rows can only be read as
  they are, and only while the tables are what they were.
- `live INSTANT`: something was being streamed to or cannot be seen into, so that no two states are equal. Base tables
  are read as of that instant all the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.api_core import exceptions

from flywheel.errors import DataError, SQLError
from flywheel.warehouse import sql
from flywheel.warehouse.bigquery import calls, requests
from flywheel.warehouse.bigquery.errors import explained

if TYPE_CHECKING:
    from google.cloud import bigquery

_TICK = timedelta(milliseconds=1)
"""BigQuery tells the time of a change in whole milliseconds, cut off: rows of it are there one later at the latest."""

_PAST_SURE = timedelta(days=2)
"""The shortest time travel window that a dataset can have."""

_SLACK = timedelta(seconds=30)
"""How much clocks may differ."""


@dataclass(frozen=True)
class State:
    """What a query reads, at a moment.

    Attributes:
        kind: `as-of`, `seen` or `live`.
        instant: When to read it as of.
        digest: Of all tables and their times of change; empty for `live`.
    """

    kind: str
    instant: datetime
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.instant:%Y-%m-%dT%H:%M:%S.%f}Z {self.digest}".rstrip()

    @classmethod
    def parse(cls, text: str) -> State:
        """Return the state that `text` is.

        Raises:
            DataError: It is none of BigQuery's.
        """
        kind, _, rest = text.partition(" ")
        instant, _, digest = rest.partition(" ")
        try:
            if kind not in ("as-of", "seen", "live"):
                raise ValueError(kind)
            return cls(kind, datetime.strptime(instant, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC), digest)
        except ValueError:
            raise DataError(
                f"the state {text!r} is not one of a BigQuery warehouse",
                "run again: the plan then notes the state of this warehouse.",
            ) from None


@dataclass(frozen=True)
class _Seen:
    """One table: its name, what it is, and its newest change; none where that cannot be known."""

    name: str
    kind: str
    changed: datetime | None


class Snapshots:
    """Knows what the tables of a query are like.

    Args:
        client: BigQuery.
        project: Where a table is that is written without a project.
        dataset: Where one is that is written without a dataset; empty for none.
    """

    def __init__(self, client: bigquery.Client, project: str, dataset: str) -> None:
        self._client, self._project, self._dataset = client, project, dataset
        self._bases: dict[str, frozenset[str]] = {}

    def state(self, text: str, referenced: Iterable[bigquery.TableReference]) -> State:
        """Return the state of what `text` reads; `referenced` is what its dry run says that it reads."""
        seen = self._look(text, [str(table) for table in referenced])
        now = datetime.now(UTC)
        changed = [table.changed for table in seen]
        if not seen or any(each is None for each in changed):
            return State("live", now - _SLACK)
        lines = sorted(f"{table.name} {table.kind} {table.changed}" for table in seen)
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
        kept = all(table.kind == "TABLE" for table in seen) and self._all_in_sight(text, {table.name for table in seen})
        newest = max(each for each in changed if each is not None)
        return State("as-of" if kept else "seen", newest + _TICK, digest)

    def at(self, text: str, state: State, referenced: Sequence[bigquery.TableReference]) -> str:
        """Return `text` with every base table as of `state`.

        Raises:
            DataError: It reads views, and what they read has changed since.
        """
        self.refuse_changed(text, state, referenced)
        if state.kind == "seen":
            return text
        instant = self._near(text, state, referenced)
        clause = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{instant:%Y-%m-%d %H:%M:%S.%f}+00:00'"
        base = self._base(text, referenced)
        written = [table for table in requests.tables(sql.parse(text)) if table.plain]
        places = [table.after for table in written if self._full(table.name) in base]
        return requests.splice(text, [(place, place, clause) for place in places])

    def refuse_changed(self, text: str, state: State, referenced: Sequence[bigquery.TableReference]) -> None:
        """Refuse to read what has no past and has changed; asked before a job and after it.

        Raises:
            DataError: That is so.
        """
        if state.kind == "seen" and self.state(text, referenced).digest != state.digest:
            raise DataError(
                f"what the query reads has changed since {state.instant:%Y-%m-%d %H:%M:%S}Z, and BigQuery keeps no "
                "past of views",
                "run again: the span is then extracted as it is now; or name base tables in the query.",
            )

    def _near(self, text: str, state: State, referenced: Sequence[bigquery.TableReference]) -> datetime:
        """Return when to read as of: a time that BigQuery still has, as long as the rows are the same then."""
        now = datetime.now(UTC)
        if state.kind == "live" or now - state.instant < _PAST_SURE:
            return state.instant
        return now - _SLACK if self.state(text, referenced) == state else state.instant

    def _base(self, text: str, referenced: Sequence[bigquery.TableReference]) -> frozenset[str]:
        """Return which names of `text` are tables that have a past; arrays that it reads like tables are none."""
        if text not in self._bases:
            seen = self._look(text, [str(table) for table in referenced])
            self._bases[text] = frozenset(table.name for table in seen if table.kind == "TABLE")
        return self._bases[text]

    def _look(self, text: str, referenced: Sequence[str]) -> list[_Seen]:
        named = [self._full(table.name) for table in requests.tables(sql.parse(text))]
        waiting, seen = list(dict.fromkeys([*referenced, *named])), dict[str, _Seen]()
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            table = self._table(name)
            if table is None:
                if name in referenced:
                    seen[name] = _Seen(name, "UNKNOWN", None)
                continue
            seen[name] = _Seen(name, table.table_type or "TABLE", _changed(table))
            if table.table_type == "VIEW":
                waiting += self._behind(table)
        return list(seen.values())

    def _behind(self, view: bigquery.Table) -> list[str]:
        """Return the tables that a view names; where its text is not to be read, the dry run's have to do."""
        try:
            tree = sql.parse(view.view_query or "")
        except SQLError:
            return []
        return [self._full(table.name, view.project, view.dataset_id) for table in requests.tables(tree)]

    def _table(self, name: str) -> bigquery.Table | None:
        if name.count(".") != 2 or "*" in name or not all(name.split(".")):
            return None
        with explained():
            try:
                return self._client.get_table(name, timeout=calls.ANSWER)
            # BadRequest: an array in a STRUCT, as `visit.basket.goods`, whose first name cannot be that of a project
            except (exceptions.NotFound, exceptions.Forbidden, exceptions.BadRequest):
                return None

    def _all_in_sight(self, text: str, names: set[str]) -> bool:
        """Return whether a time can be asked of every table wherever `text` names it, and it names them all."""
        written = requests.tables(sql.parse(text))
        return all(table.plain for table in written) and names <= {self._full(table.name) for table in written}

    def _full(self, name: tuple[str, ...], project: str = "", dataset: str = "") -> str:
        missing = [project or self._project, dataset or self._dataset][: max(3 - len(name), 0)]
        return ".".join([*missing, *name])


def _changed(table: bigquery.Table) -> datetime | None:
    """Return when a table last changed; none while rows are streamed to it, or they lie outside of BigQuery."""
    if table.streaming_buffer is not None or table.table_type == "EXTERNAL":
        return None
    changed: datetime | None = table.modified
    return changed
