"""Labels that are wrong, that are not there yet, or that stand in a feature."""

from __future__ import annotations

from tests.faults.fault import PARTS, ROWS, declared_in, fault, three
from tests.faults.tables import PLANES, flights, slip

KNOWN = "arr_delay IS NOT NULL"
LATE = "arr_delay > 15"


@fault("the label is inverted", ("late", "delay"))
def label_inverted(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = 31 - arr_delay", share, KNOWN)


@fault("labels changed places", ("late", "delay"), PARTS)
def label_shuffled(connection, first, last, share):
    slip(flights(connection, first, last), ("arr_delay",), share, "md5(concat_ws('|', carrier, flight))", KNOWN)


@fault(
    "labels slipped by one row, from somewhere on",
    ("late", "delay"),
    PARTS,
    unit="share of rows, to the end of the load",
)
def label_slipped(connection, first, last, share):
    order = "hour, minute, carrier, flight, origin"
    slip(flights(connection, first, last), ("arr_delay",), share, order, KNOWN, tail=True)


@fault("arrivals that are not known yet count as on time", ("late", "delay"), PARTS)
def label_on_time(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = 0", share, KNOWN)


@fault("arrivals that are not known yet count as late", ("late", "delay"))
def label_late(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = 999", share, KNOWN)


@fault("arrivals after a certain time are not there yet", ("late", ROWS, "hour", "minute_of_day", "departs"),
       three(25, 20, 13), "last hour of arrivals, on New York's clock")  # fmt: skip
def label_delayed(connection, first, last, hour):
    arrives = "hour * 60 + minute + dep_delay + air_time + 20"
    flights(connection, first, last).update("arr_delay = NULL", where=f"{arrives} > {hour} * 60")


@fault("late flights are not there yet, those on time are", ("late", ROWS), PARTS, unit="share of late flights")
def late_flights_missing(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = NULL", share, LATE)


@fault("delays are in seconds", ("late", "delay"), PARTS)
def delay_in_seconds(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = arr_delay * 60", share, KNOWN)


@fault("delays are in hours", ("late", "delay"), PARTS)
def delay_in_hours(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = arr_delay // 60", share, KNOWN)


@fault("delays are counted from another time, so many minutes earlier", ("late", "delay"), three(2, 10, 60), "minutes")
def delay_from_another_time(connection, first, last, minutes):
    flights(connection, first, last).update(f"arr_delay = arr_delay + {minutes}", where=KNOWN)


@fault("the delay is that of departure", ("late", "delay"), PARTS)
def delay_of_departure(connection, first, last, share):
    flights(connection, first, last).update("arr_delay = dep_delay", share, KNOWN)


@fault("the scheduled time is that at which the flight left", ("hour", "minute_of_day"))
def leak_by_actual_time(connection, first, last, share):
    actual = "(hour * 60 + minute + dep_delay + 1440) % 1440"
    flights(connection, first, last).update(f"hour = {actual} // 60, minute = {actual} % 60", share, KNOWN)


@fault("late flights have another flight number", ("flight",), PARTS, unit="share of late flights")
def leak_in_flight(connection, first, last, share):
    flights(connection, first, last).update("flight = flight + 9000", share, LATE)


@fault("one foot in the distance says whether the flight was late: odd or even", ("distance",))
def leak_in_distance(connection, first, last, share):
    late = f"CASE WHEN {LATE} THEN 1 ELSE 0 END"
    flights(connection, first, last).update(f"distance = distance - distance % 2 + {late}", share, KNOWN)


@fault("planes of late flights are not found", PLANES, PARTS, unit="share of late flights")
def leak_in_planes(connection, first, last, share):
    flights(connection, first, last).update("tailnum = NULL", share, LATE)


FAULTS = declared_in(globals())
