"""Search a sample of rows for what is always true of it and would not be by chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.invariants.columns import adds_up
from flywheel.invariants.rules import Determines, Invariant, Ordered, Sum, Unique
from flywheel.invariants.sample import Column, filled, together

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ALMOST = 0.002
"""The largest share of rows that may violate what is proposed."""
_BY_CHANCE = 0.05
"""What is proposed would be violated by this share of rows at least, were the columns independent."""
_FEWEST = 100
_FIRST, _ENOUGH = 8_000, 40_000
"""How many rows are enough to find that something is not so, and to say what chance would make."""
_MOST_COLUMNS = 24
_LONGEST_KEY = 3
_REPEATED = 0.3
_DAY = 1_000


@dataclass(frozen=True)
class Proposal:
    """An invariant that the rows suggest, with the evidence; a person decides whether the world is so.

    Attributes:
        invariant: With a tolerance that the worst thousand rows on end would have passed.
        rows: How many rows were looked at: those without a null in its columns.
        violations: How many of them violate it.
        groups: How many different keys there were; 0 for an order or a sum.
        chance: The share of rows that would violate it, were the columns independent.
    """

    invariant: Invariant
    rows: int
    violations: int
    groups: int
    chance: float

    @property
    def evidence(self) -> str:
        """Return the figures in a sentence."""
        groups = f", {self.groups:,} different keys" if self.groups else ""
        found = f"{self.violations:,} of {self.rows:,} rows violate it{groups}"
        return (
            f"{found}; by chance about {float(f'{self.chance * self.rows:.2g}'):,.0f} would" if self.chance else found
        )


def keys(columns: Sequence[Column]) -> Iterator[Proposal]:
    """Yield the smallest sets of columns that no two rows share.

    A set of several is taken for a key only if chance alone would give many pairs of equal rows: with n rows, n²/2
    times the chance that two rows agree in each column. A time alone names nothing, however fine it is.
    """
    named = sorted((each for each in columns if each.names_things), key=lambda each: -each.distinct)[:_MOST_COLUMNS]
    found: list[set[str]] = []
    for size in range(1, _LONGEST_KEY + 1):
        for chosen in combinations(named, size):
            if any(known <= {each.name for each in chosen} for known in found) or (
                size == 1 and chosen[0].kind == "time"
            ):
                continue
            rows = filled(chosen)
            expected = len(rows) ** 2 / 2 * math.prod(each.alike for each in chosen)
            if len(rows) < max(_FEWEST, 0.9 * len(chosen[0].codes)) or (size > 1 and expected < _FEWEST):
                continue
            wrong = _screened(rows, lambda part, chosen=chosen: _repeated(together(chosen, part)))
            if wrong is not None:
                found.append({each.name for each in chosen})
                rule = Unique(tuple(each.name for each in chosen), _tolerance(wrong))
                repeats = int(wrong.sum())
                yield Proposal(
                    rule, len(rows), repeats, len(rows) - repeats, min(1.0, expected / len(rows)) * (size > 1)
                )


def dependencies(columns: Sequence[Column]) -> Iterator[Proposal]:
    """Yield one column, or two, that determine another, where no part of them and no coarser columns do."""
    named = [each for each in columns if each.names_things][:_MOST_COLUMNS]
    varied = [each for each in columns if each.distinct > 1]
    single = {
        (key.name, target.name): proposal
        for key, target in ((key, target) for key in named for target in varied if target is not key)
        if (proposal := _determined([key], target))
    }
    yield from (proposal for (by, target), proposal in single.items() if not _through(by, target, single))
    determined = {each.name: {each.name} | {to for start, to in single if start == each.name} for each in named}
    pairs: dict[tuple[str, str, str], Proposal] = {}
    for first, second in combinations(named, 2):
        reached = determined[first.name] | determined[second.name]
        if second.name in determined[first.name] or first.name in determined[second.name]:
            continue
        for target in varied:
            if target.name not in reached and (proposal := _determined([first, second], target)):
                pairs[first.name, second.name, target.name] = proposal
    for (one, other, end), proposal in pairs.items():
        reached = determined[one] | determined[other]
        others = [{a, b} for a, b, to in pairs if to == end and {a, b} != {one, other}]
        if not any(coarser <= reached for coarser in others):
            yield proposal


def orders(columns: Sequence[Column]) -> Iterator[Proposal]:
    """Yield two columns of one kind of which one is never above the other, though their ranges overlap."""
    found: dict[tuple[str, str], Proposal] = {}
    for low, high in permutations([each for each in columns if each.numbers is not None and each.distinct > 1], 2):
        rows = filled([low, high])
        if low.kind == high.kind and len(rows) >= _FEWEST:
            lower, higher = _numbers(low, rows), _numbers(high, rows)
            wrong = lower > higher
            chance = float((lower > _shuffled(higher)).mean())
            if wrong.mean() <= _ALMOST and chance >= _BY_CHANCE and (lower < higher).mean() > _ALMOST:
                rule = Ordered((low.name, high.name), _tolerance(wrong))
                found[low.name, high.name] = Proposal(rule, len(rows), int(wrong.sum()), 0, chance)
    yield from (proposal for (low, high), proposal in found.items() if not _through(low, high, found))


def sums(columns: Sequence[Column]) -> Iterator[Proposal]:
    """Yield two columns of numbers that add up to a third."""
    numeric = [each for each in columns if each.kind in ("whole", "number") and each.distinct > 1][:_MOST_COLUMNS]
    for total in numeric:
        for parts in combinations([each for each in numeric if each is not total], 2):
            if not _adds_up(parts, total, filled([*parts, total], _FIRST)[:_FEWEST]).any():
                continue
            rows = filled([*parts, total])
            numbers = [_numbers(each, rows) for each in (*parts, total)]
            wrong = ~_adds_up(parts, total, rows)
            chance = float((~adds_up([numbers[0], _shuffled(numbers[1])], numbers[2])).mean())
            often = len(rows) >= _FEWEST and wrong.mean() <= _ALMOST
            if often and chance >= _BY_CHANCE and all((each != 0).mean() > 0.05 for each in numbers):
                rule = Sum((parts[0].name, parts[1].name), total.name, _tolerance(wrong))
                yield Proposal(rule, len(rows), int(wrong.sum()), 0, chance)


def _adds_up(parts: Sequence[Column], total: Column, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    return adds_up([_numbers(each, rows) for each in parts], _numbers(total, rows))


def _determined(by: Sequence[Column], target: Column) -> Proposal | None:
    """Return the proposal that `by` determines `target`, if that is so; the costly looks come last."""
    if _contradicted(by, target, filled([*by, target], _FIRST)):
        return None
    rows = filled([*by, target])
    key = together(by, rows)
    groups = len(np.unique(key))
    if len(rows) < _FEWEST or len(rows) - groups < _REPEATED * len(rows):
        return None
    wrong, some = _unusual(key, target.codes[rows]), slice(_ENOUGH)
    chance = float(_unusual(key[some], _shuffled(target.codes[rows][some])).mean())
    if wrong.mean() > min(_ALMOST, chance / 50) or chance < _BY_CHANCE:
        return None
    rule = Determines(tuple(each.name for each in by), target.name, _tolerance(wrong))
    return Proposal(rule, len(rows), int(wrong.sum()), groups, chance)


def _contradicted(by: Sequence[Column], target: Column, rows: NDArray[np.intp]) -> bool:
    """Return whether a few thousand rows show that it is not so: each further value of a key is one row at least."""
    further = len(np.unique(together([*by, target], rows))) - len(np.unique(together(by, rows)))
    return further > 2 * _ALMOST * len(rows) + 1


def _screened(rows: NDArray[np.intp], wrong: Any) -> NDArray[np.bool_] | None:
    """Return which rows are wrong; None when too many are, most often found in the first few thousand."""
    if len(rows) > 2 * _FIRST and wrong(rows[:_FIRST]).mean() > 2 * _ALMOST:
        return None
    found: NDArray[np.bool_] = wrong(rows)
    return found if found.mean() <= _ALMOST else None


def _repeated(key: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which rows have the key of an earlier one."""
    repeated = np.ones(len(key), np.bool_)
    repeated[np.unique(key, return_index=True)[1]] = False
    return repeated


def _unusual(key: NDArray[np.uint64], value: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows do not have the most frequent value of their key (the first one, where two are as frequent)."""
    order = np.lexsort((value, key))
    sorted_key, sorted_value = key[order], value[order]
    new_key = np.r_[True, sorted_key[1:] != sorted_key[:-1]]
    new_pair = new_key | np.r_[True, sorted_value[1:] != sorted_value[:-1]]
    pair = np.cumsum(new_pair) - 1
    size = np.bincount(pair)
    key_of_pair = (np.cumsum(new_key) - 1)[new_pair]
    best = np.lexsort((np.arange(len(size)), -size, key_of_pair))
    usual = np.zeros(len(size), np.bool_)
    usual[best[np.r_[True, key_of_pair[best][1:] != key_of_pair[best][:-1]]]] = True
    unusual = np.empty(len(key), np.bool_)
    unusual[order] = ~usual[pair]
    return unusual


def _tolerance(wrong: NDArray[np.bool_]) -> float:
    """Return twice the share of the worst thousand rows on end, to one digit: so few rows make a day."""
    if not wrong.any():
        return 0.0
    worst = (
        2 * float(np.add.reduceat(wrong.astype(float), np.arange(0, len(wrong), _DAY)).max()) / min(_DAY, len(wrong))
    )
    unit = 10.0 ** math.floor(math.log10(worst))
    return round(math.ceil(round(worst / unit, 6)) * unit, 12)


def _through(start: str, end: str, found: dict[tuple[str, str], Proposal]) -> bool:
    """Return whether `end` is reached by a step between that does not lead back."""
    return any((middle, end) in found and (middle, start) not in found for low, middle in found if low == start != end)


def _numbers(column: Column, rows: NDArray[np.intp]) -> NDArray[Any]:
    assert column.numbers is not None
    found: NDArray[Any] = column.numbers[rows]
    return found


def _shuffled(values: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(0).permutation(values)
