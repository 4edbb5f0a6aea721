"""The packaged model: MLflow loads it by this module, with nothing but NumPy, pyarrow, pandas and the framework."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ArtifactError
from flywheel.labels import MULTILABEL
from flywheel.training import frameworks
from flywheel.transform import raw
from flywheel.transform.state import State

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from flywheel.transform.bad_rows import BadRows

VERSION = 1
PREDICTION, PROBABILITY, DECISION = "prediction", "probability_", "decision"
HALF = 0.5
"""Above this chance a label is given, as in TFMA's metrics."""
SEVERAL = ("multiclass", MULTILABEL)
"""Tasks whose answer has a probability for each of several classes or labels."""
THRESHOLDS = "thresholds"
PAYLOAD, STATE, ABOUT, CODE = "flywheel", "state.json", "model.json", "code.zip"


class Predictor:
    """A model with its transform.

    Attributes:
        state: The transform.
        model: The framework's own model, as the trainer returned it.
        framework: Name of its framework.
        thresholds: By class or label (`1` of a binary task), in their order, from which chance on a row is called it;
            None for never.
    """

    def __init__(
        self, state: State, model: Any, framework: str, thresholds: Mapping[str, float | None] | None = None
    ) -> None:
        self.state, self.model, self.framework = state, model, framework
        known = thresholds or {}
        self.thresholds = {name: known[name] for name in map(str, state.classes) if name in known}

    def predict(self, rows: pd.DataFrame | pa.RecordBatch, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return the prediction for raw rows; a row's own does not depend on others.

        It is one column `prediction`: the chance of label 1, or the number. Of several classes it is the likeliest one,
        of several labels those that are more likely than not, as a JSON list; and a column `probability_<class>` or
        `probability_<label>` for each follows. With thresholds (`train.thresholds`) there is a `decision`: 0 or 1, or
        the JSON list of those classes or labels that the row is called.

        Args:
            rows: Raw columns, of any order; those that are no feature are left aside.
            params: MLflow passes this; there are none.

        Raises:
            DataError: A column is missing or holds another kind of value than in training; a row cannot be transformed.
        """
        return self.shown(self.outputs(rows))

    def outputs(self, rows: pd.DataFrame | pa.RecordBatch, bad: BadRows | None = None) -> NDArray[np.float64]:
        """Return what the model gives, as float64: a number for each row, or a probability for each class or label too.

        Args:
            rows: Raw columns.
            bad: Told of rows that cannot be transformed, which are left out.
        """
        return self.answers(self.inputs(rows, bad))

    def inputs(self, rows: pd.DataFrame | pa.RecordBatch, bad: BadRows | None = None) -> dict[str, NDArray[Any]]:
        """Return raw rows as the model sees them, one array an input; those that `bad` is told of are left out."""
        import pandas as pd

        if not isinstance(rows, pd.DataFrame) and self.state.reads(rows.schema):
            return self.state.apply_batch(rows, bad)
        return self.state.apply_frame(rows if isinstance(rows, pd.DataFrame) else raw.frame(rows), bad)

    def answers(self, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return what `outputs` does, for rows that are transformed."""
        given = frameworks.get(self.framework).predict(self.model, inputs)
        count = len(self.state.classes)
        if self.state.task == "multiclass":
            return np.asarray(by_class(given, count), np.float64)
        return np.asarray(np.reshape(given, (-1, count) if self.state.task == MULTILABEL else -1), np.float64)

    def shown(self, outputs: NDArray[np.float64]) -> pd.DataFrame:
        """Return outputs as `predict` does."""
        import pandas as pd

        decided: dict[str, Any] = {DECISION: self.decided(outputs)} if self.thresholds else {}
        if self.state.task not in SEVERAL:
            return pd.DataFrame({PREDICTION: outputs} | decided)
        if self.state.task == MULTILABEL:
            chosen: dict[str, Any] = {PREDICTION: listed(outputs > HALF, self.state.classes)}
        else:
            values = np.array(self.state.classes, dtype=object if isinstance(self.state.classes[0], str) else "int64")
            chosen = {PREDICTION: values[outputs.argmax(axis=1)]}
        return pd.DataFrame(chosen | dict(zip(probabilities(self.state), outputs.T, strict=True)) | decided)

    def called(self, outputs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return by row whether each class or label that has a threshold reaches it, in the order of the thresholds."""
        at = np.array([np.inf if value is None else value for value in self.thresholds.values()])
        known = [str(value) for value in self.state.classes]
        chances = outputs[:, None] if outputs.ndim == 1 else outputs[:, [known.index(name) for name in self.thresholds]]
        return np.asarray(chances >= at)

    def decided(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Return what the thresholds make of outputs: 0 or 1, or the JSON list of what a row is called."""
        called = self.called(outputs)
        return called[:, 0].astype(np.int64) if self.state.task == "binary" else listed(called, list(self.thresholds))


def by_class(outputs: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return outputs with one column a class; of two classes a model may give the chance of the second alone."""
    outputs = np.asarray(outputs)
    if not len(outputs):
        return np.empty((0, classes))
    if classes == 2 and outputs.size == len(outputs):
        second = outputs.reshape(-1)
        return np.stack([1 - second, second], axis=1)
    return outputs


def listed(called: NDArray[np.bool_], names: Sequence[Any]) -> NDArray[Any]:
    """Return for each row which of `names` it is called, as a JSON list: a text that any server can carry."""
    texts = np.array([json.dumps(str(name), ensure_ascii=False) for name in names], dtype=object)
    patterns, which = np.unique(called, axis=0, return_inverse=True)  # few, however many rows
    shown: NDArray[Any] = np.array([f"[{', '.join(texts[each])}]" for each in patterns], dtype=object)
    return np.asarray(shown[which.reshape(-1)], dtype=object)


def probabilities(state: State) -> list[str]:
    """Return the columns that hold the probability of each class or label; none where there is but one."""
    return [f"{PROBABILITY}{value}" for value in state.classes] if state.task in SEVERAL else []


def state_of(folder: Path) -> State:
    """Return the transform of the model in an MLflow model folder made by Flywheel, without the model.

    Raises:
        ArtifactError: It is none that Flywheel packaged.
    """
    payload = folder / "data" / PAYLOAD
    if not (payload / STATE).is_file():
        raise ArtifactError(f"the model in {folder} is none that Flywheel packaged", "train it by `flywheel run`.")
    code = payload / CODE
    return State.read(payload / STATE, code if code.is_file() else None)


def thresholds_of(folder: Path) -> dict[str, float | None]:
    """Return the thresholds of the model in an MLflow model folder made by Flywheel, without the model."""
    about = json.loads((folder / "data" / PAYLOAD / ABOUT).read_text())
    return dict(about.get(THRESHOLDS) or {})


def load(folder: Path) -> Predictor:
    """Return the model in an MLflow model folder made by Flywheel, without MLflow."""
    return _load_pyfunc(str(folder / "data" / PAYLOAD))


def _load_pyfunc(data_path: str) -> Predictor:
    """Return the model in `data_path`; MLflow calls this.

    Raises:
        ArtifactError: It was packaged by a version of this library that this one does not understand.
    """
    folder = Path(data_path)
    about = json.loads((folder / ABOUT).read_text())
    if about.get("version") != VERSION:
        raise ArtifactError(
            f"the model in {folder} is of version {about.get('version')!r}, this library reads {VERSION}",
            "install the ai-flywheel of the model's requirements.txt.",
        )
    model = frameworks.get(about["framework"]).load(folder)
    code = folder / CODE
    state = State.read(folder / STATE, code if code.is_file() else None)
    return Predictor(state, model, about["framework"], about.get(THRESHOLDS))
