"""The candidate's worst mistakes: whole rows, so that a person can see what it does not know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.binary import THRESHOLD
from flywheel.evaluation.predictions import CANDIDATE, MODELS
from flywheel.labels import columns_of
from flywheel.transform.tensors import plain

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.evaluation.groups import Floats

FILE = "mistakes.parquet"
LOSS = "loss"
_ALWAYS = (LOSS, "span", "label")


class Mistakes:
    """Watches batches of rows and answers go by, and keeps the rows with the largest loss.

    Args:
        label: Column with the truth, or columns as `flywheel.labels` joins them.
        count: How many rows to keep.
        redacted: Columns that are never kept.
    """

    def __init__(self, label: str, count: int, redacted: Collection[str] = ()) -> None:
        labels = columns_of(label)
        self._hidden = {*labels, *redacted}
        self._label_shown, self._count = not set(labels) & set(redacted), count
        self._kept: pa.Table | None = None

    def look(
        self,
        spans: pa.Array,
        batch: pa.RecordBatch,
        labels: pa.Array,
        answers: Mapping[str, pa.Array],
        classes: Sequence[str],
    ) -> None:
        """Keep those rows of `batch` that are among the worst so far."""
        import numpy as np
        import pyarrow as pa

        losses = _losses(plain(labels), answers[CANDIDATE])
        floor = float(self._kept[LOSS][-1].as_py()) if self._kept is not None and len(self._kept) == self._count else 0
        worst = np.argsort(-losses, kind="stable")[: self._count]
        worst = worst[losses[worst] > floor]
        if not len(worst) or not self._count:
            return
        chosen = pa.array(worst)
        columns = {LOSS: pa.array(losses[worst]), "span": spans.take(chosen)}
        if self._label_shown:
            columns["label"] = _named(labels.take(chosen), classes)
        several = pa.types.is_fixed_size_list(labels.type)
        columns |= {name: _likely(answers[name].take(chosen), classes, several) for name in MODELS if name in answers}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if field.name not in self._hidden and not pa.types.is_nested(field.type) and not _bytes(field.type):
                columns[_free(field.name)] = _plain(column.take(chosen))
        found = pa.table(columns)
        both = found if self._kept is None else pa.concat_tables([self._kept, found])
        self._kept = both.sort_by([(LOSS, "descending")]).slice(0, self._count)

    def write(self, folder: Path) -> None:
        """Write the rows that were kept, the worst first, if there are any."""
        import pyarrow.parquet as pq

        if self._kept is not None:
            pq.write_table(self._kept.combine_chunks(), folder / FILE, compression="zstd")


def read(folder: Path) -> list[dict[str, object]]:
    """Return the rows that `write` wrote, the worst first; none where there is no such file."""
    import pyarrow.parquet as pq

    file = folder / FILE
    rows: list[dict[str, object]] = pq.read_table(file).to_pylist() if file.exists() else []
    return rows


def _losses(labels: Any, answer: pa.Array) -> Floats:
    """Return how far off each answer is: the chance that the truth was denied, or the absolute error.

    Of several labels it is that of the one that is furthest off.
    """
    import numpy as np

    given = plain(answer)
    if labels.ndim == 2:
        worst: Floats = np.where(labels >= 0, np.abs(given - labels), 0.0).max(axis=1)
        return worst
    if given.ndim == 2:
        denied: Floats = 1 - given[np.arange(len(labels)), labels]
        return denied
    off: Floats = np.abs(given - labels)
    return off


def _named(labels: pa.Array, classes: Sequence[str]) -> pa.Array:
    """Return labels as a person reads them; one of several that is not known has a question mark."""
    import numpy as np
    import pyarrow as pa

    given = plain(labels)
    if given.ndim == 2:
        named = np.array([*classes, *(f"{name}?" for name in classes)], dtype=object)
        return _texts(named[row] for row in np.concatenate([given == 1, given < 0], axis=1))
    return pa.array(classes, pa.string()).take(labels) if classes else labels


def _likely(answer: pa.Array, classes: Sequence[str], several: bool) -> pa.Array:
    """Return a number as it is, of several classes the likeliest one, and of several labels those that are likely."""
    import numpy as np
    import pyarrow as pa

    chances = plain(answer)
    if several:
        return _texts(np.array(classes, dtype=object)[row] for row in chances > THRESHOLD)
    return pa.array(classes, pa.string()).take(pa.array(chances.argmax(axis=1))) if classes else answer


def _texts(rows: Iterable[Iterable[str]]) -> pa.Array:
    import pyarrow as pa

    return pa.array([", ".join(row) or "none" for row in rows], pa.string())


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _free(name: str) -> str:
    """Return a column's name, or another one where it is one of ours."""
    return f"{name}_" if name in (*_ALWAYS, *MODELS) else name
