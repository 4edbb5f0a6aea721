"""Feature functions: the user's own pure functions on record batches, called alike in training and in serving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from flywheel.errors import DataError
from flywheel.transform import raw
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.code import Code
from flywheel.transform.feature import Feature

_CALLS = 2000
"""Calls that the search for the rows on which a function raises may take in one batch."""
_PROBES = 8


class FeatureFunction:
    """The function of one feature.

    Args:
        feature: The feature.
        code: Where its function is.
    """

    def __init__(self, feature: Feature, code: Code) -> None:
        self._feature, self._code, self._call = feature, code, code.find(feature.function)

    def __call__(self, columns: Sequence[pa.Array], bad: BadRows) -> pa.Array:
        """Return what the function makes of raw columns; rows on which it raises are bad ones.

        Raises:
            DataError: It gives something else than one value a row, of the type that it gave in training; or it raises
                on too many rows.
        """
        batch = self._batch(columns)
        if not batch.num_rows:
            return pa.nulls(0, raw.arrow_type(self._feature.result)) if self._feature.result else self._made(batch)
        try:
            return self._made(batch)
        except _Raised as raised:
            return self._without_bad_rows(batch, bad, raised)

    def check(self, columns: Sequence[pa.Array]) -> None:
        """Hold some rows alone against the same rows among others.

        Raises:
            DataError: The function does not treat each row by itself.
        """
        batch = self._batch(columns)
        try:
            whole = self._made(batch)
            for row in np.unique(np.linspace(0, batch.num_rows - 1, _PROBES).astype(int)) if batch.num_rows else ():
                alone = self._made(batch.slice(row, 1))
                if not _same(alone, whole.slice(row, 1)):
                    raise DataError(
                        f"{self._name} is not row-wise: row {row} gives {alone[0].as_py()!r} alone and "
                        f"{whole[row].as_py()!r} among others",
                        "make each value from its own row only; what needs the whole window belongs in the query.",
                    )
        except _Raised:
            return  # such rows are counted when they are transformed

    @property
    def _name(self) -> str:
        return f"feature function {self._feature.function!r} of {self._feature.name!r}"

    def _batch(self, columns: Sequence[pa.Array]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([raw.canonical(column) for column in columns], list(self._feature.columns))

    def _made(self, batch: pa.RecordBatch) -> pa.Array:
        try:
            found: Any = self._call(batch)
        except Exception as error:
            raise _Raised(error) from error
        if isinstance(found, pa.ChunkedArray):
            found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.nulls(0, found.type)
        if not isinstance(found, pa.Array):
            raise DataError(
                f"{self._name} gives {type(found).__name__!r}, not an Arrow array",
                "return pa.array(…), or what a function of pyarrow.compute gives.",
            )
        if len(found) != batch.num_rows:
            raise DataError(
                f"{self._name} gives {len(found)} values for {batch.num_rows} rows", "return one value for each row."
            )
        expected = self._feature.result
        if pa.types.is_null(found.type) and expected:
            return pa.nulls(len(found), raw.arrow_type(expected))
        if expected and raw.type_name(found.type) != expected:
            raise DataError(
                f"{self._name} gives {str(found.type)!r} for some rows and {expected!r} for others",
                "return one type always: pa.array(values, pa.float64()).",
            )
        return found

    def _without_bad_rows(self, batch: pa.RecordBatch, bad: BadRows, raised: _Raised) -> pa.Array:
        """Return the results of the rows on which the function does not raise, and nulls for the others."""
        results: list[pa.Array] = []
        waiting, calls = [(0, batch.num_rows, raised.error)], 0
        while waiting:
            start, stop, error = waiting.pop()
            if stop - start == 1:
                bad.add([start], self._feature.name, self._said(error))
                results.append((start, None))
                continue
            calls += 2
            if calls > _CALLS:
                raise DataError(f"{self._name} fails on most rows{self._said(error, '')}", "mend it.") from error
            middle = (start + stop) // 2
            for first, last in ((start, middle), (middle, stop)):
                try:
                    results.append((first, self._made(batch.slice(first, last - first))))
                except _Raised as again:
                    waiting.append((first, last, again.error))
        results.sort(key=lambda each: each[0])
        type = next((each.type for _, each in results if each is not None), None)
        type = raw.arrow_type(self._feature.result) if type is None and self._feature.result else type
        if type is None:
            raise DataError(
                f"{self._name} fails on every row{self._said(raised.error, '')}", "mend it."
            ) from raised.error
        return pa.concat_arrays([pa.nulls(1, type) if each is None else each.cast(type) for _, each in results])

    def _said(self, error: Exception, begin: str = "its function fails") -> str:
        return f"{begin}{self._code.place(error)}: {type(error).__name__}: {error}".rstrip(": ")


class _Raised(Exception):
    """The user's function raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two single values are equal, numbers but for rounding; NaN equals NaN."""
    alone, among = one[0].as_py(), other[0].as_py()
    if isinstance(alone, float) and isinstance(among, float):
        return math.isclose(alone, among, rel_tol=1e-6, abs_tol=1e-9) or (math.isnan(alone) and math.isnan(among))
    return bool(alone == among)
