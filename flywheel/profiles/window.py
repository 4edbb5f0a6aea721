"""What is looked at in all spans of a run together: which were left out, which are empty, whether there is a label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flywheel import invariants
from flywheel import statistics as stats
from flywheel.artifacts import Check, Examples
from flywheel.invariants import Invariant
from flywheel.profiles.walk import SpanRows, Walked
from flywheel.spans import Windows, reach
from flywheel.statistics.reading import common

_PROPOSED_FROM = 7


def groups_of(good: Sequence[str]) -> dict[str, list[str]]:
    """Return which spans are looked at together: all, the newest, and the newest good one before it."""
    groups = {"all": list(good), "newest": [good[-1]]}
    return groups | ({"before": [good[-2]]} if len(good) > 1 else {})


def left_out(walked: Walked) -> list[Check]:
    """Return one check for each earlier span that was found bad."""
    return [
        Check(
            "span left out",
            "warn",
            slice=f"span {span}",
            span=span,
            reason=f"span {span} is left out: {reason}",
            remedy=f"mend it at its source, or let it in by `flywheel waive {span} --reason …`.",
        )
        for span, reason in walked.bad.items()
    ]


def good_enough(windows: Windows, window: int, judge: int, leave_out: float) -> list[Check]:
    """Return one check on whether there are enough good spans to train on.

    Args:
        windows: What is left of the spans that were looked at.
        window: How many there are to be to train on.
        judge: How many to judge on; they are taken first.
        leave_out: As in `gates.data`.
    """
    if short := shortage(windows, window, leave_out):
        furthest = reach(window, judge, leave_out)
        further = f"run the span again: knowing them it looks at up to {furthest} spans; or " * (
            len(windows.all) < furthest
        )
        cure = "mend them at their source, let some in by `flywheel waive`, or raise gates.data.leave_out."
        return [Check("spans to train on", "fail", len(windows.train), window, reason=short, remedy=f"{further}{cure}")]
    return []


def shortage(windows: Windows, window: int, leave_out: float) -> str:
    """Return why there are too few good spans to train on; empty when there are enough. Arguments as `good_enough`."""
    if len(windows.train) >= window * (1 - leave_out):
        return ""
    bad = len(windows.passed_over)
    return (
        f"only {len(windows.train)} of {window} spans to train on are left: {bad} of the {len(windows.all)} up to "
        f"{windows.all[-1]} are bad"
    )


def empty_spans(examples: Examples) -> list[Check]:
    """Return one check on whether every span has rows."""
    empty = [span for span in examples.spans if not examples.rows_of([span])]
    if not empty:
        return [Check("rows in every span", "pass", rows=examples.rows)]
    shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
    return [
        Check(
            "rows in every span",
            "warn",
            reason=f"{len(empty)} of {len(examples.spans)} spans have no rows: {shown}",
            remedy="load them if they are missing at the source.",
        )
    ]


def one_class(statistics: Any, label: str) -> list[Check]:
    """Return whether the label is not the same in all rows of which it is known."""
    found = next(feature for feature in stats.features(statistics) if feature.path.step[0] == label)
    if found.WhichOneof("stats") == "num_stats" and found.num_stats.min == found.num_stats.max:
        value = f"{found.num_stats.min:g}"
    elif found.WhichOneof("stats") == "string_stats" and found.string_stats.unique == 1:
        value = repr(found.string_stats.top_values[0].value)
    else:
        return []
    said = f"{value} in all" if common(found).num_non_missing else "not known in any of the"
    return [
        Check(
            "classes",
            "fail",
            column=label,
            reason=f"the label {label} is {said} rows: there is nothing to learn",
            remedy="mend its definition in the query, or take a longer window.",
        )
    ]


def proposals(rules: Sequence[Invariant], examples: Examples, good: Sequence[str], label: str) -> list[str]:
    """Return what seems to hold of the rows of every day, for a project that has not said anything of the kind."""
    if rules:
        return []
    batches = (batch for span in good[-_PROPOSED_FROM:] for batch in SpanRows(examples, span))
    return [f"{each.invariant}: {each.evidence}" for each in invariants.propose(batches, label)]
