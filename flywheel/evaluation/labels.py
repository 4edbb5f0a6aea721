"""The truth of the judge's rows, held against what its task asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.errors import DataError
from flywheel.transform import raw

if TYPE_CHECKING:
    import pyarrow as pa

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


def encoded(column: pa.Array, task: str, classes: Sequence[str], label: str, span: str) -> pa.Array:
    """Return labels as they are written: 0 and 1, the index of the class, or a float64.

    Raises:
        DataError: One is missing, or is something else.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

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
    numeric = pa.types.is_boolean(column.type) or pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    wrong = [value for value in pc.unique(column).to_pylist() if not numeric or value not in (0, 1)]
    if wrong:
        raise DataError(
            f"the label {label!r} is {wrong[0]!r} in span {span}", "give it as 0 or 1 in the query, with IF or CAST."
        )
    return column.cast(pa.int8())


def check(seen: set[Any], task: str, label: str, spans: Sequence[str]) -> None:
    """Raise a DataError if there are no rows, or those of one label only.

    Args:
        seen: Labels that were seen, all of them or at least two.
        task: `binary`, `multiclass` or `regression`.
        label: Name of the column.
        spans: Spans that judge.
    """
    where = f"the spans {spans[0]} to {spans[-1]} that judge" if spans else "no spans at all"
    if not seen:
        raise DataError(f"there are no rows in {where}", "judge on more spans (`source.judge`), or check the query.")
    if len(seen) == 1:
        raise DataError(
            f"the label {label!r} is {seen.pop()} in all rows of {where}",
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
