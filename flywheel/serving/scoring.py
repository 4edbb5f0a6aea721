"""Score the rows of a query: out of the warehouse, through the model by Beam, into files of good and bad rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flywheel.errors import DataError
from flywheel.serving import inference, pyfunc
from flywheel.serving.inference import Answer, Models, Rows, Written
from flywheel.serving.parts import asked, extracted, refuse_missing
from flywheel.spans import Span
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.runners import job as open_job
from flywheel.transform.shards import dead_letters
from flywheel.transform.state import State
from flywheel.warehouse.tables import SPAN, VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.config import Batch

MODEL = "model"
_MOST_FAILING = 100
"""Rows of a batch that the model may fail on one by one; with more it is the model that is broken."""


@dataclass(frozen=True)
class Scored:
    """What was made of a span.

    Attributes:
        rows: Rows that were scored.
        bad: How often rows could not be, by what could not be read and why.
        good: File with the kept columns, the predictions, and of which span and version they are.
        dead: File with all columns of the other rows, the reason, span and version.
    """

    rows: int
    bad: Counter[tuple[str, str]]
    good: Path
    dead: Path


@dataclass(frozen=True)
class Ask:
    """Scores a batch by the packaged model: what workers are sent, beside the model.

    Attributes:
        columns: Columns that are kept beside the predictions.
        stamp: What every row is marked with: its span's first instant, and the version.
        types: Of the predictions.
    """

    columns: tuple[str, ...]
    stamp: tuple[Any, str]
    types: pa.Schema

    def __call__(self, rows: Rows, models: Models) -> Answer:
        """Return the rows that can be scored with their predictions, and the others with the reason."""
        predictor: pyfunc.Predictor = models[MODEL]
        batch, bad = rows.batch, BadRows(rows.batch.num_rows)
        outputs = _outputs(predictor, batch, bad)
        finite = np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
        kept = np.flatnonzero(~bad.mask())
        bad.add(kept[~finite].tolist(), pyfunc.PREDICTION, "the model gives no number")
        shown = predictor.shown(outputs[finite])
        predictions = [pa.array(shown[each.name], each.type) for each in self.types]
        chosen = batch.take(pa.array(kept[finite]))
        columns = [chosen.column(chosen.schema.get_field_index(name)) for name in self.columns]
        good = self._stamped([*columns, *predictions], [*self.columns, *self.types.names])
        if not len(bad):
            return Answer(good)
        letters = dead_letters(batch, bad)
        dead = self._stamped(letters.columns, letters.schema.names)
        return Answer(good, dead, Counter(bad.reasons.values()))

    def schema(self, given: pa.Schema) -> pa.Schema:
        """Return the columns of scored rows, of rows with the columns `given`."""
        return pa.schema([*(given.field(name) for name in self.columns), *self.types, *_STAMP])

    def _stamped(self, columns: Sequence[pa.Array], names: Sequence[str]) -> pa.RecordBatch:
        count = len(columns[0])
        marks = [pa.repeat(pa.scalar(value, each.type), count) for value, each in zip(self.stamp, _STAMP, strict=True)]
        return pa.RecordBatch.from_arrays([*columns, *marks], [*names, *_STAMP.names])


_STAMP = pa.schema([(SPAN, pa.timestamp("us", tz="UTC")), (VERSION, pa.string())])


def score(model: Path, version: str, settings: Batch, span: Span, folder: Path) -> Scored:
    """Score the rows of a span; files of good and bad rows are in `folder`. Memory does not grow with the rows.

    Args:
        model: The packaged model.
        version: Of it, that every row is marked with.
        settings: `deploy` of flywheel.yaml, with the SQL text as its query.
        span: Which rows.
        folder: An empty one.

    Raises:
        NotArrived: There are no rows.
        DataError: The query does not give a column that the model or `columns` names.
        SQLError: The query does not run.
        ArtifactError: The model is none that Flywheel packaged.
    """
    state = pyfunc.state_of(model)
    with open_job(settings.beam, folder, None) as job:
        made = predicted(state, bool(pyfunc.thresholds_of(model)))
        given, parts = extracted(settings, span, job, lambda given: _check(given, state, made, settings))
        columns = settings.columns or tuple(given.names)
        ask = Ask(columns, (span.start.replace(tzinfo=UTC), version), made)
        addresses = inference.reachable({MODEL: model}, job)
        handler = inference.PackagedModels(addresses, pyfunc.load, ask)
        done = asked(parts, given, handler, job)
        return _gathered(done, ask.schema(given), _dead_schema(given), folder)


def predicted(state: State, decides: bool = False) -> pa.Schema:
    """Return the columns of predictions; with thresholds there is a decision among them."""
    decision = [(pyfunc.DECISION, pa.int64() if state.task == "binary" else pa.string())] * decides
    if state.task not in pyfunc.SEVERAL:
        return pa.schema([(pyfunc.PREDICTION, pa.float64()), *decision])
    kind = pa.string() if isinstance(state.classes[0], str) else pa.int64()
    chances = [(name, pa.float64()) for name in pyfunc.probabilities(state)]
    return pa.schema([(pyfunc.PREDICTION, kind), *chances, *decision])


def _check(schema: pa.Schema, state: State, predictions: pa.Schema, settings: Batch) -> None:
    """Raise a DataError unless the query gives what the model and `columns` name, and nothing twice."""
    asked = [(name, "the model needs") for name in state.columns]
    asked += [(name, "deploy.columns names") for name in settings.columns]
    refuse_missing(schema, asked)
    made = {*predictions.names, *_STAMP.names}
    if taken := next((name for name in settings.columns or schema.names if name in made), ""):
        raise DataError(
            f"the rows to score have a column {taken!r}, as the predictions have",
            f"give it another name in the query, or leave it out of deploy.columns: `{taken} AS {taken}_`.",
        )


def _outputs(predictor: pyfunc.Predictor, batch: pa.RecordBatch, bad: BadRows) -> NDArray[np.float64]:
    """Return what the model gives for the rows that can be transformed; those that it fails on are told to `bad`."""
    inputs = predictor.inputs(batch, bad)
    rows = np.flatnonzero(~bad.mask())
    if not len(rows):
        return np.empty((0, len(predictor.state.classes)) if predictor.state.task in pyfunc.SEVERAL else 0)
    try:
        return predictor.answers(inputs)
    except Exception as error:
        failing = Failing(predictor, inputs, error)
        found = failing.halves(np.arange(len(rows)))
        for at, why in failing.why.items():
            bad.add([int(rows[at])], pyfunc.PREDICTION, why)
        return found


class Failing:
    """A batch that the model fails on: halved until the rows are found that it is because of.

    Args:
        predictor: The model.
        inputs: Transformed rows.
        error: What it raised.
    """

    def __init__(self, predictor: pyfunc.Predictor, inputs: dict[str, NDArray[Any]], error: Exception) -> None:
        self._predictor, self._inputs, self._first = predictor, inputs, error
        self.why: dict[int, str] = {}

    def halves(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return what the model gives for `rows`, those left out that it fails on alone.

        Raises:
            DataError: It fails on too many of them.
        """
        try:
            return self._predictor.answers({name: array[rows] for name, array in self._inputs.items()})
        except Exception as error:
            if len(rows) == 1:
                self._note(int(rows[0]), error)
                classes = len(self._predictor.state.classes)
                return np.empty((0, classes) if self._predictor.state.task in pyfunc.SEVERAL else 0)
        middle = len(rows) // 2
        return np.concatenate([self.halves(rows[:middle]), self.halves(rows[middle:])])

    def _note(self, row: int, error: Exception) -> None:
        self.why[row] = f"the model fails: {type(error).__name__}: {str(error)[:200]}"
        if len(self.why) > _MOST_FAILING:
            first = self._first
            raise DataError(
                f"the model fails on more than {_MOST_FAILING} rows of a batch: {type(first).__name__}: {first}",
                "call it with `mlflow.pyfunc.load_model(...).predict(rows)` to see where.",
            ) from first


def _dead_schema(given: pa.Schema) -> pa.Schema:
    empty = pa.RecordBatch.from_arrays([pa.array([], each.type) for each in given], schema=given)
    return pa.schema([*dead_letters(empty, BadRows(0)).schema, *_STAMP])


def _gathered(done: Sequence[Written], good: pa.Schema, dead: pa.Schema, folder: Path) -> Scored:
    """Put the answers together, in the order of their rows."""
    made = Scored(
        sum(each.rows for each in done),
        sum((each.reasons for each in done), Counter()),
        folder / "good.parquet",
        folder / "dead.parquet",
    )
    for path, schema, files in (
        (made.good, good, [each.good for each in done]),
        (made.dead, dead, [each.dead for each in done if each.dead]),
    ):
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in inference.answered(files):
                writer.write_batch(batch)
    return made
