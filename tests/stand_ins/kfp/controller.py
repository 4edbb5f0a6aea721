"""When the controller `scheduledworkflow` starts the next run of a recurring run."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_DAYS = dict(zip("sun mon tue wed thu fri sat".split(), range(7), strict=True))
_MONTHS = dict(zip("jan feb mar apr may jun jul aug sep oct nov dec".split(), range(1, 13), strict=True))


class Cron:
    """robfig/cron 1.2's expression: second, minute, hour, day, month, and a day of the week that may be left out.

    It is due at every instant whose time on the wall of `zone` it names: never at one that the clocks leap over, twice
    at one that they show twice.
    """

    def __init__(self, text, zone="UTC"):
        fields = text.split()
        if len(fields) not in (5, 6):
            raise ValueError(f"Expected 5 to 6 fields, found {len(fields)}: {text}")
        fields = [*fields, "*"] if len(fields) == 5 else fields
        self.seconds, self.minutes, self.hours, self.days, self.months, self.weekdays = (
            self._field(field, low, high) for field, (low, high) in zip(fields, _LIMITS, strict=True)
        )
        self.any_day, self.any_weekday = (fields[place][0] in "*?" for place in (3, 5))
        self.zone = ZoneInfo(zone)

    def _field(self, text, low, high):
        found = set()
        for part in text.lower().split(","):
            span, _, step = part.partition("/")
            first, dash, last = span.partition("-")
            start = low if first in ("*", "?") else self._number(first)
            end = high if first in ("*", "?") or (step and not dash) else self._number(last) if dash else start
            if not low <= start <= end <= high:
                raise ValueError(f"beyond range: {part}")
            found.update(range(start, end + 1, int(step or 1)))
        return found

    def _number(self, text):
        return _DAYS[text] if text in _DAYS else _MONTHS[text] if text in _MONTHS else int(text)

    def next(self, after):
        """Return the first time after `after`, None when there is none in five years."""
        day = after.astimezone(self.zone).date()
        for _ in range(366 * 5):
            of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
            fits = (of_month and of_week) if self.any_day or self.any_weekday else (of_month or of_week)
            if fits and day.month in self.months:
                found = [at for at in self._of(day) if at > after]
                if found:
                    return min(found)
            day += timedelta(days=1)
        return None

    def _of(self, day):
        for hour in self.hours:
            for minute in self.minutes:
                for second in self.seconds:
                    for fold in (0, 1):
                        wall = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=self.zone, fold=fold)
                        at = wall.astimezone(UTC)
                        if at.astimezone(self.zone).replace(tzinfo=None, fold=0) == wall.replace(tzinfo=None, fold=0):
                            yield at


def next_time(recurring, now, zone="UTC"):
    """Return when the next run of a recurring run is due, None when there is none.

    Args:
        recurring: As the API has it, with `_last`, the time that its last run was due at.
        now: Without catchup, missed times up to then are passed over for the latest.
        zone: In which the controller reads cron.
    """
    trigger = recurring["trigger"]
    schedule = trigger.get("cron_schedule") or trigger["periodic_schedule"]
    start, end = (parse(schedule.get(name)) for name in ("start_time", "end_time"))
    after = recurring.get("_last") or start or parse(recurring["created_at"])
    after = max(after, start) if start else after
    catchup = not recurring.get("no_catchup")
    if "cron_schedule" in trigger:
        return _by_cron(Cron(schedule["cron"], zone), after, end, now, catchup)
    interval = timedelta(seconds=int(schedule.get("interval_second") or 1))
    following = after + interval
    if end and end < following:
        return None
    if not catchup and now >= following + interval:
        return min(now, end) if end else now
    return following


def _by_cron(cron, after, end, now, catchup):
    following = cron.next(after)
    if following is None or (end and end < following):
        return None
    while not catchup:
        later = cron.next(following)
        if later is None or later > now or (end and later > end):
            break
        following = later
    return following


def parse(text):
    """Return a time of the API, None when there is none."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
