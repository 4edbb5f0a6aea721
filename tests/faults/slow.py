"""Faults that begin with nothing and grow evenly over four weeks; a size is what they have come to on the last day."""

from __future__ import annotations

from tests.faults.fault import ROWS, SHARES, declared_in, fault, three
from tests.faults.tables import PLANES, flights, planes, weather

DAYS = 28


@fault("thermometers drift upwards", ("temp",), three(2, 8, 30), "degrees", DAYS)
def slow_temperature(connection, first, last, degrees):
    days = weather(connection, first, last)
    days.update(f"temp = round(temp + {degrees} * {days.ramp}, 2)")


@fault("barometers drift upwards", ("pressure",), three(2, 10, 60), "hectopascals", DAYS)
def slow_pressure(connection, first, last, amount):
    days = weather(connection, first, last)
    days.update(f"pressure = round(pressure + {amount} * {days.ramp}, 1)")


@fault("distances creep upwards", ("distance",), three(1.01, 1.1, 1.6), "factor", DAYS)
def slow_distance(connection, first, last, factor):
    days = flights(connection, first, last)
    days.update(f"distance = CAST(ceil(distance * (1 + {factor - 1} * {days.ramp})) AS BIGINT)")


@fault("the schedule's clock goes ahead", ("hour", "minute_of_day"), three(10, 60, 240), "minutes", DAYS)
def slow_clock(connection, first, last, minutes):
    days = flights(connection, first, last)
    time = f"((hour * 60 + minute + CAST(ceil({minutes} * {days.ramp}) AS BIGINT)) % 1440)"
    days.update(f"hour = {time} // 60, minute = {time} % 60")


@fault("a sensor goes blind: visibility falls", ("visib",), three(0.02, 0.3, 1), "share of it that is lost", DAYS)
def slow_visibility(connection, first, last, share):
    days = weather(connection, first, last)
    days.update(f"visib = round(visib * (1 - {share} * {days.ramp}), 2)")


@fault("fewer and fewer planes are found", PLANES, SHARES, days=DAYS)
def slow_planes_not_found(connection, first, last, share):
    days = flights(connection, first, last)
    known = "tailnum IN (SELECT tailnum FROM planes)"
    days.update("tailnum = substr(tailnum, 2)", f"{share} * {days.ramp}", known)


@fault("ever more carriers are not known", ("carrier",), SHARES, days=DAYS)
def slow_carrier_unknown(connection, first, last, share):
    days = flights(connection, first, last)
    days.update("carrier = 'UNKNOWN'", f"{share} * {days.ramp}")


@fault("ever more destinations come as digests", ("dest",), SHARES, days=DAYS)
def slow_destination_hashed(connection, first, last, share):
    days = flights(connection, first, last)
    days.update("dest = left(md5(dest), 12)", f"{share} * {days.ramp}")


@fault("ever more rows are missing", (ROWS,), three(0.05, 0.3, 0.9), days=DAYS)
def slow_rows_missing(connection, first, last, share):
    days = flights(connection, first, last)
    days.delete(f"{share} * {days.ramp}")


@fault("ever more rows are there twice", (ROWS,), SHARES, days=DAYS)
def slow_rows_duplicated(connection, first, last, share):
    days = flights(connection, first, last)
    days.repeat(share=f"{share} * {days.ramp}")


@fault("ever more labels are inverted", ("late", "delay"), three(0.02, 0.2, 0.5), days=DAYS)
def slow_label_inverted(connection, first, last, share):
    days = flights(connection, first, last)
    days.update("arr_delay = 31 - arr_delay", f"{share} * {days.ramp}", "arr_delay IS NOT NULL")


@fault("delays grow by minutes that nobody waited", ("late", "delay"), three(2, 10, 60), "minutes", DAYS)
def slow_delay(connection, first, last, minutes):
    days = flights(connection, first, last)
    days.update(f"arr_delay = arr_delay + CAST(ceil({minutes} * {days.ramp}) AS BIGINT)", where="arr_delay IS NOT NULL")


@fault("a unit changes airport by airport: miles become kilometres", ("distance",), SHARES, days=DAYS)
def slow_kilometres(connection, first, last, share):
    days = flights(connection, first, last)
    days.update("distance = CAST(round(distance * 1.609344) AS BIGINT)", f"{share} * {days.ramp}")


@fault("seats are counted ever higher", ("seats",), three(1.02, 1.2, 3), "factor", DAYS)
def slow_seats(connection, first, last, factor):
    days = planes(connection, first, last)
    days.update(f"seats = CAST(ceil(seats * (1 + {factor - 1} * {days.ramp})) AS BIGINT)")


FAULTS = declared_in(globals())
