"""What a check of the data looks at, in a sentence for somebody who did not build it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from flywheel.artifacts import Check
from flywheel.reports import percent, short
from flywheel.reports.past import kind_of

_MEANS = {
    "rows": "there are {more|fewer} rows than usual",
    "rows at least": "there are fewer rows than were asked for",
    "label rate": "the label is 1 {more|less} often than usual",
    "label": "no model can be trained on such a label",
    "repeated rows": "rows stand there more than once: a load that ran twice, or a join that multiplies",
    "rows seen before": "rows of the span before stand there again",
    "row drift": "there are {more|fewer} rows than some weeks ago, as they changed little by little",
    "new keys": "the rows are about others than those of the last weeks: of another season, country or plant?",
    "nulls": "values are missing {more|less} often than usual",
    "null drift": "values are missing {more|less} often than some weeks ago, as that changed little by little",
    "zeros": "values are 0 or blank {more|less} often than usual: is that a default for what is missing?",
    "whole": "values are rounded, padded or encoded otherwise than usual",
    "distinct": "there are {more|fewer} different values than usual",
    "distance": "the values are spread otherwise than usual",
    "shift": "the values are {higher|lower} than usual",
    "level": "the mean is {higher|lower} than usual: is the unit still the same?",
    "size": "what is not 0 is {larger|smaller} than usual: is the unit still the same?",
    "step": "the mean jumped since the span before",
    "spread": "the values scatter {more|less} than usual",
    "length": "the words are {longer|shorter} than usual",
    "unseen": "there are values that were never there before",
    "between": "there are numbers between those that were ever there: of another unit, or more precise?",
    "fraction": "digits after the point are such as never were: of another unit, or more precise?",
    "unit": "the numbers are those of another unit",
    "common": "one number comes more often than usual: a default, or something that stands still?",
    "digits": "the last digits are others than usual: rounded, or with rows missing?",
    "stale": "the values are those of the span before",
    "copied values": "the values are exactly those of an earlier span",
    "links": "it hangs together with other columns otherwise than usual: is it still joined to the right rows?",
    "link with the label": "it tells more or less of the label than usual: more may be a leak, less a wrong join",
    "drift": "it has moved away slowly over the last spans",
    "surprise": "it follows from the other columns {less well|better} than usual: shuffled, shifted, wrongly joined?",
    "fit": "it follows from the other columns {better|less well} than usual: shuffled, shifted, wrongly joined?",
    "pairs": "its values come with other values of another column than usual",
    "odd": "more rows than usual do not fit the other columns",
    "word": "one of its values is more or less frequent than usual",
    "scatter": "from row to row in time it jumps {more|less} than usual",
    "course": "over the span it runs otherwise than over the span before, or exactly so",
    "join": "it does not go on where the span before ended",
    "still": "readings are more often the one before again than usual",
    "stuck": "a reading stood still for longer than usual",
    "line": "readings do not belong between those beside them",
    "agree": "what should be several sensors reads the same more often than usual",
    "again": "readings are those of the span before at the same time",
    "signal": "it follows from the other columns {more|less} surely than usual: shuffled, shifted, wrongly joined?",
    "against": "it goes against what the other columns let expect: is it the wrong way round?",
    "bias": "it is {higher|lower} than the other columns let expect",
    "champion's score": "the champion predicts these rows {better|worse} than usual",
    "champion's bias": "the champion expects the label {more|less} often than it came",
    "freshness": "the newest rows are old",
    "schema": "it is not as the schema asks",
}
"""In braces what is so above what is usual, and what below."""

_TOGETHER = "several of its figures together are unusual, though none is alone"

_SHARES = frozenset(
    {"nulls", "zeros", "whole", "unseen", "stale", "odd", "distance", "drift", "label rate", "repeated rows",
     "rows seen before", "new keys", "null drift", "between", "fraction", "common", "still", "stuck", "agree", "again"}
)  # fmt: skip


def meaning(check: Check) -> str:
    """Return what is wrong when this check did not pass; empty when its name says it."""
    if is_rule(check):
        return "a rule of invariants.yaml is broken"
    side = _side(check)
    if side == 0 and check.usual is not None:
        return _TOGETHER if check.result == "fail" else "it is at the edge of what is usual"
    known = _MEANS.get(kind_of(check.name, check.column), "")
    return re.sub(r"{(.*?)\|(.*?)}", lambda found: found[side] if side else " or ".join(found.groups()), known)


def _side(check: Check) -> int:
    """Return 1 for a figure above what is usual, 2 for one below, 0 where that is not known or not so."""
    if check.observed is None or check.usual is None:
        return 0
    low, high = check.usual
    return 1 if check.observed > high else 2 if check.observed < low else 0


def is_rule(check: Check) -> bool:
    """Return whether a check is of an invariant: it counts rows, and is named after what is to hold."""
    rowwise = check.rows is not None and check.observed is not None and check.usual is None
    return rowwise and bool(check.column) and kind_of(check.name, check.column) not in _MEANS


def figure(check: Check, value: float) -> str:
    """Return a figure of a check in its unit."""
    return reader(check)(value)


def reader(check: Check) -> Callable[[float], str]:
    """Return what writes figures of a check in their unit."""
    return percent if is_rule(check) or kind_of(check.name, check.column) in _SHARES else short


def usual(check: Check) -> str:
    """Return where the figure of a check usually is; empty when that is not known."""
    if check.usual is None:
        return ""
    low, high = check.usual
    if not math.isfinite(low):
        return f"up to {figure(check, high)}"
    return f"{figure(check, low)} to {figure(check, high)}" if math.isfinite(high) else f"from {figure(check, low)}"
