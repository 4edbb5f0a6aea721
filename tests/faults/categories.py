"""Codes and names that are wrong: encodings, dictionaries, defaults, nulls."""

from __future__ import annotations

from tests.faults.fault import PARTS, RANKS, declared_in, fault, three
from tests.faults.tables import carrier, carriers, flights, planes, weather


@fault("one carrier has another code", ("carrier",), RANKS, "rank of the carrier")
def carrier_renamed(connection, first, last, rank):
    code = carrier(connection, first, last, rank)
    flights(connection, first, last).update("carrier = carrier || '2'", where=f"carrier = '{code}'")


@fault("one carrier is counted as another, the second busiest", ("carrier",), RANKS, "rank of the carrier")
def carrier_merged(connection, first, last, rank):
    code, into = (carrier(connection, first, last, each) for each in (rank, 2))
    flights(connection, first, last).update(f"carrier = '{into}'", where=f"carrier = '{code}'")


@fault("codes are in lower case", ("carrier",))
def carrier_in_lower_case(connection, first, last, share):
    flights(connection, first, last).update("carrier = lower(carrier)", share, "carrier != lower(carrier)")


@fault("texts are padded with blanks", ("dest",))
def destination_padded(connection, first, last, share):
    flights(connection, first, last).update("dest = rpad(dest, 8, ' ')", share)


@fault("UTF-8 is read as Latin-1, twice", ("manufacturer",), unit="share of planes")
def manufacturer_mojibake(connection, first, last, share):
    planes(connection, first, last).update("manufacturer = replace(manufacturer, 'E', 'Ã‰')", share,
                                           "contains(manufacturer, 'E')")  # fmt: skip


@fault("codes come as digests", ("dest",))
def destination_hashed(connection, first, last, share):
    flights(connection, first, last).update("dest = left(md5(dest), 12)", share)


@fault("a code carries the flight's number: as many values as rows", ("dest",), three(0.01, 0.1, 1))
def destination_explodes(connection, first, last, share):
    flights(connection, first, last).update("dest = dest || '-' || flight", share)


@fault(
    "a dictionary is one entry off: each of the rarest carriers has the code of the next",
    ("carrier",),
    three(3, 8, 20),
    "carriers",
)
def carrier_dictionary_off(connection, first, last, count):
    days = flights(connection, first, last)
    codes = carriers(connection, first, last)[::-1][: int(count)]
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in zip(codes, codes[1:] + codes[:1], strict=True))
    days.update(f"carrier = CASE carrier {cases} ELSE carrier END")


@fault("origins are another dictionary's: the three are exchanged in turn", ("origin",))
def origin_dictionary_off(connection, first, last, share):
    change = "origin = CASE origin WHEN 'EWR' THEN 'JFK' WHEN 'JFK' THEN 'LGA' ELSE 'EWR' END"
    flights(connection, first, last).update(change, share)


@fault("a default for what is not known", ("carrier",))
def carrier_unknown(connection, first, last, share):
    flights(connection, first, last).update("carrier = 'UNKNOWN'", share)


@fault("an empty text for what is not known", ("dest",))
def destination_empty(connection, first, last, share):
    flights(connection, first, last).update("dest = ''", share)


@fault("a zero for what is not known", ("distance",))
def distance_zero(connection, first, last, share):
    flights(connection, first, last).update("distance = 0", share)


@fault("-1 for what is not known", ("flight",))
def flight_minus_one(connection, first, last, share):
    flights(connection, first, last).update("flight = -1", share)


@fault("999 for what is not known", ("visib",), unit="share of readings")
def visibility_999(connection, first, last, share):
    weather(connection, first, last).update("visib = 999", share)


@fault("planes that are not known are given as zeros, no longer as nulls", ("plane_age", "seats", "manufacturer"),
       PARTS, "share of the unknown planes")  # fmt: skip
def unknown_planes_as_zeros(connection, first, last, share):
    planes(connection, first, last)
    days = flights(connection, first, last)
    unknown = "tailnum IS NULL OR tailnum NOT IN (SELECT tailnum FROM planes)"
    key = f"{days.day} || '~none'"
    connection.execute(
        "INSERT INTO planes (tailnum, year, seats, manufacturer)"
        f" SELECT DISTINCT {key}, 0, 0, 'UNKNOWN' FROM flights WHERE {days.condition}"
    )
    days.update(f"tailnum = {key}", share, unknown)


@fault("the year that a plane was built is that of the epoch", ("plane_age",), unit="share of planes")
def plane_year_1970(connection, first, last, share):
    planes(connection, first, last).update("year = 1970", share)


@fault("one carrier has no distances", ("distance",), RANKS, "rank of the carrier")
def nulls_for_one_carrier(connection, first, last, rank):
    code = carrier(connection, first, last, rank)
    flights(connection, first, last).update("distance = NULL", where=f"carrier = '{code}'")


@fault("a number is missing", ("humid",), unit="share of readings")
def nulls_in_a_number(connection, first, last, share):
    weather(connection, first, last).update("humid = NULL", share, "humid IS NOT NULL")


@fault("a code is missing", ("dest",))
def nulls_in_a_code(connection, first, last, share):
    flights(connection, first, last).update("dest = NULL", share)


@fault("origin and destination are swapped", ("origin", "dest"))
def origin_and_destination_swapped(connection, first, last, share):
    flights(connection, first, last).update("origin = dest, dest = origin", share)


@fault("temperature and dew point are swapped", ("temp", "dewp"), unit="share of readings")
def temperature_and_dew_point_swapped(connection, first, last, share):
    weather(connection, first, last).update("temp = dewp, dewp = temp", share, "temp != dewp")


@fault("distance and flight number are swapped", ("distance", "flight"))
def distance_and_flight_swapped(connection, first, last, share):
    flights(connection, first, last).update("distance = flight, flight = distance", share)


FAULTS = declared_in(globals())
