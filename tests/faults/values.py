"""Numbers that are wrong: units, offsets, precision, noise, sensors that stick."""

from __future__ import annotations

from tests.faults.fault import declared_in, fault, three
from tests.faults.tables import OFFSET, WEATHER, flights, normal, planes, weather


@fault("miles became kilometres", ("distance",))
def distance_in_kilometres(connection, first, last, share):
    flights(connection, first, last).update("distance = CAST(round(distance * 1.609344) AS BIGINT)", share)


@fault("Fahrenheit became Celsius", ("temp", "dewp"), unit="share of readings")
def temperature_in_celsius(connection, first, last, share):
    change = "temp = round((temp - 32) / 1.8, 2), dewp = round((dewp - 32) / 1.8, 2)"
    weather(connection, first, last).update(change, share)


@fault("miles an hour became metres a second", ("wind_speed",), unit="share of readings with wind")
def wind_in_metres_a_second(connection, first, last, share):
    weather(connection, first, last).update("wind_speed = wind_speed * 0.44704", share, "wind_speed > 0")


@fault("hectopascals became inches of mercury", ("pressure",), unit="share of readings")
def pressure_in_inches(connection, first, last, share):
    change = "pressure = round(pressure * 0.02953, 2)"
    weather(connection, first, last).update(change, share, "pressure IS NOT NULL")


@fault("inches of rain became millimetres", ("precip",), unit="share of wet readings")
def rain_in_millimetres(connection, first, last, share):
    weather(connection, first, last).update("precip = round(precip * 25.4, 2)", share, "precip > 0")


@fault("a decimal comma was not understood: 39,02 became 3902", ("temp", "humid"), unit="share of readings")
def decimal_comma(connection, first, last, share):
    weather(connection, first, last).update("temp = round(temp * 100), humid = round(humid * 100)", share)


@fault(
    "decimals are lost: rounded to steps of 0.2, 2 or 20",
    ("temp", "dewp", "humid", "wind_speed"),
    three(0.2, 2, 20),
    "step",
)
def precision_lost(connection, first, last, step):
    columns = ("temp", "dewp", "humid", "wind_speed")
    change = ", ".join(f"{column} = round({column} / {step}) * {step}" for column in columns)
    weather(connection, first, last).update(change)


@fault("a distance is kept in eight bits: modulo 256", ("distance",))
def distance_overflows(connection, first, last, share):
    flights(connection, first, last).update("distance = distance % 256", share, "distance > 255")


@fault("distances are clipped", ("distance",), three(2400, 1500, 500), "largest distance left")
def distance_clipped(connection, first, last, bound):
    flights(connection, first, last).update(f"distance = least(distance, {bound})")


@fault("temperatures are clipped to a range", ("temp",), three(2, 5, 15), "degrees cut off at either end of the day's")
def temperature_clipped(connection, first, last, cut):
    days = weather(connection, first, last)
    low, high = connection.execute(f"SELECT min(temp), max(temp) FROM weather WHERE {days.condition}").fetchone()
    middle = (low + high) / 2
    days.update(f"temp = least(greatest(temp, {min(low + cut, middle)}), {max(high - cut, middle)})")


@fault("some distances are a thousand times too large", ("distance",), three(0.002, 0.01, 0.1))
def outliers(connection, first, last, share):
    flights(connection, first, last).update("distance = distance * 1000", share)


@fault("temperatures lost their sign, or got one", ("temp",), unit="share of readings")
def temperature_sign_flipped(connection, first, last, share):
    weather(connection, first, last).update("temp = -temp", share)


@fault("an age is taken the wrong way round, so that it is below zero", ("plane_age",), unit="share of planes")
def plane_age_negative(connection, first, last, share):
    planes(connection, first, last).update("year = 2 * 2013 - year", share, "year < 2013")


@fault("noise on the thermometers", ("temp",), three(1, 6, 30), "standard deviation in degrees")
def temperature_noise(connection, first, last, deviation):
    noise = normal("concat_ws('|', origin, epoch(time_hour))")
    weather(connection, first, last).update(f"temp = round(temp + {deviation} * {noise}, 2)")


@fault("distances vary from flight to flight", ("distance",), three(0.01, 0.1, 0.5), "standard deviation, relative")
def distance_noise(connection, first, last, deviation):
    noise = normal("concat_ws('|', carrier, flight, origin, day)")
    change = f"distance = CAST(greatest(1, round(distance * (1 + {deviation} * {noise}))) AS BIGINT)"
    flights(connection, first, last).update(change)


@fault("the scheduled hour is in another time zone", ("departs",), three(1, 5, 12), "hours")
def departure_in_another_zone(connection, first, last, hours):
    flights(connection, first, last).update(f"time_hour = time_hour + INTERVAL {int(hours)} HOUR")


@fault("the clock is in another time zone, the instant is right", ("hour", "minute_of_day"), three(1, 5, 12), "hours")
def clock_in_another_zone(connection, first, last, hours):
    flights(connection, first, last).update(f"hour = (hour + {int(hours)}) % 24")


@fault("local time of the readings is taken for UTC", WEATHER, three(0.1, 0.4, 1), "share of readings")
def weather_in_local_time(connection, first, last, share):
    days = weather(connection, first, last)
    offset = OFFSET.format(day=days.day.replace("time_hour", "w.time_hour"))
    later = (
        f"SELECT w.rowid AS target, o.* FROM weather AS w JOIN weather AS o"
        f" ON o.origin = w.origin AND epoch(o.time_hour) = epoch(w.time_hour) + 3600 * ({offset})"
    )
    days.take(WEATHER, later, share)


@fault("a twelve-hour clock lost its PM", ("hour", "minute_of_day"), unit="share of afternoon flights")
def afternoon_lost(connection, first, last, share):
    flights(connection, first, last).update("hour = hour - 12", share, "hour > 12")


@fault("minutes are cut off: times are whole hours", ("minute_of_day",))
def minutes_cut_off(connection, first, last, share):
    flights(connection, first, last).update("minute = 0", share, "minute > 0")


@fault("the instant of departure is one day late", ("departs",))
def departure_one_day_late(connection, first, last, share):
    flights(connection, first, last).update("time_hour = time_hour + INTERVAL 24 HOUR", share)


@fault("the instant of departure is the start of the epoch", ("departs",))
def departure_at_epoch(connection, first, last, share):
    flights(connection, first, last).update("time_hour = make_timestamptz(0)", share)


@fault("thermometers stuck at one value until the day's end", ("temp", "dewp", "humid"), three(4, 12, 24), "hours")
def sensors_frozen(connection, first, last, hours):
    days = weather(connection, first, last)
    since = f"epoch(time_hour) >= epoch(CAST({days.day} AS TIMESTAMP)) + 3600 * (29 - {int(hours)})"
    columns = ("temp", "dewp", "humid")
    held = (
        "SELECT rowid AS target, "
        + ", ".join(f"first_value({each}) OVER (PARTITION BY origin ORDER BY time_hour) AS {each}" for each in columns)
        + f" FROM weather WHERE {days.condition} AND {since}"
    )
    days.take(columns, held)


@fault("one column frozen at a single value", ("visib", "wind_speed"), three(0.05, 0.4, 1), "share of readings")
def weather_constant(connection, first, last, share):
    weather(connection, first, last).update("visib = 10, wind_speed = 9.20624", share)


@fault("seats have a wrong factor", ("seats",), three(1.02, 1.25, 10), "factor")
def seats_scaled(connection, first, last, factor):
    planes(connection, first, last).update(f"seats = CAST(ceil(seats * {factor}) AS BIGINT)")


FAULTS = declared_in(globals())
