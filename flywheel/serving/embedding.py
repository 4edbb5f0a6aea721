"""Embeddings of the rows of a query: what a layer of a packaged Keras model gives, by Beam, in one file on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flywheel.errors import DataError, ServingError, meant
from flywheel.serving import inference, pyfunc
from flywheel.serving.inference import Answer, Models, Rows, Written
from flywheel.serving.parts import asked, extracted, refuse_missing
from flywheel.spans import Span
from flywheel.training import frameworks
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.runners import job as open_job

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.config import Index

MODEL = "model"
_ID, _VECTOR = "id", "vector"


@dataclass(frozen=True)
class Embeddings:
    """Vectors with the ids of their rows.

    Attributes:
        ids: One a row, each once.
        vectors: (rows, dimensions) float32, on disk.
        bad: How often rows could not be embedded, by what could not be read and why.
    """

    ids: pa.Array
    vectors: NDArray[np.float32]
    bad: Counter[tuple[str, str]]

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.vectors)

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self.vectors.shape[1])


@dataclass(frozen=True)
class Ask:
    """Embeds a batch: what workers are sent, beside the model.

    Attributes:
        id: Column that names a row.
        layer: Whose output it is.
    """

    id: str
    layer: str

    def __call__(self, rows: Rows, models: Models) -> Answer:
        """Return ids and vectors of the rows that can be embedded; of the others, why not."""
        predictor, cut = models[MODEL]
        bad = BadRows(rows.batch.num_rows)
        inputs = predictor.inputs(rows.batch, bad)
        kept = np.flatnonzero(~bad.mask())
        vectors = np.asarray(cut(inputs), np.float32) if len(kept) else np.empty((0, 1), np.float32)
        finite = np.isfinite(vectors).all(axis=1)
        bad.add(kept[~finite].tolist(), self.layer, "the layer gives no number")
        ids = rows.batch.column(rows.batch.schema.get_field_index(self.id)).take(pa.array(kept[finite]))
        flat = pa.array(vectors[finite].ravel(), pa.float32())
        columns = [ids, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])]
        return Answer(pa.RecordBatch.from_arrays(columns, [_ID, _VECTOR]), None, Counter(bad.reasons.values()))


@dataclass(frozen=True)
class Load:
    """Loads a packaged model cut off at a layer; travels to workers.

    Attributes:
        layer: Its name.
    """

    layer: str

    def __call__(self, folder: Path) -> tuple[pyfunc.Predictor, Any]:
        """Return the model, and a function from transformed rows to vectors.

        Raises:
            ServingError: It is no Keras model, or has no such layer, or that gives no vector a row.
        """
        predictor = pyfunc.load(folder)
        if predictor.framework != "keras":
            raise ServingError(
                f"a model of {predictor.framework!r} has no layers to take embeddings from: that takes a Keras one",
                "deploy it to another target.",
            )
        import keras

        model = predictor.model
        names = [layer.name for layer in model.layers]
        if self.layer not in names:
            raise ServingError(
                f"the model has no layer {self.layer!r}, only {', '.join(names)}",
                meant(self.layer, names).rstrip()
                or "give the layer a `name` in the trainer, and that to deploy.layer.",
            )
        output = model.get_layer(self.layer).output
        if isinstance(output, list | tuple) or len(output.shape) != 2:
            shapes = [each.shape for each in output] if isinstance(output, list | tuple) else output.shape
            raise ServingError(
                f"the layer {self.layer!r} gives {shapes}, not one vector a row",
                "name a layer that gives (rows, n).",
            )
        cut = keras.Model({each.name: each for each in model.inputs}, output)
        return predictor, partial(frameworks.get("keras").predict, cut)


def embed(model: Path, settings: Index, span: Span, folder: Path) -> Embeddings:
    """Return the embeddings of the rows of a span; memory holds their ids.

    Args:
        model: The packaged model.
        settings: The target's, with the SQL text as its query.
        span: Which rows.
        folder: An empty one, in which the vectors stay.

    Raises:
        DataError: The query does not give a column that is needed; ids are missing or not unique; too many rows cannot
            be embedded.
        ServingError: The model has no such layer.
    """
    state = pyfunc.state_of(model)
    needed = [*((name, "the model needs") for name in state.columns), (settings.id, "deploy.id names")]
    with open_job(settings.beam, folder, None) as job:
        schema, parts = extracted(settings, span, job, lambda given: refuse_missing(given, needed))
        addresses = inference.reachable({MODEL: model}, job)
        handler = inference.PackagedModels(addresses, Load(settings.layer), Ask(settings.id, settings.layer))
        done = asked(parts, schema, handler, job)
        bad = sum((each.reasons for each in done), Counter[tuple[str, str]]())
        _refuse_bad(bad, sum(each.rows for each in done), settings)
        return _gathered(done, bad, folder)


def _refuse_bad(bad: Counter[tuple[str, str]], good: int, settings: Index) -> None:
    left = bad.total()
    if left and (left / (left + good) > settings.bad_rows_at_most or not good):
        (what, why), _ = bad.most_common(1)[0]
        raise DataError(
            f"{left:,} of {left + good:,} rows cannot be embedded: {what!r}: {why}",
            "mend them in the query, or raise deploy.bad_rows_at_most.",
        )


def _gathered(done: Sequence[Written], bad: Counter[tuple[str, str]], folder: Path) -> Embeddings:
    ids: list[pa.Array] = []
    vectors: Any = None
    rows = sum(each.rows for each in done)
    at = 0
    for batch in inference.answered(each.good for each in done if each.rows):
        values = batch.column(1).flatten().to_numpy().reshape(batch.num_rows, -1)
        if vectors is None:
            vectors = np.memmap(folder / "vectors", np.float32, "w+", shape=(rows, values.shape[1]))
        vectors[at : at + len(values)] = values
        at += len(values)
        ids.append(batch.column(0))
    joined = pa.concat_arrays(ids)
    if joined.null_count:
        raise DataError(f"{joined.null_count:,} rows have no id", "leave them out in the query.")
    counts = joined.value_counts()
    if len(counts) < len(joined):
        most = int(np.argmax(counts.field("counts").to_numpy()))
        twice, times = counts.field("values")[most].as_py(), counts.field("counts")[most].as_py()
        raise DataError(f"the id {twice!r} stands {times} times in the rows", "let the query give each id once.")
    return Embeddings(joined, vectors, bad)
