"""What earlier spans said about the invariants, and how a new span holds against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from flywheel.invariants.columns import Columns
from flywheel.invariants.pairs import MOST, Counting, Pairs, names
from flywheel.invariants.rules import Determines, Invariant, Unique, Violation

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_TEXTS = 256


@dataclass(frozen=True)
class Known:
    """What is remembered of the spans before: for `determines` the pairs seen, for `unique` the keys of the last span.

    Nothing of it changes; `learn` and `merge` give a new one. Its size is bounded: of more than `most` keys it
    remembers a part, always the same one, and looks at that part of a new span.

    Attributes:
        invariants: What is held to be true.
        rows: How many rows were learnt.
        seen: By invariant, the pairs of determining and determined values.
        previous: By invariant, the keys of the span that was learnt last.
        texts: By invariant, some determined values as text, for messages.
        most: How many keys are remembered of each.
    """

    invariants: tuple[Invariant, ...]
    rows: int = 0
    seen: Mapping[str, Pairs] = field(default_factory=dict)
    previous: Mapping[str, Pairs] = field(default_factory=dict)
    texts: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    most: int = MOST

    @classmethod
    def of(cls, invariants: Iterable[Invariant], most: int = MOST) -> Known:
        """Return what is known before any rows were seen."""
        return cls(tuple(invariants), most=most)

    def learn(self, batches: Iterable[pa.RecordBatch]) -> Known:
        """Return what is known after one more span, the rows of `batches`.

        Raises:
            ConfigError: An invariant names a column that is not there, or compares what has no order.
        """
        look = _Look(Known.of(self.invariants, self.most))
        for batch in batches:
            look.at(batch, remember=True)
        found = {str(rule): counting.pairs() for rule, counting in look.counting.items()}
        return self.merge(
            replace(
                look.known,
                rows=look.rows,
                seen={str(rule): found[str(rule)] for rule in look.counting if isinstance(rule, Determines)},
                previous={str(rule): found[str(rule)] for rule in look.counting if isinstance(rule, Unique)},
                texts=look.texts,
            )
        )

    def merge(self, other: Known) -> Known:
        """Return what is known after these spans and then those of `other`, of the invariants of this one."""
        mine = [str(rule) for rule in self.invariants]
        seen = {name: _both(name, self.seen, other.seen) for name in mine if name in self.seen or name in other.seen}
        texts = {name: _fewest({**self.texts.get(name, {}), **other.texts.get(name, {})}) for name in seen}
        return replace(
            self,
            rows=self.rows + other.rows,
            seen=seen,
            previous={name: keys for name, keys in {**self.previous, **other.previous}.items() if name in mine},
            texts=texts,
        )

    def violations(self, batches: Iterable[pa.RecordBatch]) -> list[Violation]:
        """Return how each invariant fares on a new span, whose rows are `batches`.

        A row violates `determines` when rows with its key usually had another value before; of keys that are new, when
        most rows of the span with that key have another. It violates `unique` when its key stood in the span before, or
        in an earlier row. Rows with a null do not count.

        Raises:
            ConfigError: An invariant names a column that is not there, or compares what has no order.
        """
        look = _Look(self)
        for batch in batches:
            look.at(batch)
        return [look.violation(rule) for rule in self.invariants]


class _Look:
    """One pass over the rows of a span."""

    def __init__(self, known: Known) -> None:
        self.known, self.rows = known, 0
        self.counting = {
            rule: Counting(known.most) for rule in known.invariants if isinstance(rule, Unique | Determines)
        }
        self.texts: dict[str, dict[int, str]] = {
            str(rule): {} for rule in self.counting if isinstance(rule, Determines)
        }
        self._rowwise = {rule: [0, 0] for rule in known.invariants if rule not in self.counting}
        self._examples: dict[Invariant, str] = {}
        self._usual = {rule: _Usual(known.seen.get(str(rule), Pairs())) for rule in self.counting}

    def at(self, batch: pa.RecordBatch, *, remember: bool = False) -> None:
        """Take the rows of one batch into account."""
        self.rows += batch.num_rows
        columns = Columns(batch)
        for rule, counting in self.counting.items():
            rows, key, value = columns.pairs(rule)
            counting.add(key, value)
            if remember and isinstance(rule, Determines):
                self._keep_texts(rule, columns, rows, value)
            elif not remember and rule not in self._examples:
                self._find_example(rule, columns, rows, key, value)
        for order, counts in self._rowwise.items():
            rows, wrong = columns.rowwise(order)
            counts[0] += len(rows)
            counts[1] += int(wrong.sum())
            if wrong.any():
                self._examples.setdefault(order, columns.shown(rows[wrong.argmax()], order.columns))

    def violation(self, rule: Invariant) -> Violation:
        """Return what was found of one invariant."""
        if isinstance(rule, Unique):
            rows, wrong = self._repeated(rule)
        elif isinstance(rule, Determines):
            rows, wrong = self._undetermined(rule)
        else:
            rows, wrong = self._rowwise[rule]
        example = self._examples.get(rule, "") if wrong else ""
        return Violation(rule, rows, wrong, wrong / rows if rows else 0.0, example, rule.columns)

    def _repeated(self, rule: Unique) -> tuple[int, int]:
        found = self.counting[rule].pairs()
        before = self.known.previous.get(str(rule), Pairs())
        looked = found.where(found.key < min(found.bound, before.bound))
        return looked.rows, looked.rows - int((~np.isin(looked.key, before.key, assume_unique=True)).sum())

    def _undetermined(self, rule: Determines) -> tuple[int, int]:
        found, usual = self.counting[rule].pairs(), self._usual[rule]
        looked = found.where(found.key < min(found.bound, usual.bound))
        known = usual.knows(looked.key)
        against = known & ~usual.has(looked.key, looked.value)
        return looked.rows, int(looked.count[against].sum()) + looked.where(~known).minority

    def _keep_texts(
        self, rule: Determines, columns: Columns, rows: NDArray[np.intp], value: NDArray[np.uint64]
    ) -> None:
        """Remember the texts of the values with the smallest hashes."""
        kept = self.texts[str(rule)]
        values, first = np.unique(value, return_index=True)
        for one, row in zip(values[:_TEXTS].tolist(), rows[first[:_TEXTS]], strict=True):
            if one not in kept:
                kept[one] = columns.value(row, rule.column)
        self.texts[str(rule)] = _fewest(kept)

    def _find_example(
        self,
        rule: Unique | Determines,
        columns: Columns,
        rows: NDArray[np.intp],
        key: NDArray[np.uint64],
        value: NDArray[np.uint64],
    ) -> None:
        """Look for a row of this batch that violates the rule, to show it."""
        if isinstance(rule, Unique):
            wrong = np.isin(key, self.known.previous.get(str(rule), Pairs()).key)
            reason = " (also in the span before)" if wrong.any() else ""
            wrong = wrong if wrong.any() else _repeats(key)
            if wrong.any():
                self._examples[rule] = columns.shown(rows[wrong.argmax()], rule.columns) + reason
            return
        usual = self._usual[rule]
        wrong = usual.knows(key) & ~usual.has(key, value)
        if not wrong.any():
            here = Pairs.of(key, value)
            odd = here.where(~here.usual & ~usual.knows(here.key))
            wrong = np.isin(names(key, value), names(odd.key, odd.value)) if len(odd) else wrong
        if wrong.any():
            at = wrong.argmax()
            was = self.known.texts.get(str(rule), {}).get(usual.of(key[at]) or 0)
            said = columns.shown(rows[at], [*rule.by, rule.column])
            self._examples[rule] = said + (f" (was {was})" if was is not None else "")


class _Usual:
    """The usual value of each key.

    Args:
        pairs: What was seen.
    """

    def __init__(self, pairs: Pairs) -> None:
        self._usual = pairs.where(pairs.usual)
        self._names = np.sort(names(self._usual.key, self._usual.value)) if len(pairs) else pairs.key
        self.bound = pairs.bound

    def knows(self, key: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each key was seen before."""
        return _contains(self._usual.key, key)

    def has(self, key: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return whether each key usually had this value."""
        return _contains(self._names, names(key, value)) if len(self._usual) else np.zeros(len(key), np.bool_)

    def of(self, key: np.uint64) -> int | None:
        """Return the hash of a key's usual value."""
        at = int(np.searchsorted(self._usual.key, key))
        return int(self._usual.value[at]) if at < len(self._usual) and self._usual.key[at] == key else None


def _contains(ascending: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(ascending, wanted), len(ascending) - 1)
    return np.asarray(ascending[at] == wanted)


def _repeats(key: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return whether each key stood in an earlier row."""
    repeated = np.ones(len(key), np.bool_)
    repeated[np.unique(key, return_index=True)[1]] = False
    return repeated


def _both(name: str, left: Mapping[str, Pairs], right: Mapping[str, Pairs]) -> Pairs:
    if name in left and name in right:
        return left[name].merge(right[name])
    return left[name] if name in left else right[name]


def _fewest(texts: Mapping[int, str]) -> dict[int, str]:
    return {value: texts[value] for value in sorted(texts)[:_TEXTS]}
