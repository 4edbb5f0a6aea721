"""Joins that find nothing, too much, or the wrong row."""

from __future__ import annotations

from tests.faults.fault import ROWS, declared_in, fault, three
from tests.faults.tables import PLANES, WEATHER, flights, planes, slip, weather

KNOWN = "tailnum IN (SELECT tailnum FROM planes)"


@fault("tail numbers lost their N: no plane is found", PLANES)
def planes_not_found(connection, first, last, share):
    flights(connection, first, last).update("tailnum = substr(tailnum, 2)", share, KNOWN)


@fault("the table of planes is old: those built since are not in it", PLANES, three(2012, 2006, 1995),
       "first year that is missing")  # fmt: skip
def planes_old(connection, first, last, year):
    planes(connection, first, last).delete(where=f"year >= {year}")


@fault("planes are there twice, the same", (ROWS,), unit="share of planes")
def planes_twice(connection, first, last, share):
    planes(connection, first, last).repeat(share=share)


@fault("planes are there twice: as built and as rebuilt", (ROWS, *PLANES), unit="share of planes")
def planes_with_history(connection, first, last, share):
    planes(connection, first, last).repeat("year + 5 AS year, seats + 10 AS seats", share, "year IS NOT NULL")


@fault("tail numbers slipped among the flights of the day", PLANES)
def planes_of_other_flights(connection, first, last, share):
    slip(flights(connection, first, last), ("tailnum",), share, "tailnum", where=KNOWN)


@fault("instants of the readings are not full hours: no weather is found", WEATHER, unit="share of readings")
def weather_not_found(connection, first, last, share):
    weather(connection, first, last).update("time_hour = time_hour + INTERVAL 9 MINUTE", share)


@fault("one airport's readings come under its ICAO code", WEATHER, three(0.05, 0.4, 1), "share of LGA's readings")
def weather_under_another_code(connection, first, last, share):
    weather(connection, first, last).update("origin = 'K' || origin", share, "origin = 'LGA'")


@fault("a second reading in the hour", (ROWS, *WEATHER), unit="share of readings")
def weather_twice(connection, first, last, share):
    change = "temp - 0.9 AS temp, wind_speed + 1.15078 AS wind_speed"
    weather(connection, first, last).repeat(change, share)


@fault("readings are those of JFK, whatever the airport", WEATHER, unit="share of the others' readings")
def weather_of_one_airport(connection, first, last, share):
    days = weather(connection, first, last)
    source = (
        "SELECT w.rowid AS target, o.* FROM weather AS w JOIN weather AS o"
        " ON o.origin = 'JFK' AND o.time_hour = w.time_hour"
    )
    days.take(WEATHER, source, share, "origin != 'JFK'")


@fault("readings are hours old", WEATHER, three(1, 6, 24), "hours")
def weather_late(connection, first, last, hours):
    weather(connection, first, last).take(WEATHER, _earlier(hours))


@fault("one column of the readings is yesterday's", ("pressure",), unit="share of readings")
def pressure_of_yesterday(connection, first, last, share):
    weather(connection, first, last).take(("pressure",), _earlier(24), share)


@fault("readings are half a year old", WEATHER, unit="share of readings")
def weather_of_another_season(connection, first, last, share):
    away = 182 if first.month > 6 else -182
    weather(connection, first, last).take(WEATHER, _earlier(24 * away), share)


@fault("one column slipped by a row, from somewhere on", ("distance",), unit="share of rows, to the end of the load")
def distance_slipped(connection, first, last, share):
    slip(flights(connection, first, last), ("distance",), share, "hour, minute, carrier, flight, origin", tail=True)


@fault("values changed places within a column", ("carrier",))
def carrier_shuffled(connection, first, last, share):
    slip(
        flights(connection, first, last), ("carrier",), share, "md5(concat_ws('|', 'shuffle', carrier, flight, origin))"
    )


FAULTS = declared_in(globals())


def _earlier(hours):
    return (
        "SELECT w.rowid AS target, o.* FROM weather AS w JOIN weather AS o"
        f" ON o.origin = w.origin AND epoch(o.time_hour) = epoch(w.time_hour) - {int(hours)} * 3600"
    )
