"""The rows of one table that belong to some days, and how a fault reaches a share of them.

A day is the local day in New York. A row of `weather` belongs to the day whose flights leave in its hour. A row of
`planes` belongs to no day; `planes` therefore gives the days' flights a copy of their planes, under other tail
numbers, which are in no output: so damage to a plane is seen on those days only, as by a snapshot taken on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import duckdb

WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
PLANES = ("plane_age", "seats", "manufacturer")

OFFSET = "CASE WHEN {day} BETWEEN DATE '2013-03-10' AND DATE '2013-11-02' THEN 4 ELSE 5 END"
"""Hours that New York's clock was behind UTC."""

_UTC_DAY = "DATE '1970-01-01' + CAST(floor((epoch(time_hour) - 5 * 3600) / 86400) AS INTEGER)"
_DAYS = {
    "flights": "make_date(year, month, day)",
    "weather": f"({_UTC_DAY})",
    "planes": "CAST(left(tailnum, 10) AS DATE)",
}
_KEYS = {
    "flights": "concat_ws('|', year, month, day, hour, minute, carrier, flight, origin)",
    "weather": "concat_ws('|', origin, epoch(time_hour))",
    "planes": "tailnum",
}


@dataclass(frozen=True)
class Rows:
    """The rows of a table that belong to the days first to last.

    Attributes:
        connection: The warehouse.
        table: Name of the table.
        first: First day.
        last: Last day, included.
        among: Further condition, in SQL.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    first: date
    last: date
    among: str = "TRUE"

    @property
    def day(self) -> str:
        """SQL for the day that a row belongs to."""
        return _DAYS[self.table]

    @property
    def ramp(self) -> str:
        """SQL for how far a slow fault has come on a row's day: 1 on the last."""
        return f"((({self.day} - DATE '{self.first}') + 1) / {(self.last - self.first).days + 1})"

    @property
    def condition(self) -> str:
        """SQL that holds for these rows only."""
        marked = "tailnum LIKE '____-__-__~%' AND " if self.table == "planes" else ""
        return f"{marked}{self.day} BETWEEN DATE '{self.first}' AND DATE '{self.last}' AND ({self.among})"

    def picked(self, share: float | str = 1.0, where: str = "TRUE") -> str:
        """Return SQL that holds for a share of each day's rows, at least one: those whose keys digest lowest.

        Args:
            share: From 0 to 1, or SQL for it.
            where: The share is of the rows for which this holds.
        """
        return (
            f"rowid IN (SELECT rowid FROM (SELECT rowid, {share} AS share, count(*) OVER each_day AS n,"
            f" row_number() OVER (each_day ORDER BY md5({_KEYS[self.table]}), rowid) AS place"
            f" FROM {self.table} WHERE {self.condition} AND ({where}) WINDOW each_day AS (PARTITION BY {self.day}))"
            f" WHERE place <= ceil(share * n - 1e-6))"
        )

    def update(self, assignments: str, share: float | str = 1.0, where: str = "TRUE") -> None:
        """Change a share of the rows."""
        self.connection.execute(f"UPDATE {self.table} SET {assignments} WHERE {self.picked(share, where)}")

    def delete(self, share: float | str = 1.0, where: str = "TRUE") -> None:
        """Remove a share of the rows."""
        self.connection.execute(f"DELETE FROM {self.table} WHERE {self.picked(share, where)}")

    def repeat(self, replace: str = "", share: float | str = 1.0, where: str = "TRUE") -> None:
        """Add a share of the rows once more, changed by `replace`, as `value AS column, …`."""
        columns = f"* REPLACE ({replace})" if replace else "*"
        self.connection.execute(
            f"INSERT INTO {self.table} SELECT {columns} FROM {self.table} WHERE {self.picked(share, where)}"
        )

    def take(self, columns: tuple[str, ...], source: str, share: float | str = 1.0, where: str = "TRUE") -> None:
        """Give a share of the rows the columns of the row of `source` that has their rowid in its column `target`."""
        assignments = ", ".join(f"{column} = source.{column}" for column in columns)
        self.connection.execute(
            f"UPDATE {self.table} SET {assignments} FROM ({source}) AS source"
            f" WHERE {self.table}.rowid = source.target AND {self.table}.{self.picked(share, where)}"
        )


def flights(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> Rows:
    """Return the flights of those days."""
    return Rows(connection, "flights", first, last)


def weather(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> Rows:
    """Return the readings of those days that some flight meets."""
    return Rows(connection, "weather", first, last, "(origin, time_hour) IN (SELECT origin, time_hour FROM flights)")


def planes(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> Rows:
    """Return copies of the planes that fly on those days, one a day, to which the flights of those days now point."""
    days = flights(connection, first, last)
    connection.execute(
        f"INSERT INTO planes SELECT p.* REPLACE (f.day || '~' || p.tailnum AS tailnum) FROM planes AS p"
        f" JOIN (SELECT DISTINCT {days.day} AS day, tailnum FROM flights WHERE {days.condition}) AS f USING (tailnum)"
    )
    days.update(f"tailnum = {days.day} || '~' || tailnum")
    return Rows(connection, "planes", first, last)


def carriers(connection: duckdb.DuckDBPyConnection, first: date, last: date) -> list[str]:
    """Return the codes of the carriers on those days, the busiest first."""
    days = flights(connection, first, last)
    found = connection.execute(
        f"SELECT carrier FROM flights WHERE {days.condition} GROUP BY 1 ORDER BY count(*) DESC, 1"
    ).fetchall()
    return [row[0] for row in found]


def carrier(connection: duckdb.DuckDBPyConnection, first: date, last: date, rank: float) -> str:
    """Return the code of a carrier by its number of flights on those days; the busiest is 1."""
    codes = carriers(connection, first, last)
    return codes[min(int(rank), len(codes)) - 1]


def normal(key: str) -> str:
    """Return SQL for a normal deviate that is the same for the same key (Box and Muller 1958)."""
    one, other = (f"((md5_number_lower(concat({key}, '{salt}')) % 1000003 + 1) / 1000004)" for salt in "ab")
    return f"(sqrt(-2 * ln({one})) * cos(2 * pi() * {other}))"


def slip(
    days: Rows, columns: tuple[str, ...], share: float, order: str, where: str = "TRUE", tail: bool = False
) -> None:
    """Give each of some rows the values of the next in an order, and the last those of the first.

    Args:
        days: The rows.
        columns: What slips.
        share: How many of them.
        order: SQL to order them by.
        where: The share is of the rows for which this holds.
        tail: Take the last rows in the order, not those whose keys digest lowest.
    """
    inside = f"{days.condition} AND ({where})"
    hit = inside if tail else f"{inside} AND {days.picked(share, where)}"
    least = f"floor((1 - {share}) * count(*) OVER ())" if tail else "0"
    days.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE slipping AS SELECT target, place, {', '.join(columns)} FROM"
        f" (SELECT rowid AS target, *, row_number() OVER (ORDER BY {order}, rowid) AS place, {least} AS least"
        f" FROM {days.table} WHERE {hit}) WHERE place > least"
    )
    source = (
        f"SELECT a.target, {', '.join(f'b.{each}' for each in columns)} FROM slipping AS a JOIN slipping AS b"
        " ON b.place = CASE WHEN a.place = (SELECT max(place) FROM slipping) THEN (SELECT min(place) FROM slipping)"
        " ELSE a.place + 1 END"
    )
    days.take(columns, source)
    days.connection.execute("DROP TABLE slipping")
