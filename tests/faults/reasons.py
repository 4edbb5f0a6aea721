"""Why a fault is not caught, in words: written by hand. Whether it is caught is measured."""

from __future__ import annotations

from collections.abc import Mapping

_YESTERDAY = "plausible weather: values, spread and course of the day are those of a day in the same week"
_SEASON = "in four weeks of spring or autumn the weather itself moves as far, and what is compared with moves along"

REASONS: Mapping[str, str] = {
    "carrier_missing": "one flight in ten, and bars as wide as changes of schedule have made them",
    "wind_in_metres_a_second": "one in five, and on other days as many were new, though between others that were there",
    "late_flights_missing": "the share of late flights was between 6% and 79% on the days of one March",
    "leak_in_planes": "on calm days it is one flight in twenty without a plane, besides the usual one in seven",
    "minutes_cut_off": "one flight in six is half an hour off, and none leaves its hour",
    "other_season": "as many flights of a day are new where airlines change their schedules",
    "pressure_of_yesterday": _YESTERDAY,
    "rain_in_millimetres": "one wet reading in five is in millimetres, and steps of an inch beside them prove nothing",
    "slow_label_inverted": "blocked on its first day, but by the name of the delay that is right",
    "slow_planes_not_found": "seven flights in a thousand more each day, and what is compared with moves along",
    "slow_pressure": _SEASON,
    "slow_rows_missing": "one in a hundred less each day, and what is compared with moves along",
    "sensors_frozen": "on one January day a thermometer stood still for two thirds of the time",
    "slow_temperature": _SEASON,
    "temperature_clipped": "the hottest and the coldest hours of a day differ by less than days of one week do",
    "temperature_in_celsius": "68 degrees Fahrenheit are 20 Celsius, and 20 is a winter day's: only the season says no",
    "weather_constant": "the commonest wind of a day is up to a third of its readings, and hours of calm are few",
    "weather_in_local_time": "plausible weather at any hour; without calm air or gusts nothing in the report disagrees",
    "weather_late": _YESTERDAY,
    "weather_of_another_season": "weather of half a year away is plausible where spring and autumn are alike",
    "weather_of_one_airport": "the three airports lie within twenty miles: their readings hardly differ",
    "yesterday_moved_to_today": "most flights fly every day; what is wrong is the label, and that is plausible",
    "last_week_moved_to_today": "most flights fly every week; what is wrong is the label, and that is plausible",
}
"""By the fault's name; shown where it is not caught."""
