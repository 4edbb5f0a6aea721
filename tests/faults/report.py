"""docs/faults.md: what the gate catches, at which size, by which alarm, and how often it is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tests.faults import categories, joins, labels, rows, slow, values
from tests.faults.fault import Fault
from tests.faults.reasons import REASONS
from tests.faults.results import BLOCKED, MISSED, WARNED, Clean, Results, Trial

SIZES = ("small", "medium", "large")
MOST = 0.8
"""A fault counts as caught when it is on this share of its days."""

_PARTS = (
    ("Values", values.FAULTS),
    ("Codes and names", categories.FAULTS),
    ("Rows", rows.FAULTS),
    ("Joins", joins.FAULTS),
    ("Labels", labels.FAULTS),
    ("Slow faults", slow.FAULTS),
)
_HALVES = {"January to June": ("2013-01-01", "2013-06-30"), "July to December": ("2013-07-01", "2013-12-31")}
_PERIODS = {"tune": "March to June", "report": "July to December"}


def page(results: Results, half: str) -> str:
    """Return the whole page, in Markdown."""
    days = sorted({trial.day for trial in results.trials})
    parts = [
        _HEAD.format(period=_PERIODS[half], days=len(days)),
        summary(results),
        "## False alarms\n\n" + false_alarms(results, half),
        "## What is not caught, and why\n\n" + missed(results),
        "## Every fault\n\n" + _LEGEND,
    ]
    parts += [f"### {title}\n\n" + _faults(faults, results) for title, faults in _PARTS]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def summary(results: Results) -> str:
    """Return what came of all faults together, by size."""
    head = ["size", "faults", "caught", "on all days", "trials", "blocked", "right column named", "warned", "missed"]
    lines = []
    for size in SIZES:
        trials = _counted(results.trials, size)
        by_fault = _grouped(trials, lambda trial: trial.fault)
        rates = [_rate(found, lambda trial: trial.caught) for found in by_fault.values()]
        named = [trial for trial in trials if trial.caught]
        lines.append([
            size, len(rates), _of(sum(rate >= MOST for rate in rates), len(rates)), sum(rate == 1 for rate in rates),
            len(trials), _percent(trials, BLOCKED), f"{len(named) / max(len(trials), 1):.1%}",
            _percent(trials, WARNED), _percent(trials, MISSED),
        ])  # fmt: skip
    left = sum(not trial.counts for trial in results.trials)
    beside = f"\n\nLeft out: {left:,} trials on days that are blocked without a fault too." if left else ""
    return _table(head, lines) + beside


def false_alarms(results: Results, half: str) -> str:
    """Return what the gate says of the clean days, and of which it blocked; to who tunes, of the first half alone."""
    head = ["clean days of", "days", "blocked", "blocked outside the calendar", "warned", "days in the calendar"]
    lines, shown = [], []
    for title, (first, last) in list(_HALVES.items())[: 1 if half == "tune" else 2]:
        days = [day for day in results.clean if first <= day.day <= last]
        blocked = [day for day in days if day.outcome == BLOCKED]
        outside = [day for day in blocked if not day.declared]
        free = sum(not day.declared for day in days)
        lines.append([
            title, len(days), len(blocked), f"{len(outside)} ({len(outside) / max(free, 1):.1%} of {free})",
            sum(day.outcome == WARNED for day in days), sum(day.declared for day in days),
        ])  # fmt: skip
        shown += [_blocked_day(day) for day in blocked]
    listed = _table(["blocked", "in the calendar", "by"], shown) if shown else ""
    return _table(head, lines) + ("\n\n" + listed if listed else "")


def missed(results: Results) -> str:
    """Return the faults that are not caught on most of their days, and why."""
    lines = []
    for _, faults in _PARTS:
        for fault in faults:
            for size in ("large", "medium"):
                trials = _of_fault(results, fault, size)
                if trials and _rate(trials, lambda trial: trial.caught) < MOST:
                    blocked = sum(trial.outcome == BLOCKED for trial in trials)
                    lines.append([
                        f"`{fault.name}`", f"{size}, {fault.sizes[size]:g}", _of(blocked, len(trials)),
                        _of(sum(trial.caught for trial in trials), len(trials)), REASONS.get(fault.name, ""),
                    ])  # fmt: skip
    if not lines:
        return "Every large and every medium fault is caught on most of its days."
    return _table(["fault", "size", "blocked", "right column named", "why"], lines)


def _faults(faults: Sequence[Fault], results: Results) -> str:
    slowly = any(fault.days > 1 for fault in faults)
    head = ["fault", "size", "days", "blocked", "right column", "warned", "missed", "first alarm"]
    lines = []
    for fault in faults:
        for size in SIZES:
            trials = _of_fault(results, fault, size)
            count = Counter(trial.outcome for trial in trials)
            about = f"**`{fault.name}`** {fault.description}; {fault.unit}" if size == SIZES[0] else ""
            line = [about, f"{size}: {fault.sizes[size]:g}", len(trials), count[BLOCKED],
                    sum(trial.caught for trial in trials), count[WARNED], count[MISSED]]  # fmt: skip
            lines.append([*line, _first_alarm(trials), *([_until(trials)] if slowly else [])])
    return _table([*head, "blocked on day (first warned)"] if slowly else head, lines)


def _of_fault(results: Results, fault: Fault, size: str) -> list[Trial]:
    return [trial for trial in _counted(results.trials, size) if trial.fault == fault.name]


def _counted(trials: Iterable[Trial], size: str) -> list[Trial]:
    return [trial for trial in trials if trial.size == size and trial.counts]


def _first_alarm(trials: Sequence[Trial]) -> str:
    """Return the name of the check that most often comes first, on days that were not missed."""
    names = Counter(trial.alarms[0].name for trial in trials if trial.alarms)
    if not names:
        return ""
    name, count = names.most_common(1)[0]
    return name if count == sum(names.values()) else f"{name} ({_of(count, sum(names.values()))})"


def _until(trials: Sequence[Trial]) -> str:
    """Return the median day on which a slow fault was blocked, and that on which something was said of it."""
    blocked = sorted(trial.until for trial in trials if trial.until)
    warned = sorted(trial.until_warned for trial in trials if trial.until_warned)
    middle = f"{blocked[len(blocked) // 2]}" if blocked else "never"
    return f"{middle} ({warned[len(warned) // 2]})" if warned else middle


def _blocked_day(day: Clean) -> list[object]:
    names = [alarm.name for alarm in day.alarms if alarm.result != "warn"]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return [day.day, "yes" if day.declared else "no", ", ".join(names[:4]) + more]


def _grouped(trials: Iterable[Trial], key: Callable[[Trial], str]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(key(trial), []).append(trial)
    return found


def _rate(trials: Sequence[Trial], holds: Callable[[Trial], bool]) -> float:
    return sum(holds(trial) for trial in trials) / len(trials)


def _percent(trials: Sequence[Trial], result: str) -> str:
    return f"{sum(trial.outcome == result for trial in trials) / max(len(trials), 1):.1%}"


def _of(count: int, total: int) -> str:
    return f"{count} of {total}"


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [list(head), ["---"] * len(head), *([str(cell).replace("|", "\\|") for cell in line] for line in lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


_HEAD = """
# Faults: what the data gate catches

<!-- Generated by `python -m tests.faults`; change the gate or the catalogue, never this page. -->

The tests carry a catalogue of ways in which a feed breaks (`tests/faults`): each is done to the tables of the flights
example, the project's own query runs over them, and the data gate is asked, with the settings that the example has. The
catalogue was committed with its sizes before there was a gate to try it on. The gate was tuned on January to June; this
page reports {period}, {days} days of it that are in no declared calendar.

- **small**: a nuisance, about one value in fifty; may go unseen.
- **medium**: would visibly harm a model or a dashboard, about one value in five.
- **large**: a broken feed, all or nearly all values.

A gate learns from day to day, and asks a champion (boosted trees here) that is trained anew each month. A clean day
that it blocks counts as a false alarm, and is then waived, as whoever looks into it would do. A trial is a fault of one
size on one day. It is *caught* when the day is blocked before training and an alarm that blocks names a column in which
the damage is (or the rows, where rows are wrong); a fault is caught when it is on at least four in five of its days.

Some faults are told by a second record that the query gives beside the features. They do what they did when they were
committed: those of the label change the delay and not the clock, those of the weather change the seven columns that the
query had then, and not the direction of the wind or its gusts. Where a feed breaks with all its records alike, less is
seen ([what evidence is worth](decisions/0042-units-keys-calm-air.md)).
"""

_LEGEND = """
By size: on how many sampled days it was blocked, blocked with a right column named, only warned of, and missed; and the
check that most often came first. A day on which a fault changes nothing, as a wrong unit of rain on a dry day, is no
trial. A slow fault begins with nothing and grows evenly over four weeks; it counts on which day it was first blocked.
"""
