"""How strongly each two columns of a span hang together, whatever their kinds; all pairs at once, vectorised.

A column that was shifted by a row, shuffled or joined to the wrong rows keeps its distribution and loses its links.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from flywheel.profiles.profile import Floats

_MOST_WORDS = 32


def links(numbers: Mapping[str, Floats], words: Mapping[str, NDArray[np.int64]], names: list[str]) -> Floats:
    """Return the association of each two columns, shape (names, names), NaN where one does not vary.

    Two numbers: Spearman rank correlation, missing values in the middle. A word and a number: correlation ratio of
    the ranks. Two words: Cramér's V. The latter two are freed of their bias, so that unrelated columns have about 0
    (Bergsma 2013).

    Args:
        numbers: Values of each number by column, NaN for a missing one; all of one length.
        words: Codes of each word by column, from 0; -1 for a missing one. Rare ones are taken together here.
        names: All columns, in the order of the result.
    """
    found = np.full((len(names), len(names)), np.nan)
    place = {name: index for index, name in enumerate(names)}
    ranks = {name: _ranks(values) for name, values in numbers.items()}
    groups = {name: _frequent(codes) for name, codes in words.items()}
    _fill(found, place, _between_numbers(ranks))
    for left, codes in groups.items():
        for right, values in ranks.items():
            _fill(found, place, {(left, right): _correlation_ratio(codes, values)})
        for right, others in groups.items():
            if place[right] < place[left]:
                _fill(found, place, {(left, right): _cramers_v(codes, others)})
    return found


def _fill(found: Floats, place: Mapping[str, int], pairs: Mapping[tuple[str, str], float]) -> None:
    for (left, right), value in pairs.items():
        found[place[left], place[right]] = found[place[right], place[left]] = value


def _ranks(values: Floats) -> Floats | None:
    """Return ranks from -0.5 to 0.5, missing values 0; None when there is nothing to rank."""
    from scipy.stats import rankdata

    present = ~np.isnan(values)
    ranks = np.zeros(len(values))
    if present.sum() > 1:
        ranks[present] = (rankdata(values[present]) - 0.5) / present.sum() - 0.5
    return ranks


def _between_numbers(ranks: Mapping[str, Floats | None]) -> dict[tuple[str, str], float]:
    given = {name: values for name, values in ranks.items() if values is not None and np.ptp(values) > 0}
    if len(given) < 2:
        return {}
    matrix = np.corrcoef(np.stack(list(given.values())))
    names = list(given)
    return {(names[i], names[j]): float(matrix[i, j]) for i in range(len(names)) for j in range(i)}


def _frequent(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return codes from 0 of the most frequent words, the others and the missing ones with a code of their own."""
    counts = np.bincount(codes + 1)
    kept = np.argsort(-counts, kind="stable")[: _MOST_WORDS - 1]
    renamed = np.full(len(counts), len(kept))
    renamed[kept] = np.arange(len(kept))
    return np.asarray(renamed[codes + 1])


def _correlation_ratio(codes: NDArray[np.int64], ranks: Floats | None) -> float:
    counts = np.bincount(codes)
    groups = np.count_nonzero(counts)
    if ranks is None or groups < 2 or np.ptp(ranks) == 0 or len(codes) <= groups:
        return np.nan
    means = np.bincount(codes, ranks) / np.maximum(counts, 1)
    centred = ranks - ranks.mean()
    share = float((counts * (means - ranks.mean()) ** 2).sum() / (centred**2).sum())
    chance = (groups - 1) / (len(codes) - 1)
    return float(np.sqrt(max(0.0, (share - chance) / (1 - chance))))


def _cramers_v(left: NDArray[np.int64], right: NDArray[np.int64]) -> float:
    rows = len(left)
    width = int(right.max(initial=0)) + 1
    table = np.bincount(left * width + right, minlength=(int(left.max(initial=0)) + 1) * width).reshape(-1, width)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    if min(table.shape) < 2 or rows < 2:
        return np.nan
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / rows
    share = float(((table - expected) ** 2 / expected).sum() / rows)
    high, wide = (size - 1 for size in table.shape)
    share = max(0.0, share - high * wide / (rows - 1))
    least = min(high - high**2 / (rows - 1), wide - wide**2 / (rows - 1))
    return float(np.sqrt(share / least)) if least > 0 else np.nan
