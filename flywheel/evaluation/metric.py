"""What a metric is: a function of sums over rows, so that slices, clusters and the jackknife follow from one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from flywheel.evaluation.groups import Floats, Groups, Ints
    from flywheel.evaluation.paired import Statistic
    from flywheel.evaluation.predictions import Predictions

    Sums = Callable[[Predictions, str, Ints, int], Floats]
    """Gives the sums that some metrics are made of: predictions, model, group of each row (-1 for none), groups."""


@dataclass(frozen=True)
class Tfma:
    """A metric in TFMA's words.

    Attributes:
        name: Name of its class.
        config: Further settings of it.
        by_class: Whether it is that of each class against the rest, averaged over classes.
        by_list: Whether it is that of each list of rows that are ranked among each other, averaged over lists.
        output: Of the model that it is of; empty where it has but one.
        mean_of: Outputs that it is the mean over.
    """

    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    by_class: bool = False
    by_list: bool = False
    output: str = ""
    mean_of: tuple[str, ...] = ()


class Metric(Protocol):
    """A figure of a model, on any rows."""

    @property
    def tfma(self) -> Tfma | None:
        """The same in TFMA; None where it has none and the definition is ours alone."""

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return the figure of each group as TFMA has it; NaN where undefined. `known` keeps sums that others need."""

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the exact figure as a function of how often each cluster is counted."""


def _first(sums: Floats) -> Floats:
    rows: Floats = sums[..., 0]
    return rows


@dataclass(frozen=True)
class OfSums:
    """A metric that is a function of sums: accuracy, a mean loss, F1, the root of a mean square.

    Attributes:
        sums: Gives the sums of each group; the last axis is what is summed, first the rows, or their weights.
        value: The metric from sums of any shape.
        size: What of the sums says how much a group weighs in the metric; by default its rows.
        tfma: The same in TFMA.
    """

    sums: Sums
    value: Callable[[Floats], Floats]
    size: Callable[[Floats], Floats] = _first
    tfma: Tfma | None = None

    def by_group(self, found: Predictions, model: str, groups: Groups, known: dict[Any, Floats]) -> Floats:
        """Return the figure of each group."""
        if self.sums not in known:
            known[self.sums] = self.sums(found, model, groups.codes, len(groups.keys))
        return _quietly(self.value, known[self.sums])

    def statistic(self, found: Predictions, model: str) -> Statistic:
        """Return the figure as a function of how often each cluster is counted."""
        return Counted(self, self.sums(found, model, found.units.codes, len(found.units.keys)))


@dataclass(frozen=True)
class Counted:
    """A metric of sums, with the sums of each cluster.

    Attributes:
        metric: The metric.
        totals: Array of (clusters, sums).
    """

    metric: OfSums
    totals: Floats

    @property
    def sizes(self) -> Floats:
        """Share that each cluster has in the metric."""
        size = self.metric.size(self.totals)
        shares: Floats = size / max(size.sum(), 1e-300)
        return shares

    def at(self, weights: Floats) -> Floats:
        """Return the metric for each row of `weights`."""
        return _quietly(self.metric.value, weights @ self.totals)

    def without(self) -> Floats:
        """Return the metric without each of the clusters."""
        return _quietly(self.metric.value, self.totals.sum(axis=0) - self.totals)


def total(codes: Ints, count: int, *columns: Any, weights: Floats | None = None) -> Floats:
    """Return the sums of `columns` by group, each row as often as `weights` says: an array of (count, columns)."""
    import numpy as np

    counted = columns if weights is None else [column * weights for column in columns]
    return np.stack([np.bincount(codes, column, count).astype(float) for column in counted], axis=1)


def _quietly(value: Callable[[Floats], Floats], sums: Floats) -> Floats:
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore"):
        return value(sums)
