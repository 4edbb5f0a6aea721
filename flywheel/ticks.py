"""Ticks: the times at which a schedule is due, by cron in a time zone or by an interval, and alarms that cover them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from math import gcd
from zoneinfo import ZoneInfo

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_MONTHS = dict(zip("jan feb mar apr may jun jul aug sep oct nov dec".split(), range(1, 13), strict=True))
_DAYS = dict(zip("sun mon tue wed thu fri sat".split(), range(7), strict=True))
_NAMES: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _DAYS)
_ORIGIN = datetime(1970, 1, 5, tzinfo=UTC)  # a Monday, from which intervals are counted
_YEARS = 5  # for which differences between time zones are looked at
_LONGEST_GAP = 366 * 9  # days: 29 February may be eight years away


@dataclass(frozen=True)
class Cron:
    """A cron expression of five fields; a day of the month and one of the week are joined by `or`, as everywhere.

    Attributes:
        minutes: Minutes of the hour, sorted; so are the rest.
        hours: Hours of the day.
        days: Days of the month; None when any will do.
        months: Months; None when any will do.
        weekdays: Days of the week, 0 is Sunday; None when any will do.
        every_hour: Whether the hour is written as `*`: then it is due in an hour that a clock change repeats, too.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...] | None
    months: tuple[int, ...] | None
    weekdays: tuple[int, ...] | None
    every_hour: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Return what `text` says, as `0 6 * * mon`.

        Raises:
            ValueError: It does not have five fields, one of them is wrong, or no calendar has such a day.
        """
        fields = text.lower().split()
        if len(fields) != len(_FIELDS):
            raise ValueError("cron has five fields: minute, hour, day of the month, month, day of the week")
        minutes, hours, days, months, weekdays = (
            _read(field, *about, names) for field, about, names in zip(fields, _FIELDS, _NAMES, strict=True)
        )
        open_ = [field.startswith("*") and "/" not in field for field in fields]
        made = cls(
            minutes,
            hours,
            None if open_[2] else days,
            None if open_[3] else months,
            None if open_[4] else tuple(sorted({day % 7 for day in weekdays})),
            fields[1].startswith("*"),
        )
        if not made.weekdays and made.days and not made._has_a_day():
            raise ValueError("no month that it names has such a day")
        return made

    def _has_a_day(self) -> bool:
        longest = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
        return any(min(self.days or (1,)) <= longest.get(month, 31) for month in self.months or range(1, 13))

    def on(self, day: date) -> bool:
        """Return whether it is due on `day` at all."""
        if self.months and day.month not in self.months:
            return False
        of_month = self.days is None or day.day in self.days
        of_week = self.weekdays is None or day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.days and self.weekdays else of_month and of_week

    def of(self, day: date, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the times at which it is due on a day of `zone`, in order.

        A time that the clocks leap over is due when they have leapt, one that they show twice is due the first time.
        """
        if self.on(day):
            yield from sorted({at for hour in self.hours for minute in self.minutes
                               for at in self._at(day, time(hour, minute), zone)})  # fmt: skip

    def _at(self, day: date, at: time, zone: ZoneInfo) -> Iterator[datetime]:
        first = datetime.combine(day, at, zone)
        second = first.replace(fold=1)
        if first.utcoffset() == second.utcoffset():
            yield first.astimezone(UTC)
        elif first.astimezone(UTC).astimezone(zone).time() == at:  # shown twice
            yield first.astimezone(UTC)
            if self.every_hour:
                yield second.astimezone(UTC)
        elif not self.every_hour:
            yield first.astimezone(UTC)


def _read(field: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[int, ...]:
    """Return the values that a field of cron stands for."""
    found: set[int] = set()
    for part in field.split(","):
        values, slash, step = part.partition("/")
        first, dash, last = values.partition("-")
        try:
            start = low if values == "*" else names.get(first, None) if first in names else int(first)
            end = (names[last] if last in names else int(last)) if dash else high if values == "*" or slash else start
            stride = int(step) if slash else 1
        except ValueError:
            raise ValueError(f"{part!r} is no {name}; write numbers, as 1,3 or 1-5 or */2") from None
        if start is None or end is None or not low <= start <= end <= high or stride < 1:
            raise ValueError(f"{part!r} is no {name}: it goes from {low} to {high}")
        found.update(range(start, end + 1, stride))
    return tuple(sorted(found))


@dataclass(frozen=True)
class Ticks:
    """The times at which a schedule is due; each is the same instant whenever and wherever it is asked for.

    Attributes:
        cron: Cron expression of five fields; empty when there is an interval.
        every: Whole minutes from one tick to the next, counted from `start`, or from Monday, 5 January 1970.
        time_zone: In which cron is read, and the days of an interval without `start` begin.
        start: First instant that may be one; with its zone.
        end: Last instant that may be one; with its zone.
    """

    cron: str = ""
    every: timedelta = timedelta(0)
    time_zone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @cached_property
    def _cron(self) -> Cron:
        return Cron.parse(self.cron)

    @property
    def _origin(self) -> datetime:
        return self.start or _ORIGIN.replace(tzinfo=self._zone).astimezone(UTC)

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the ticks later than `instant`, in order, in UTC."""
        for tick in self._unbounded(instant):
            if self.end and tick > self.end:
                return
            if tick > instant and not (self.start and tick < self.start):
                yield tick

    def until(self, instant: datetime) -> Iterator[datetime]:
        """Yield the ticks up to `instant` itself, the latest first, in UTC."""
        instant = min(instant, self.end) if self.end else instant
        for tick in self._back(instant):
            if self.start and tick < self.start:
                return
            if tick <= instant:
                yield tick

    def last(self, instant: datetime) -> datetime | None:
        """Return the last tick up to `instant`, None when there has been none."""
        return next(self.until(instant), None)

    def _unbounded(self, instant: datetime) -> Iterator[datetime]:
        instant = max(instant, self.start - timedelta(minutes=1)) if self.start else instant
        if self.every:
            number = (instant - self._origin) // self.every
            while True:
                yield (self._origin + number * self.every).astimezone(UTC)
                number += 1
        day, empty = instant.astimezone(self._zone).date() - timedelta(days=1), 0
        while empty < _LONGEST_GAP:
            found = list(self._cron.of(day, self._zone))
            yield from found
            day, empty = day + timedelta(days=1), 0 if found else empty + 1

    def _back(self, instant: datetime) -> Iterator[datetime]:
        if self.every:
            number = (instant - self._origin) // self.every
            while True:
                yield (self._origin + number * self.every).astimezone(UTC)
                number -= 1
        day, empty = instant.astimezone(self._zone).date() + timedelta(days=1), 0
        while empty < _LONGEST_GAP:
            found = list(self._cron.of(day, self._zone))
            yield from reversed(found)
            day, empty = day - timedelta(days=1), 0 if found else empty + 1

    def alarms(self, zone: str, now: datetime) -> str:
        """Return a cron expression of five fields that, read in `zone`, is due at every tick, and seldom otherwise.

        One expression cannot say what clocks do in another zone, so it names every time of day that a tick may have
        there in the next years. Whoever is woken has to ask for the last tick, and whether that has been seen to.
        """
        if self.every:
            minutes = gcd(int(self.every.total_seconds()) // 60, 24 * 60)
            origin = self._origin.astimezone(UTC)
            first = origin.hour * 60 + origin.minute
            times = [(first + count * minutes) % (24 * 60) for count in range(24 * 60 // minutes)]
            asked = Cron(tuple(sorted({at % 60 for at in times})), tuple(sorted({at // 60 for at in times})),
                         None, None, self._weekday(), True)  # fmt: skip
            return _shifted(asked, _differences("UTC", zone, now))
        return _shifted(self._cron, _differences(self.time_zone, zone, now))

    def _weekday(self) -> tuple[int, ...] | None:
        """Return the one day of the week on which an interval of whole weeks is due."""
        whole = self.every % timedelta(weeks=1) == timedelta(0)
        return (self._origin.astimezone(UTC).isoweekday() % 7,) if whole else None


def _differences(here: str, there: str, now: datetime) -> list[int]:
    """Return by how many minutes the clocks of one zone may be behind those of another in the next years."""
    if here == there:
        return [0]
    ours, theirs = ZoneInfo(here), ZoneInfo(there)
    hours = (now.astimezone(UTC) + timedelta(hours=count) for count in range(-24 * 366, 24 * 366 * _YEARS, 6))
    shifts = {(at.astimezone(theirs).utcoffset() or timedelta()) - (at.astimezone(ours).utcoffset() or timedelta())
              for at in hours}  # fmt: skip
    return sorted(int(shift.total_seconds()) // 60 for shift in shifts)


def _shifted(cron: Cron, shifts: list[int]) -> str:
    """Return the expression that is due whenever `cron` was, so many minutes later."""
    minutes: set[int] = set()
    hours: set[int] = set()
    days: set[int] = set()
    for shift in shifts:
        for hour in cron.hours:
            for minute in cron.minutes:
                day, at = divmod(hour * 60 + minute + shift, 24 * 60)
                days.add(day)
                hours.add(at // 60)
                minutes.add(at % 60)
    of_month, months, weekdays = cron.days, cron.months, cron.weekdays
    if days != {0}:
        if of_month and weekdays:
            of_month = weekdays = None
        if of_month:
            of_month = tuple(sorted({each for day in of_month for by in days for each in _beside(day, by)}))
        if weekdays:
            weekdays = tuple(sorted({(each + by) % 7 for each in weekdays for by in days}))
        if months:
            months = tuple(sorted({(month - 1 + by) % 12 + 1 for month in months for by in {*days, 0}}))
    return " ".join(
        (_said(sorted(minutes), 60), _said(sorted(hours), 24), _said(of_month), _said(months), _said(weekdays))
    )


def _beside(day: int, by: int) -> list[int]:
    """Return the days of the month that are `by` days after a day; which one is before the first, months disagree."""
    moved = day + by
    if moved < 1:
        return [28, 29, 30, 31]
    return [moved] if moved <= 28 or by <= 0 else [1] if moved > 31 else [moved, 1]


def _said(values: list[int] | tuple[int, ...] | None, all_: int = 0) -> str:
    return "*" if values is None or len(values) == all_ else ",".join(str(value) for value in values)
