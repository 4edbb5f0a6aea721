"""What a model answers, held against what its task asks for, as columns that can be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.errors import DataError, FlywheelError
from flywheel.serving.pyfunc import PREDICTION, PROBABILITY, SEVERAL

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flywheel.evaluation.groups import Floats

_SUM = 1e-3  # what float32 outputs of a thousand classes may be off


class PredictionError(FlywheelError):
    """A model's answer cannot be judged: it fails on the rows, or does not answer each of them as its task wants."""


@dataclass(frozen=True)
class Unloaded:
    """What MLflow says of a model, in the place of the model where only its columns and classes are asked for."""

    metadata: Any


class Answered:
    """A model that has answered all rows already, in the order in which they are asked about.

    Args:
        name: The model's.
        metadata: What MLflow says of it.
        classes: That it gives probabilities of; none but for a task with several.
        answers: Its answers, in parts of any size; each is asked for when it is needed.
    """

    def __init__(self, name: str, metadata: Any, classes: Sequence[str], answers: Iterator[pa.Array]) -> None:
        self.metadata = metadata
        self._name, self._classes, self._answers = name, classes, answers
        self._held: list[pa.Array] = []

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the answers to the next rows, as many as `frame` has.

        Raises:
            PredictionError: There are not as many.
        """
        import pandas as pd
        import pyarrow as pa

        wanted = len(frame)
        while sum(map(len, self._held)) < wanted:
            part = next(self._answers, None)
            if part is None:
                raise PredictionError(
                    f"the {self._name} has answered fewer rows than there are",
                    "analyze by another runner, or in process.",
                )
            self._held.append(part)
        held = pa.concat_arrays(self._held)
        self._held = [held.slice(wanted)] if len(held) > wanted else []
        values = held.slice(0, wanted)
        if not self._classes:
            return pd.DataFrame({PREDICTION: values.to_numpy()})
        table = values.flatten().to_numpy().reshape(wanted, len(self._classes))
        return pd.DataFrame(table, columns=[f"{PROBABILITY}{value}" for value in self._classes])


def asked_columns(name: str, model: Any, columns: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Return the columns that a model is asked with: those of its signature, else all but the labels.

    Raises:
        DataError: It needs one that is not there.
    """
    schema = model.metadata.get_input_schema()
    if schema is None or not schema.has_input_names():
        return [column for column in columns if column not in labels]
    missing = [column for column in schema.required_input_names() if column not in columns]
    if missing:
        raise DataError(
            f"the {name} needs the column {missing[0]!r}, the examples have only {', '.join(columns)}",
            "let the query give that column for as long as this model is in use.",
        )
    return [column for column in schema.input_names() if column in columns]


def classes_of(name: str, model: Any) -> list[str]:
    """Return the classes or labels that a model gives probabilities of, as text.

    Raises:
        PredictionError: Its signature names none.
    """
    schema = model.metadata.get_output_schema()
    names = schema.input_names() if schema is not None and schema.has_input_names() else []
    found = [column.removeprefix(PROBABILITY) for column in names if column.startswith(PROBABILITY)]
    if not found:
        raise PredictionError(
            f"the {name} names no classes: its signature gives {', '.join(names) or 'no columns'}",
            f"let it give a column `{PROBABILITY}<class>` for each class, as Flywheel packages models.",
        )
    return found


def answer(name: str, model: Any, frame: Any, task: str, classes: Sequence[str]) -> pa.Array:
    """Return the model's answer for each row of `frame`: one number, or a probability for each of several `classes`.

    Raises:
        PredictionError: It fails, or gives something else.
    """
    import pyarrow as pa

    try:
        given = model.predict(frame)
    except Exception as error:
        raise PredictionError(
            f"the {name} fails on the judge's rows: {type(error).__name__}: {error}",
            "call it with `mlflow.pyfunc.load_model(...).predict(rows)` to see where; raw columns go in, as extracted.",
        ) from error
    values = _by_class(name, given, classes) if task in SEVERAL else _one_column(name, given, task)
    if len(values) != len(frame):
        raise PredictionError(
            f"the {name} answers {len(frame)} rows with {len(values)} predictions",
            "return one prediction for each row, in the order of the rows.",
        )
    _check(name, values, task)
    if task not in SEVERAL:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(classes))


def _check(name: str, values: Floats, task: str) -> None:
    """Raise a PredictionError unless all are numbers, and probabilities where the task wants them."""
    import numpy as np

    wrong = ~np.isfinite(values)
    if task != "regression":
        wrong |= (values < 0) | (values > 1)
    if wrong.any():
        bad = wrong.reshape(len(values), -1).any(axis=1)
        what = "number" if task == "regression" else "probability"
        raise PredictionError(
            f"the {name} gives {int(bad.sum())} of {len(values)} rows no {what}, as {float(values[wrong][0])!r}",
            "look for missing values in the features, and for a loss that overflowed."
            if task == "regression"
            else "return numbers between 0 and 1; look for missing values in the features, and for a missing "
            f"{'softmax' if task == 'multiclass' else 'sigmoid'}.",
        )
    if task == "multiclass":
        off = np.abs(values.sum(axis=1) - 1)
        if len(off) and off.max() > _SUM:
            raise PredictionError(
                f"the {name} gives probabilities that sum to {float(values[off.argmax()].sum())!r} in a row, not to 1",
                "end it with a softmax over the classes.",
            )


def _by_class(name: str, given: Any, classes: Sequence[str]) -> Floats:
    """Return one column a class or label; 0 for one that the model does not know."""
    import numpy as np

    columns = list(getattr(given, "columns", ()))
    known = [column for column in columns if str(column).startswith(PROBABILITY)]
    if not known:
        raise PredictionError(
            f"the {name} gives {type(given).__name__} without probabilities of classes or labels",
            f"return a DataFrame with a column `{PROBABILITY}<class>` for each class, or label.",
        )
    values = np.zeros((len(given), len(classes)))
    for column in known:
        if (told := column.removeprefix(PROBABILITY)) in classes:  # the champion may know labels that are no more
            values[:, classes.index(told)] = given[column].to_numpy()
    return values


def _one_column(name: str, given: Any, task: str) -> Floats:
    import numpy as np

    columns = list(getattr(given, "columns", ()))
    if PREDICTION in columns:
        given = given[PREDICTION]
    what = "numbers" if task == "regression" else "probabilities"
    try:
        values: Floats = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise PredictionError(
            f"the {name} predicts something that is no number: {type(given).__name__}", f"return {what}."
        ) from None
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise PredictionError(
            f"the {name} gives predictions of shape {values.shape}, not one a row",
            "return one column `prediction`"
            + (", the probability of the positive class alone." if task == "binary" else ".")
            + (" For several classes set `task: multiclass`." if task == "binary" else ""),
        )
    return values
