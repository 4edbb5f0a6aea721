"""The candidate's worst mistakes: whole rows, so that a person can see what it does not know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.predictions import CANDIDATE, MODELS

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.evaluation.groups import Floats

FILE = "mistakes.parquet"
LOSS = "loss"
_ALWAYS = (LOSS, "span", "label")


class Mistakes:
    """Watches batches of rows and answers go by, and keeps the rows with the largest loss.

    Args:
        label: Column with the truth.
        count: How many rows to keep.
        redacted: Columns that are never kept.
    """

    def __init__(self, label: str, count: int, redacted: Collection[str] = ()) -> None:
        self._hidden = {label, *redacted}
        self._label_shown, self._count = label not in redacted, count
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

        losses = _losses(labels.to_numpy(zero_copy_only=False), answers[CANDIDATE], len(classes))
        floor = float(self._kept[LOSS][-1].as_py()) if self._kept is not None and len(self._kept) == self._count else 0
        worst = np.argsort(-losses, kind="stable")[: self._count]
        worst = worst[losses[worst] > floor]
        if not len(worst) or not self._count:
            return
        chosen = pa.array(worst)
        columns = {LOSS: pa.array(losses[worst]), "span": spans.take(chosen)}
        if self._label_shown:
            columns["label"] = _named(labels.take(chosen), classes)
        columns |= {name: _likely(answers[name].take(chosen), classes) for name in MODELS if name in answers}
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


def _losses(labels: Any, answer: pa.Array, classes: int) -> Floats:
    """Return how far off each answer is: the chance that the truth was denied, or the absolute error."""
    import numpy as np

    if classes:
        chances = answer.flatten().to_numpy().reshape(-1, classes)
        denied: Floats = 1 - chances[np.arange(len(labels)), labels]
        return denied
    off: Floats = np.abs(answer.to_numpy(zero_copy_only=False) - labels)
    return off


def _named(labels: pa.Array, classes: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(classes, pa.string()).take(labels) if classes else labels


def _likely(answer: pa.Array, classes: Sequence[str]) -> pa.Array:
    """Return a number as it is, and of several classes the likeliest one."""
    import pyarrow as pa

    if not classes:
        return answer
    chances = answer.flatten().to_numpy().reshape(-1, len(classes))
    return pa.array(classes, pa.string()).take(pa.array(chances.argmax(axis=1)))


def _plain(column: pa.Array) -> pa.Array:
    import pyarrow as pa

    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _free(name: str) -> str:
    """Return a column's name, or another one where it is one of ours."""
    return f"{name}_" if name in (*_ALWAYS, *MODELS) else name
