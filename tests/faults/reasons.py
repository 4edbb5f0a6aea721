"""Why a fault is not caught, in words: written by hand. Whether it is caught is measured."""

from __future__ import annotations

from collections.abc import Mapping

_RATE = "the share of late flights was between 6% and 79% on the days of one March: so many wrong labels are weather"
_SHUFFLED = (
    "a day has 900 flights: a champion's AUC on one is 0.65 in the mean and varies by 0.07 from day to day, and on calm"
    " days lateness goes with hour, carrier and airport no more than by chance: in January to June a bar with one false"
    " alarm in a thousand days tells one shuffled day in four"
)
_YESTERDAY = "plausible weather: values, spread and course of the day are those of a day in the same week"
_SEASON = "in four weeks of spring or autumn the weather itself moves as far, and what is compared with moves along"

REASONS: Mapping[str, str] = {
    "delay_from_another_time": _RATE,
    "delay_in_hours": _RATE,
    "delay_in_seconds": f"only flights up to 15 minutes late change their label; {_RATE}",
    "delay_of_departure": "nine in ten labels stay what they were, and flights that leave late arrive late",
    "label_inverted": f"a day of few late flights becomes one of many; {_SHUFFLED}",
    "label_late": _RATE,
    "label_on_time": _RATE,
    "label_shuffled": f"the share of late flights stays; {_SHUFFLED}",
    "label_slipped": "the next flight of the load leaves in the same hour: seven in ten labels stay what they were",
    "late_flights_missing": _RATE,
    "minutes_cut_off": "one flight in six is half an hour off, and none leaves its hour",
    "other_season": "the schedule of half a year away has the same carriers, routes, hours and, often, flight numbers",
    "pressure_of_yesterday": _YESTERDAY,
    "rain_in_millimetres": "few readings are wet, and rain varies as much from hour to hour",
    "slow_delay": _RATE,
    "slow_label_inverted": _SHUFFLED,
    "slow_pressure": _SEASON,
    "slow_temperature": _SEASON,
    "temperature_clipped": "the hottest and the coldest hours of a day differ by less than days of one week do",
    "temperature_in_celsius": "68 degrees Fahrenheit are 20 Celsius, and 20 is a winter day's: only the season says no",
    "weather_in_local_time": "readings of four or five hours later are plausible weather at any hour",
    "weather_late": _YESTERDAY,
    "weather_of_another_season": "weather of half a year away is plausible where spring and autumn are alike",
    "weather_of_one_airport": "the three airports lie within twenty miles: their readings hardly differ",
    "yesterday_moved_to_today": "most flights fly every day; what is wrong is the label, and that is plausible",
    "last_week_moved_to_today": "most flights fly every week; what is wrong is the label, and that is plausible",
}
"""By the fault's name; shown where it is not caught."""
