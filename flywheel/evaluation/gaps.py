"""Fairness: does a rate differ between groups of rows by more than is accepted?

The largest of many differences is large by chance, so every pair of groups is tested, with the chance of even one false
alarm held at 5% over all pairs (Holm 1979). The groups share their clusters: one day or user may have rows of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.evaluation import bootstrap, metrics, paired
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.looks import ONLY, Look
from flywheel.evaluation.paired import Estimate, Statistic
from flywheel.evaluation.predictions import CANDIDATE, Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.config import ModelGate
    from flywheel.evaluation.groups import Ints


@dataclass(frozen=True)
class Pair:
    """Two groups of rows, and by how much the first one's figure is the larger.

    Attributes:
        names: Of both, as `carrier=HA`.
        values: Figure of each.
        estimate: Their difference, at least 0, with its error.
        rows: How many rows both have.
    """

    names: tuple[str, str]
    values: tuple[float, float]
    estimate: Estimate
    rows: int


def check(found: Predictions, gate: ModelGate, look: Look = ONLY, precision: float = 1.0) -> Check:
    """Return whether the candidate's metric differs between the groups of `gate.gap` by more than `gate.at_most`.

    Args:
        found: Predictions of the candidate.
        gate: The bar.
        look: Which of the times that it is judged.
        precision: The judge's, as a share of what decides.
    """
    assert gate.gap
    assert gate.at_most is not None
    name, bound = f"{gate.metric} gap by {gate.gap} at most {gate.at_most:g}", gate.at_most
    pairs = list(_pairs(found, gate))
    if not pairs:
        return Check(
            name,
            "pass",
            bound=bound,
            reason=f"not judged: fewer than two groups by {gate.gap} have {gate.minimum_rows} rows and a defined "
            f"{gate.metric}",
        )
    one_way = [each.estimate.p_above(bound) if each.estimate.sound else 1.0 for each in pairs]
    other_way = [each.estimate.p_below(-bound) if each.estimate.sound else 1.0 for each in pairs]
    shown = min(zip(paired.holm(one_way + other_way), pairs, strict=False), key=lambda each: each[0])
    widest, level = max(pairs, key=lambda each: each.estimate.value), look.level(name, precision)
    if shown[0] <= level:
        said = f"shown to be more than {bound:g} among {len(pairs)} pairs looked at"
        return replace(_check(name, "fail", shown[1], gate, said), level=level)
    result, said = "pass", "the largest gap"
    if widest.estimate.value > bound:
        result, said = "warn", f"more than {bound:g}, but that can be chance"
    return replace(_check(name, result, widest, gate, said), level=level)


def table(found: Predictions, gate: ModelGate) -> list[dict[str, object]]:
    """Return each group's figure by every model, the candidate's lowest first."""
    assert gate.gap
    groups = found.slices[gate.gap]
    rows = groups.rows()
    figures = {name: metrics.of(found)[gate.metric].by_group(found, name, groups, {}) for name in found.models}
    told: list[dict[str, object]] = [
        {gate.gap: key, "rows": int(rows[code])} | {name: float(values[code]) for name, values in figures.items()}
        for code, key in enumerate(groups.keys)
        if rows[code] >= gate.minimum_rows
    ]
    return sorted(told, key=lambda row: _first(row[CANDIDATE]))


def _first(value: object) -> float:
    return value if isinstance(value, float) and math.isfinite(value) else math.inf


def _check(name: str, result: str, pair: Pair, gate: ModelGate, said: str) -> Check:
    (high, low), (more, less) = pair.names, pair.values
    gap = f"{gate.metric} {more:.4g} of {high} and {less:.4g} of {low} differ by {pair.estimate.value:.2g}"
    return Check(
        name,
        result,
        observed=pair.estimate.value,
        bound=gate.at_most,
        reason=f"{gap}: {said}",
        remedy=""
        if result != "fail"
        else f"look how the rows of {low} are labelled, how many there are to train on, and which features stand in "
        f"for {gate.gap}; `train.weight` can give them more weight. Or raise `at_most`.",
        interval=pair.estimate.interval(),
        rows=pair.rows,
    )


def _pairs(found: Predictions, gate: ModelGate) -> Iterator[Pair]:
    """Yield all pairs of groups that are large enough and have the metric."""
    assert gate.gap
    groups, sizes = found.slices[gate.gap], found.slices[gate.gap].rows()
    resamples = found.evidence.test == "bootstrap"
    units, strata = bootstrap.pooled(found.units, found.labels) if resamples else (found.units, None)
    parts: dict[str, tuple[Statistic, float, int]] = {}
    for code, key in enumerate(groups.keys):
        if sizes[code] >= gate.minimum_rows:
            statistic = _statistic(found, groups.codes == code, gate.metric, units)
            value = paired.estimate([statistic]).value
            if math.isfinite(value):
                parts[f"{gate.gap}={key}"] = (statistic, value, int(sizes[code]))
    for names in combinations(parts, 2):
        high, low = sorted(names, key=lambda name: -parts[name][1])
        both = [parts[high][0], parts[low][0]]
        estimate = _difference(both, strata)
        yield Pair((high, low), (parts[high][1], parts[low][1]), estimate, parts[high][2] + parts[low][2])


def _difference(both: Sequence[Statistic], strata: Ints | None) -> Estimate:
    if strata is None:
        return paired.estimate(both, (1, -1))
    return bootstrap.resampled(both, (1, -1), strata)


def _statistic(found: Predictions, rows: NDArray[Any], metric: str, units: Groups) -> Statistic:
    part = replace(found.select(rows), clusters=Groups(units.keys, units.codes[rows]))
    return metrics.of(found)[metric].statistic(part, CANDIDATE)
