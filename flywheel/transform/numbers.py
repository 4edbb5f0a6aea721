"""Features of numbers and times: scaled, cut into ranges, or laid around a circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.transform import raw
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.feature import Feature
from flywheel.transform.inputs import Input

MISSING = "_missing"
"""Ends the name of the input that says where a number is missing."""


@dataclass(frozen=True, kw_only=True)
class Numeric(Feature):
    """A number, scaled; a missing one is filled in first, and a constant column becomes 0.

    Attributes:
        scale: `z_score` to mean 0 and deviation 1, `min_max` to 0 and 1 of the window, `log` to sign(x)·log(1 + |x|),
            `none`.
        clip: Values outside are moved to the nearer end before anything else.
        fill: What becomes of a missing value: `mean`, `zero`, `indicator` (the mean, and an input that says so), or a
            number.
        mean: Mean of the training window.
        deviation: Standard deviation of the training window (of the population); 0 when the column is constant.
        minimum: Smallest value of the window.
        maximum: Largest value of the window.
        missing: Rows of the window without a value.
    """

    kind: ClassVar[str] = "numeric"
    forms: ClassVar[tuple[str, ...]] = ("number",)
    scale: str = "z_score"
    clip: tuple[float | None, ...] = ()
    fill: str | float = "mean"
    mean: float = 0.0
    deviation: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The number, and whether it was missing if that was asked for."""
        number = Input(self.name, "numeric")
        return (number, Input(self.name + MISSING, "numeric")) if self.fill == "indicator" else (number,)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the scaled values as float32."""
        values = clipped(raw.numbers(columns[0]), self.clip)
        missing = np.isnan(values)
        fill = {"mean": self.mean, "indicator": self.mean, "zero": 0.0}.get(str(self.fill), self.fill)
        with np.errstate(over="ignore"):
            scaled = self._scaled(np.where(missing, fill, values))
        number = pa.array(np.clip(scaled, -raw.LARGEST, raw.LARGEST).astype(np.float32))
        return (number, pa.array(missing.astype(np.float32))) if self.fill == "indicator" else (number,)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.scale == "none":
            return values
        if self.scale == "log":
            logs: NDArray[np.float64] = np.sign(values) * np.log1p(np.abs(values))
            return logs
        if self.scale == "min_max":
            low, high = self.minimum or 0.0, self.maximum or 0.0
            return (values - low) / (high - low) if low < high else np.zeros(len(values))
        return (values - self.mean) / self.deviation if self.deviation else np.zeros(len(values))


@dataclass(frozen=True, kw_only=True)
class Bucket(Feature):
    """A number as the index of the range that it falls in: 0 is missing, 1 is below the first boundary.

    Attributes:
        quantiles: How many ranges were asked for; there are fewer when many rows have the same value. None when the
            boundaries were given.
        boundaries: Lowest value of each range but the first, ascending.
        exact: Whether the boundaries are exact quantiles; else they are within a bin, 1/65,536 of the values or so.
        missing: Rows of the window without a value.
    """

    kind: ClassVar[str] = "bucket"
    forms: ClassVar[tuple[str, ...]] = ("number",)
    quantiles: int | None = None
    boundaries: tuple[float, ...] = ()
    exact: bool = True
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The index."""
        return (Input(self.name, "bucket", len(self.boundaries) + 2, dtype="int32"),)

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the indices as int32."""
        values = raw.numbers(columns[0])
        index = np.searchsorted(np.asarray(self.boundaries, dtype=np.float64), values, side="right") + 1
        return (pa.array(np.where(np.isnan(values), 0, index).astype(np.int32)),)


@dataclass(frozen=True, kw_only=True)
class Timestamp(Feature):
    """A time as places on circles, each by its sine and cosine, so that midnight is near to midnight; 0 when missing.

    Attributes:
        parts: `hour` (the time of day), `weekday` (Monday first), `day_of_year`.
        missing: Rows of the window without a time.
    """

    kind: ClassVar[str] = "timestamp"
    forms: ClassVar[tuple[str, ...]] = ("time",)
    parts: tuple[str, ...] = ()
    missing: int = 0

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Sine and cosine of each part."""
        return tuple(Input(f"{self.name}_{part}_{way}", "numeric") for part in self.parts for way in ("sin", "cos"))

    def apply(self, columns: Sequence[pa.Array], bad: BadRows) -> tuple[pa.Array, ...]:
        """Return the sines and cosines as float32."""
        when = raw.times(columns[0])
        bad.add(np.flatnonzero(when.wrong), self.name, "a time that is not of the years 1 to 9999")
        found = []
        for part in self.parts:
            turn = 2 * np.pi * _TURNS[part](when.micros)
            for way in (np.sin, np.cos):
                found.append(pa.array(np.where(when.missing, 0.0, way(turn)).astype(np.float32)))
        return tuple(found)


_DAY = 86_400 * 10**6


def _hour(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    turn: NDArray[np.float64] = (micros % _DAY) / _DAY
    return turn


def _weekday(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    turn: NDArray[np.float64] = ((micros // _DAY + 3) % 7) / 7  # 1970 began on a Thursday
    return turn


def _day_of_year(micros: NDArray[np.int64]) -> NDArray[np.float64]:
    days = (micros // _DAY).astype("datetime64[D]")
    turn: NDArray[np.float64] = (days - days.astype("datetime64[Y]")).astype(np.int64) / 366
    return turn


_TURNS = {"hour": _hour, "weekday": _weekday, "day_of_year": _day_of_year}


def clipped(values: NDArray[np.float64], clip: Sequence[float | None]) -> NDArray[np.float64]:
    """Return `values` within `clip`, (lowest, highest) of which one may be None."""
    if not clip:
        return values
    low, high = ((-np.inf, np.inf)[side] if bound is None else bound for side, bound in enumerate(clip))
    found: Any = np.clip(values, low, high)
    return found  # type: ignore[no-any-return]
