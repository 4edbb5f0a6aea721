"""Rows that are missing, there twice, of another day, or beside their own values."""

from __future__ import annotations

from datetime import timedelta

from tests.faults.fault import RANKS, ROWS, declared_in, fault, three
from tests.faults.tables import OFFSET, carrier, flights

TIME = ("hour", "minute_of_day", "departs")
FLIGHT = ("flight", "carrier", "origin", "dest", "distance", "hour", "minute_of_day")


@fault("rows of one origin are missing", ("origin", ROWS), three(0.05, 0.5, 1), "share of LGA's rows")
def origin_missing(connection, first, last, share):
    flights(connection, first, last).delete(share, "origin = 'LGA'")


@fault("one carrier is missing", ("carrier", ROWS), RANKS, "rank of the carrier")
def carrier_missing(connection, first, last, rank):
    code = carrier(connection, first, last, rank)
    flights(connection, first, last).delete(where=f"carrier = '{code}'")


@fault("the load broke off: later hours are missing", (ROWS, *TIME), three(22, 19, 12), "first hour that is missing")
def load_truncated(connection, first, last, hour):
    flights(connection, first, last).delete(where=f"hour >= {hour}")


@fault("the load began late: earlier hours are missing", (ROWS, *TIME), three(6, 8, 15), "first hour that is there")
def load_began_late(connection, first, last, hour):
    flights(connection, first, last).delete(where=f"hour < {hour}")


@fault("hours from noon on are missing", (ROWS, *TIME), three(1, 3, 8), "hours")
def hours_missing(connection, first, last, hours):
    flights(connection, first, last).delete(where=f"hour >= 12 AND hour < 12 + {hours}")


@fault("only some hours, from six on, are loaded", (ROWS, *TIME), three(16, 12, 1), "hours that are there")
def few_hours_loaded(connection, first, last, hours):
    flights(connection, first, last).delete(where=f"hour < 6 OR hour >= 6 + {hours}")


@fault("a sample instead of the full load", (ROWS,), three(0.02, 0.3, 0.9), "share of rows that is missing")
def sample_loaded(connection, first, last, share):
    flights(connection, first, last).delete(share)


@fault("rows are there twice", (ROWS,))
def rows_duplicated(connection, first, last, share):
    flights(connection, first, last).repeat(share=share)


@fault("corrections are appended, not merged: a flight has two arrivals", (ROWS, "flight", "late"))
def corrections_appended(connection, first, last, share):
    flights(connection, first, last).repeat("31 - arr_delay AS arr_delay", share, "arr_delay IS NOT NULL")


@fault("yesterday's file is loaded as today's; its instants say yesterday", (ROWS, "departs"))
def yesterday_again(connection, first, last, share):
    _replace(connection, first, last, share, days=1, instant="time_hour")


@fault("yesterday's rows come again, every date moved to today", (ROWS, "late", *FLIGHT))
def yesterday_moved_to_today(connection, first, last, share):
    _replace(connection, first, last, share, days=1)


@fault("last week's rows come again, every date moved to today", (ROWS, "late", *FLIGHT))
def last_week_moved_to_today(connection, first, last, share):
    _replace(connection, first, last, share, days=7)


@fault("rows of half a year away, every date moved to today", (ROWS, "late", *FLIGHT))
def other_season(connection, first, last, share):
    _replace(connection, first, last, share, days=-182 if first.month < 7 else 182)


@fault("tomorrow's rows are in today's partition already", (ROWS, "departs"))
def tomorrow_leaks_in(connection, first, last, share):
    _arrive(connection, first, last, share, days=-1, instant="time_hour")


@fault("somebody's test rows are in the feed", (ROWS, "carrier", "dest", "distance", "flight"),
       three(0.002, 0.02, 0.2), "test rows for each row")  # fmt: skip
def rows_of_a_test(connection, first, last, share):
    change = "'XX' AS carrier, 'TST' AS dest, 1 AS distance, 9999 AS flight, NULL AS tailnum, 0 AS arr_delay"
    flights(connection, first, last).repeat(change, share)


FAULTS = declared_in(globals())


def _replace(connection, first, last, share, days, instant=None):
    """Put a share of the flight numbers as they were `days` before in the place of today's."""
    same = f"md5_number_lower(concat_ws('|', carrier, flight, origin)) % 100000 < {share} * 100000"
    flights(connection, first, last).delete(where=same)
    _arrive(connection, first, last, 1.0, days, instant, same)


def _arrive(connection, first, last, share, days, instant=None, where="TRUE"):
    """Add a share of the rows of `days` before to those of today.

    Args:
        instant: SQL for the instant of departure; by default the same local time on the new day.
    """
    source = flights(connection, first - timedelta(days), last - timedelta(days))
    new = f"({source.day} + {days})"
    parts = [f"{part}({new})" for part in ("year", "month", "day")]
    local = f"epoch(make_timestamp({', '.join(parts)}, hour, 0, 0.0))"
    moved = f"to_timestamp({local} + 3600 * ({OFFSET.format(day=new)}))"
    dates = ", ".join(f"{value} AS {part}" for value, part in zip(parts, ("year", "month", "day"), strict=True))
    source.repeat(f"{dates}, {instant or moved} AS time_hour", share, where)
