"""What is looked at in all spans of a run together: which were left out, which are empty, whether there is a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flywheel import invariants
from flywheel import statistics as stats
from flywheel.artifacts import Check, Examples
from flywheel.invariants import Invariant
from flywheel.profiles.walk import SpanRows, Walked

_PROPOSED_FROM = 7


def groups_of(good: Sequence[str]) -> dict[str, list[str]]:
    """Return which spans are looked at together: all, the newest, and the newest good one before it."""
    groups = {"all": list(good), "newest": [good[-1]]}
    return groups | ({"before": [good[-2]]} if len(good) > 1 else {})


def left_out(walked: Walked, settings: Mapping[str, Any], most: float) -> list[Check]:
    """Return one check for each earlier span that was found bad, and one on how many they are."""
    checks = [
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
    for part in ("window", "judge"):
        spans = settings.get(part) or ()
        bad = [span for span in spans if span in walked.bad]
        if bad and len(bad) > most * len(spans):
            checks.append(
                Check(
                    f"spans left out of {part}",
                    "fail",
                    len(bad) / len(spans),
                    most,
                    reason=f"{len(bad)} of {len(spans)} spans of {part} are bad; at most {most:.0%} may be left out",
                    remedy="mend them at their source; gates.data.leave_out says how many may be left out.",
                )
            )
    return checks


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
    """Return whether the label is not the same in all rows."""
    found = next(feature for feature in stats.features(statistics) if feature.path.step[0] == label)
    if found.WhichOneof("stats") == "num_stats" and found.num_stats.min == found.num_stats.max:
        value = f"{found.num_stats.min:g}"
    elif found.WhichOneof("stats") == "string_stats" and found.string_stats.unique == 1:
        value = repr(found.string_stats.top_values[0].value)
    else:
        return []
    return [
        Check(
            "classes",
            "fail",
            column=label,
            reason=f"the label {label} is {value} in all rows: there is nothing to learn",
            remedy="mend its definition in the query, or take a longer window.",
        )
    ]


def proposals(rules: Sequence[Invariant], examples: Examples, good: Sequence[str], label: str) -> list[str]:
    """Return what seems to hold of the rows of every day, for a project that has not said anything of the kind."""
    if rules:
        return []
    batches = (batch for span in good[-_PROPOSED_FROM:] for batch in SpanRows(examples, span))
    return [f"{each.invariant}: {each.evidence}" for each in invariants.propose(batches, label)]
