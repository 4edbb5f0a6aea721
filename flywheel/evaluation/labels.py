"""The truth of the judge's rows, held against what its task asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flywheel.errors import DataError
from flywheel.labels import MULTILABEL, UNKNOWN
from flywheel.transform import raw
from flywheel.transform.tensors import plain

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flywheel.artifacts import Examples


def sorted_classes(values: Iterable[str]) -> tuple[str, ...]:
    """Return classes in order, as numbers where all of them are."""
    found = set(values)
    try:
        return tuple(sorted(found, key=int))
    except ValueError:
        return tuple(sorted(found))


def classes_in(examples: Examples, spans: Sequence[str], label: str) -> set[str]:
    """Return the classes that the rows of `spans` have, as text."""
    found: set[str] = set()
    for _, batch in examples.batches(spans, [label]):
        found.update(map(str, _whole(batch.column(0)).unique().drop_null().to_pylist()))
    return found


def encoded(columns: Sequence[pa.Array], task: str, classes: Sequence[str], label: str, span: str) -> pa.Array:
    """Return labels as they are written: 0 and 1, the index of the class, or a float64.

    Of several labels it is a list of 0 and 1 for each row, -1 where one is not known.

    Raises:
        DataError: One is missing, or is something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if task == MULTILABEL:
        each = [_zero_or_one(column, name, span) for column, name in zip(columns, classes, strict=True)]
        return pa.FixedSizeListArray.from_arrays(pa.array(np.stack(each, axis=1).ravel()), len(each))
    (column,) = columns
    if column.null_count:
        raise DataError(
            f"the label {label!r} is missing in {column.null_count} rows of span {span}",
            "leave those rows out in the query, or wait until their labels have arrived.",
        )
    if task == "multiclass":
        texts = _whole(column).cast(pa.string())
        return pc.index_in(texts, value_set=pa.array(classes, pa.string())).cast(pa.int64())
    if task == "regression":
        return _number(column, label, span)
    return pa.array(_zero_or_one(column, label, span))


def _zero_or_one(column: pa.Array, label: str, span: str) -> NDArray[np.int8]:
    """Return 0 and 1, and -1 where a value is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numeric = pa.types.is_boolean(column.type) or raw.is_number(column.type) or pa.types.is_null(column.type)
    wrong = [value for value in pc.unique(column.drop_null()).to_pylist() if not numeric or value not in (0, 1)]
    if wrong:
        raise DataError(
            f"the label {label!r} is {wrong[0]!r} in span {span}", "give it as 0 or 1 in the query, with IF or CAST."
        )
    return np.nan_to_num(raw.numbers(column), nan=UNKNOWN).astype(np.int8)


class Seen:
    """Watches labels go by, batch by batch, for whether they can judge.

    Args:
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        labels: Names of the columns.
        classes: What the indices of classes mean.
    """

    def __init__(self, task: str, labels: Sequence[str], classes: Sequence[str]) -> None:
        self._labels, self._classes = labels, classes if task == "multiclass" else ()
        self._values: list[set[Any]] = [set() for _ in labels]
        self._rows = 0

    def look(self, labels: pa.Array) -> None:
        """Take the labels of a batch, as `encoded` gave them."""
        self._rows += len(labels)
        columns = plain(labels).reshape(len(labels), len(self._labels))
        for values, column in zip(self._values, columns.T, strict=True):
            if len(values) < 2:
                values.update(np.unique(column[column != UNKNOWN] if len(self._labels) > 1 else column)[:2].tolist())

    def check(self, spans: Sequence[str]) -> None:
        """Raise a DataError if there were no rows, or none of the labels differed from row to row.

        Args:
            spans: Spans that judge.
        """
        where = f"the spans {spans[0]} to {spans[-1]} that judge" if spans else "no spans at all"
        if not self._rows:
            raise DataError(
                f"there are no rows in {where}", "judge on more spans (`source.judge`), or check the query."
            )
        if all(len(values) < 2 for values in self._values):
            found = [self._classes[value] if self._classes else value for each in self._values for value in each]
            name = ", ".join(map(repr, self._labels))
            what = f"{found[0]} in all rows" if len(self._labels) == 1 else "each alike, or not known, in all rows"
            raise DataError(
                f"the label {name} is {what} of {where}",
                "judge on more spans (`source.judge`), or check how the query makes the label.",
            )


def _number(column: pa.Array, label: str, span: str) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if not raw.is_number(column.type):
        raise DataError(
            f"the label {label!r} is {str(column.type)!r} in span {span}, not a number",
            "CAST it in the query, or set `task: multiclass`.",
        )
    values = raw.numbers(column)
    if not np.isfinite(values).all():
        raise DataError(
            f"the label {label!r} is no finite number in {int((~np.isfinite(values)).sum())} rows of span {span}",
            "leave those rows out in the query, with `IS_INF` or `IS_NAN`.",
        )
    return pa.array(values)


def _whole(column: pa.Array) -> pa.Array:
    """Return classes as text or integers, as the transform reads them."""
    import pyarrow as pa

    return raw.texts(column) if raw.is_text(column.type) else column.cast(pa.int64())
