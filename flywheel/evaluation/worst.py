"""Where is the candidate worse than the champion, though nobody asked there? Slices found in the data, and confirmed.

Every value of every column is looked at, every pair of columns, numbers in fifths: thousands of slices, of which some
look bad by chance. So the most harmful of them are taken from every other span, and only those are tested on the spans
in between, with the share of false discoveries held at 5% (Benjamini & Hochberg 1995). As in Slice Finder (Chung and
others 2019), a pair is only told when it is clearly worse than each of its columns alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.artifacts import Check
from flywheel.evaluation import paired
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions
from flywheel.labels import MULTILABEL

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "worse slice found"
_SUSPECT = 0.05
_MOST_VALUES = 50
_PARTS = 5
_LEAST = 0.02
_CLEARLY = 1.25
_MOST_FOUND = 20

Floats = NDArray[Any]


@dataclass(frozen=True)
class Found:
    """A slice in which the candidate looked worse on one half of the spans.

    Attributes:
        slice: Which rows, as `carrier=HA, temp=61 to 68`.
        rows: How many, of both halves.
        loss: The candidate's mean loss there: Brier score, or absolute error.
        theirs: The champion's.
        interval: 90% interval of how much worse the candidate is, by the other half.
        p: P-value of the other half, adjusted for all slices that were found.
    """

    slice: str
    rows: int
    loss: float
    theirs: float
    interval: tuple[float, float]
    p: float

    @property
    def confirmed(self) -> bool:
        """Whether the other half shows it too."""
        return self.p <= ALPHA

    @property
    def harm(self) -> float:
        """Loss that all rows of the slice together have more than with the champion."""
        return self.rows * (self.loss - self.theirs)


def grouped(column: pa.ChunkedArray) -> Groups:
    """Return rows by value of a column: the fifty most frequent, or fifths of a number that has more than twenty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column.combine_chunks()
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        numbers = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
        known = numbers[np.isfinite(numbers)]
        if len(np.unique(known)) > 4 * _PARTS:
            cuts = np.unique(np.quantile(known, np.linspace(0, 1, _PARTS + 1)))
            codes = np.clip(np.searchsorted(cuts, numbers, "right") - 1, 0, len(cuts) - 2)
            keys = tuple(f"{low:.4g} to {high:.4g}" for low, high in pairwise(cuts))
            return Groups(keys, np.where(np.isfinite(numbers), codes, -1))
    encoded = pc.cast(array, pa.string()).dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary))
    kept = np.sort(np.argsort(-counts, kind="stable")[:_MOST_VALUES])
    place = np.full(len(counts) + 1, -1)
    place[kept] = np.arange(len(kept))
    return Groups(tuple(encoded.dictionary[int(each)].as_py() for each in kept), place[codes])


def find(found: Predictions, minimum_rows: int) -> list[Found]:
    """Return slices in which the candidate looks worse than the champion, the most harmful first.

    Args:
        found: Predictions of both, with the columns to search.
        minimum_rows: Smallest slice.
    """
    if CHAMPION not in found.scores or not found.searched or len(found.spans.keys) < 2 * paired.minimum_clusters():
        return []
    losses = {name: _losses(found, name) for name in (CANDIDATE, CHAMPION)}
    worse = losses[CANDIDATE] - losses[CHAMPION]
    first = np.arange(len(found.spans.keys)) % 2 == 0
    seen = list(_slices(found, worse, losses[CHAMPION], minimum_rows))
    searched = [_Half.of(each.worse[:, first], each.rows[:, first]) for each in seen]
    chosen = _suspected(seen, searched)
    again = [
        _Half.of(*(part[[at]][:, ~first] for part in (seen[table].worse, seen[table].rows))) for table, at in chosen
    ]
    adjusted = _adjusted([float(half.p[0]) for half in again])
    told = [
        Found(
            seen[table].names(at),
            int(seen[table].rows[at].sum()),
            float(seen[table].theirs[at] + seen[table].worse[at].sum() / seen[table].rows[at].sum()),
            float(seen[table].theirs[at]),
            half.interval,
            p,
        )
        for (table, at), half, p in zip(chosen, again, adjusted, strict=True)
    ]
    return sorted(told, key=lambda each: (not each.confirmed, -each.harm))


def checks(told: Sequence[Found], severity: str) -> tuple[Check, ...]:
    """Return one check for each slice that both halves show to be worse."""
    return tuple(
        Check(
            NAME,
            "fail" if severity == "block" else "warn",
            each.loss - each.theirs,
            0.0,
            slice=each.slice,
            rows=each.rows,
            interval=each.interval,
            reason=f"on {each.slice} the mean loss is {each.loss:.4g} against the champion's {each.theirs:.4g}: found "
            "on one half of the spans, confirmed on the other",
            remedy="look at these rows; a gate with `slices` on its column holds them to a margin.",
        )
        for each in told
        if each.confirmed
    )


@dataclass(frozen=True)
class _Table:
    """Slices by the values of one column, or of two: arrays of (slices, spans)."""

    columns: tuple[str, ...]
    keys: tuple[Sequence[str], ...]
    codes: NDArray[np.int64]
    worse: Floats
    rows: Floats
    theirs: Floats

    def names(self, at: int) -> str:
        """Return which rows a slice has."""
        values, left = [], int(self.codes[at])
        for keys in reversed(self.keys):
            left, code = divmod(left, len(keys))
            values.append(keys[code])
        return ", ".join(f"{column}={value}" for column, value in zip(self.columns, reversed(values), strict=True))


def _slices(found: Predictions, worse: Floats, theirs: Floats, minimum: int) -> Iterator[_Table]:
    columns = list(found.searched)
    spans = len(found.spans.keys)
    for names in [*((name,) for name in columns), *combinations(columns, 2)]:
        groups = [found.searched[name] for name in names]
        codes = groups[0].codes
        for other in groups[1:]:
            codes = np.where((codes >= 0) & (other.codes >= 0), codes * len(other.keys) + other.codes, -1)
        count = int(np.prod([len(each.keys) for each in groups]))
        inside = codes >= 0
        sizes = np.bincount(codes[inside], minlength=count)
        kept = np.flatnonzero((sizes >= minimum) & (sizes <= len(codes) - minimum))
        if not len(kept):
            continue
        place = np.full(count, -1)
        place[kept] = np.arange(len(kept))
        chosen = inside & (np.where(inside, place[codes], -1) >= 0)
        cells = place[codes[chosen]] * spans + found.spans.codes[chosen]

        def summed(weights: Floats | None, cells: Any = cells, rows: int = len(kept)) -> Floats:
            return np.bincount(cells, weights, rows * spans).reshape(rows, spans).astype(float)

        rows = summed(None)
        mean = summed(theirs[chosen]).sum(1) / rows.sum(1)
        yield _Table(names, tuple(each.keys for each in groups), kept, summed(worse[chosen]), rows, mean)


@dataclass(frozen=True)
class _Half:
    """What one half of the spans says of some slices: mean, error, and the p-value against being no worse."""

    mean: Floats
    error: Floats
    freedom: Floats
    p: Floats

    @classmethod
    def of(cls, worse: Floats, rows: Floats) -> _Half:
        """Return it of sums by (slice, span), with a delete-one-span jackknife."""
        from scipy.special import stdtr

        total, count = worse.sum(1), rows.sum(1)
        filled = (rows > 0).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / count
            without = np.where(rows > 0, (total[:, None] - worse) / (count[:, None] - rows) - mean[:, None], 0.0)
            error = np.sqrt((filled - 1) / filled * (without**2).sum(1))
            p = np.where(filled >= paired.minimum_clusters(), stdtr(np.maximum(filled - 1, 1), -mean / error), 1.0)
        return cls(mean, error, np.maximum(filled - 1.0, 1.0), np.nan_to_num(p, nan=1.0))

    @property
    def interval(self) -> tuple[float, float]:
        """The 90% interval of the only slice."""
        from scipy.special import stdtrit

        wide = float(stdtrit(self.freedom[0], 1 - ALPHA) * self.error[0])
        return float(self.mean[0]) - wide, float(self.mean[0]) + wide


def _suspected(seen: Sequence[_Table], halves: Sequence[_Half]) -> list[tuple[int, int]]:
    """Return which slices (table, row) look worse in the first half, the most harmful first."""
    if not seen:
        return []
    where = [(table, at) for table, half in enumerate(halves) for at in range(len(half.p))]
    p = np.concatenate([half.p for half in halves])
    effects = np.concatenate([half.mean for half in halves])
    shares = effects / np.maximum(np.concatenate([each.theirs for each in seen]), 1e-12)
    harms = effects * np.concatenate([each.rows.sum(1) for each in seen])
    found = [int(each) for each in np.flatnonzero((p <= _SUSPECT) & (shares >= _LEAST))]
    alone: dict[str, float] = {
        f"{part}": float(effects[each]) for each in found for part in [seen[where[each][0]].names(where[each][1])]
    }
    chosen = []
    for each in sorted(found, key=lambda each: -harms[each]):
        name = seen[where[each][0]].names(where[each][1])
        parents = name.split(", ") if len(seen[where[each][0]].columns) > 1 else []
        if all(float(effects[each]) > _CLEARLY * alone[parent] for parent in parents if parent in alone):
            chosen.append(where[each])
    return chosen[:_MOST_FOUND]


def _adjusted(p: Sequence[float]) -> list[float]:
    from scipy.stats import false_discovery_control

    return [float(each) for each in false_discovery_control(p)] if p else []


def _losses(found: Predictions, model: str) -> Floats:
    """Return the loss of each row: bounded ones, which no single row carries away."""
    scores = found.scores[model]
    if found.task == "multiclass":
        losses: Floats = ((scores - np.eye(len(found.classes))[found.labels]) ** 2).sum(1)
    elif found.task == MULTILABEL:
        losses = np.where(found.labels >= 0, (scores - found.labels) ** 2, 0.0).sum(1)
    elif found.task == "binary":
        losses = (scores - found.labels) ** 2
    else:
        losses = np.abs(scores - found.labels)
    return losses


def rows(told: Sequence[Found]) -> list[Mapping[str, object]]:
    """Return them as a table for the report."""
    return [
        {
            "slice": each.slice,
            "rows": each.rows,
            "mean loss": each.loss,
            "the champion's": each.theirs,
            "90% interval of the difference": each.interval,
            "p, adjusted": each.p,
            "confirmed": "yes" if each.confirmed else "no",
        }
        for each in told
    ]
