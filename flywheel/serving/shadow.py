"""Shadow by replay: logged requests, answered by the candidate as well, and how its answers differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.serving.pyfunc import DECISION, PREDICTION, PROBABILITY, SEVERAL
from flywheel.serving.request_log import META, REQUEST, VERSION

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Floats = npt.NDArray[np.float64]

THRESHOLD = 0.5
MOVED = 0.1
"""A value has changed when it moved by more than this share of the champion's own standard deviation."""
_GROUPS, _FEWEST, _WORST = 8, 20, 10
_Z = 1.6448536269514722  # one-sided 95%


@dataclass(frozen=True)
class Group:
    """Rows that share a value of a column, among those where the two models differ most.

    Attributes:
        column: The column.
        value: Its value, or a range.
        rows: How many rows.
        difference: Mean size of the difference.
        changed: Share of rows that changed.
    """

    column: str
    value: str
    rows: int
    difference: float
    changed: float


@dataclass(frozen=True)
class Shadow:
    """What became of logged requests.

    Attributes:
        rows: How many were answered by both.
        differences: Candidate minus champion of each row; of several probabilities, the one that differs most.
        changed: Whether each row changed its class.
        meaning: What a change is, in words.
        worst: The rows that differ most, as they are shown.
        groups: Where they differ most, by column.
    """

    rows: int
    differences: Floats
    changed: npt.NDArray[np.bool_]
    meaning: str
    worst: tuple[dict[str, Any], ...]
    groups: tuple[Group, ...]

    @property
    def share(self) -> float:
        """Share of rows that changed."""
        return float(self.changed.mean())

    def interval(self) -> tuple[float, float]:
        """Return the two one-sided 95% bounds of the share that changed, by Wilson's score interval (1927)."""
        n, share = self.rows, self.share
        middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
        return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def read(folder: Path, version: str, columns: Sequence[str], rows: int) -> tuple[pa.Table | None, str]:
    """Return the newest logged requests that `version` answered, or nothing and why.

    Args:
        folder: Log of the model.
        version: Of the champion.
        columns: What the candidate has to be asked with.
        rows: At most so many.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: list[pa.Table] = []
    files = sorted(folder.glob("day=*/*.parquet"), key=lambda file: (file.parent.name, file.name), reverse=True)
    for file in files:
        table = pq.ParquetFile(file).read()
        table = table.filter(pc.equal(table[VERSION], version))
        if table.num_rows == 0:
            continue
        if missing := [name for name in columns if name not in table.column_names]:
            return None, f"the log lacks the column {missing[0]!r}, which the candidate needs"
        if found and table.schema != found[0].schema:
            break  # the log was told to keep other columns from here on
        found.append(table)
        if sum(map(len, found)) >= rows:
            break
    if not found:
        return None, f"no requests that version {version} answered are logged in {folder}"
    whole = pa.concat_tables(found)
    return whole.slice(0, rows).combine_chunks(), ""


def compare(logged: pa.Table, answers: pa.Table, task: str = "binary") -> Shadow:
    """Return how the candidate's `answers` to `logged` requests differ from those that are logged.

    Args:
        logged: Requests with the champion's answers.
        answers: The candidate's, row by row.
        task: `binary`, `multiclass`, `multilabel` or `regression`: what a change is.

    Raises:
        ValueError: The two models do not answer with the same columns.
    """
    import numpy as np
    import pyarrow as pa

    differences, changed, meaning = _differences(logged, answers, task)
    sizes = np.abs(differences)
    inputs = [name for name in logged.column_names if name not in (*META, DECISION, *answers.column_names)]
    inputs = [name for name in inputs if not pa.types.is_binary(logged.schema.field(name).type)]
    order = np.argsort(-sizes, kind="stable")[:_WORST]
    worst = [_row(logged, answers, inputs, int(at)) for at in order if sizes[at] > 0]
    groups = [group for name in inputs for group in _groups(name, logged[name], sizes, changed)]
    groups.sort(key=lambda group: -group.difference)
    return Shadow(len(sizes), differences, changed, meaning, tuple(worst), tuple(groups[:_GROUPS]))


def _differences(logged: pa.Table, answers: pa.Table, task: str) -> tuple[Floats, npt.NDArray[np.bool_], str]:
    import numpy as np

    classes = [name for name in answers.column_names if name.startswith(PROBABILITY)]
    if missing := [name for name in (PREDICTION, *classes) if name not in logged.column_names]:
        raise ValueError(f"the champion's answers that are logged have no {missing[0]!r}")
    if task in SEVERAL:
        apart = np.stack([_numbers(answers[name]) - _numbers(logged[name]) for name in classes], axis=1)
        at = np.abs(apart).argmax(axis=1)
        same = np.array(answers[PREDICTION].to_pylist(), object) == np.array(logged[PREDICTION].to_pylist(), object)
        what = "another class" if task == "multiclass" else "other labels"
        return apart[np.arange(len(apart)), at], ~same, what
    before, after = _numbers(logged[PREDICTION]), _numbers(answers[PREDICTION])
    if task == "binary":
        return after - before, (before >= THRESHOLD) != (after >= THRESHOLD), f"the other side of {THRESHOLD}"
    moved = np.abs(after - before) > MOVED * before.std()
    return after - before, moved, f"moved by more than {MOVED:.0%} of the champion's standard deviation"


def _numbers(column: pa.ChunkedArray) -> Floats:
    import numpy as np

    return np.asarray(column.to_numpy(), dtype=np.float64)


def _row(logged: pa.Table, answers: pa.Table, inputs: Sequence[str], at: int) -> dict[str, Any]:
    said = {"champion": logged[PREDICTION][at].as_py(), "candidate": answers[PREDICTION][at].as_py()}
    return {"request": logged[REQUEST][at].as_py(), **said, **{name: logged[name][at].as_py() for name in inputs}}


def _groups(name: str, column: pa.ChunkedArray, sizes: Floats, changed: npt.NDArray[np.bool_]) -> list[Group]:
    """Return the groups of a column's values that are large enough: its values, or quarters of its range."""
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        labels, codes = _quarters(column)
    else:
        encoded = column.combine_chunks().cast(pa.string()).dictionary_encode()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        labels = [str(value) for value in encoded.dictionary.to_pylist()] + ["missing"]
        codes = encoded.indices.fill_null(len(labels) - 1).to_numpy(zero_copy_only=False)
    rows = np.bincount(codes, minlength=len(labels))
    means = np.bincount(codes, sizes, len(labels)) / np.maximum(rows, 1)
    shares = np.bincount(codes, changed, len(labels)) / np.maximum(rows, 1)
    fewest = max(_FEWEST, len(sizes) // 100)
    return [
        Group(name, labels[at], int(rows[at]), float(means[at]), float(shares[at]))
        for at in np.flatnonzero(rows >= fewest)
        if means[at] > sizes.mean() > 0
    ]


def _quarters(column: pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    import numpy as np

    values = _numbers(column.cast("float64"))
    known = values[np.isfinite(values)]
    if len(known) == 0:
        return ["missing"], np.zeros(len(values), np.int64)
    edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
    labels = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)]
    labels = labels or [f"{edges[0]:.4g}"]
    codes = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(labels) - 1)
    return [*labels, "missing"], np.where(np.isfinite(values), codes, len(labels))
