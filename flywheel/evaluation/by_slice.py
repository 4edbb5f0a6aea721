"""Gates by slice: the burden of proof is the blocker's, with one family error over all slices and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flywheel.artifacts import Check
from flywheel.config.metrics import MACRO
from flywheel.evaluation import multilabel, paired
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import CANDIDATE, Predictions
from flywheel.evaluation.trials import Trial, count_of, trial

if TYPE_CHECKING:
    from flywheel.config import ModelGate


def trials(found: Predictions, gate: ModelGate) -> Iterator[Trial]:
    """Yield `gate` held against the rows of every slice that it asks for, and against every label by itself."""
    for index, label in enumerate(found.classes if gate.labels else ()):
        of_one = gate.model_copy(update={"metric": gate.metric.removeprefix(MACRO)})
        yield trial(multilabel.of_label(found, index), of_one, f"label={label}")
    for column in gate.slices:
        groups = found.slices[column]
        for code, key in enumerate(groups.keys):
            yield trial(found.select(groups.codes == code), gate, f"{column}={key}")


def checks(trials: Sequence[Trial], level: float = ALPHA) -> list[Check]:
    """Return the outcome of every slice, those that can be judged held to one family error.

    Args:
        trials: A gate held against each slice.
        level: The chance of even one false block that all of them may make at this look.
    """
    judged = [(index, tried) for index, tried in enumerate(trials) if not _unjudged(tried)]
    adjusted = paired.holm([tried.p_worse for _, tried in judged])
    p_values = {index: p for (index, _), p in zip(judged, adjusted, strict=True)}
    return [
        replace(_slice(tried, p_values[index], len(judged), level), level=level)
        if index in p_values
        else tried.check("pass", f"not judged: {_unjudged(tried)}")
        for index, tried in enumerate(trials)
    ]


def _unjudged(tried: Trial) -> str:
    """Return why a slice cannot be judged; empty when it can."""
    if tried.rows < tried.gate.minimum_rows:
        return f"{tried.rows} rows, fewer than `minimum_rows` {tried.gate.minimum_rows}"
    if not math.isfinite(tried.estimate.value):
        return f"{tried.gate.metric} is undefined on these rows"
    if not tried.estimate.sound:
        return f"too few of its {count_of(tried.estimate.clusters, tried.unit)} have rows of both classes"
    return ""


def _slice(tried: Trial, adjusted: float, family: int, level: float) -> Check:
    looks = "" if level == ALPHA else f" and, at an error of {level:.2%}, for earlier and later judgements"
    if adjusted <= level:
        return tried.check(
            "fail",
            f"{_slice_in_words(tried)}, allowing for {family} slices looked at{looks}",
            "look at these rows first; if so much loss is acceptable there, set `margin` in a gate of its own for "
            f"{tried.slice.partition('=')[0]}.",
        )
    if tried.p_worse <= ALPHA:
        return tried.check(
            "warn", f"{_slice_in_words(tried)} if looked at alone; among {family} slices{looks} it can be chance"
        )
    return tried.check("pass", "not shown to be worse than its bound")


def _slice_in_words(tried: Trial) -> str:
    ours = f"on {tried.slice} {tried.gate.metric} {tried.values[CANDIDATE]:.4g} is shown to be "
    if tried.gate.no_worse_than:
        return ours + f"worse than {tried.theirs} by more than {tried.gate.margin:g}"
    return ours + f"{'below' if tried.gate.at_most is None else 'above'} the bar of {tried.bound:g}"
