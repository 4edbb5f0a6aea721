"""What a span looks like, small enough to be kept for years: one profile a span, a few kilobytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Column:
    """One column of a span.

    Attributes:
        kind: `number`, `word` or `time`; a time is counted in seconds from the start of the span.
        nulls: Share of rows without a value; NaN counts as none.
        zeros: Share of values that are 0, or blank for a word.
        whole: Share of values that are whole numbers; for a word, of those that are plain ASCII without space around.
        length: Mean length of a word, 0 for others.
        distinct: How many values there are, of a large span an estimate from its sample.
        values: Words and the share of rows that have them, most frequent first, at most 512.
        points: Numbers, ascending: the values themselves while there are at most 128 of them, else quantiles.
        masses: The share of values at each point.
        digits: Of numbers that are all whole, the share that ends with each digit; else empty.
        mark: Hash of all values, whatever their order: equal for equal columns.
    """

    kind: str
    nulls: float
    zeros: float = 0.0
    whole: float = 1.0
    length: float = 0.0
    distinct: int = 0
    values: Mapping[str, float] = field(default_factory=dict)
    points: Floats = field(default_factory=lambda: np.empty(0))
    masses: Floats = field(default_factory=lambda: np.empty(0))
    digits: Floats = field(default_factory=lambda: np.empty(0))
    mark: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": self.kind,
            "nulls": self.nulls,
            "zeros": self.zeros,
            "whole": self.whole,
            "length": self.length,
            "distinct": self.distinct,
            "values": dict(self.values),
            "points": self.points.tolist(),
            "masses": [float(f"{mass:.6g}") for mass in self.masses],
            "digits": [float(f"{share:.6g}") for share in self.digits],
            "mark": f"{self.mark:016x}",
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Column:
        """Return what `to_json` gave."""
        arrays = {name: np.asarray(values.get(name, ()), float) for name in ("points", "masses", "digits")}
        return cls(**{**values, **arrays, "mark": int(values["mark"], 16)})


@dataclass(frozen=True)
class Profile:
    """All columns of a span, and how they hang together.

    Attributes:
        rows: How many rows it has.
        columns: Each column by its name.
        label_rate: Mean of the label; NaN without one.
        links: Association of each two columns, -1 to 1 (rank correlation of numbers) or 0 to 1 (correlation ratio,
            Cramér's V, both freed of bias), shape (columns, columns); NaN where one does not vary.
        repeated: Share of rows that stand there more than once, the first of them not counted.
        hashes: The smallest hashes of rows, ascending, at most 8,192: to see whether rows stand in another span too.
        keys: The smallest hashes of its keys, less their times, ascending; none where no key was given.
        keyed: Columns of those keys.
    """

    rows: int
    columns: Mapping[str, Column]
    label_rate: float
    links: Floats
    repeated: float
    hashes: Hashes
    keys: Hashes = field(default_factory=lambda: np.empty(0, np.uint64))
    keyed: tuple[str, ...] = ()

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns, in the order of `links`."""
        return list(self.columns)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "rows": self.rows,
            "columns": {name: column.to_json() for name, column in self.columns.items()},
            "label_rate": None if np.isnan(self.label_rate) else self.label_rate,
            "links": _packed(self.links.astype(np.float32)),
            "repeated": self.repeated,
            "hashes": _packed(self.hashes),
            "keys": _packed(self.keys),
            "keyed": list(self.keyed),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Profile:
        """Return what `to_json` gave."""
        columns = {name: Column.from_json(column) for name, column in values["columns"].items()}
        links = np.frombuffer(base64.b64decode(values["links"]), np.float32).astype(float)
        hashes, keys = (np.frombuffer(base64.b64decode(values.get(name, "")), np.uint64) for name in ("hashes", "keys"))
        rate = np.nan if values["label_rate"] is None else values["label_rate"]
        size = len(columns)
        return cls(
            values["rows"],
            columns,
            rate,
            links.reshape(size, size),
            values["repeated"],
            hashes,
            keys,
            tuple(values.get("keyed", ())),
        )


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
