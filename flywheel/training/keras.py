"""Keras models: saved as one `.keras` file, without pickles."""

from __future__ import annotations

import json
import math
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import keras
import numpy as np
from numpy.typing import NDArray

from flywheel.errors import TrainerError

if TYPE_CHECKING:
    from flywheel.training.context import TrainContext

FILE = "model.keras"
_ROWS = 8192
_MANY = 100
"""Rows from which a batch is computed as it comes: there is little to gain by tracing the model."""
_SELDOM = 4
"""Smaller batches of a model that are, too: to trace it costs as much as some eight of them."""
_asked: WeakKeyDictionary[keras.Model, int] = WeakKeyDictionary()


def seed(seed: int) -> None:
    """Seed Python, NumPy and the backend of Keras."""
    keras.utils.set_random_seed(seed)


def save(model: keras.Model, folder: Path, example: dict[str, NDArray[Any]]) -> None:
    """Write `model` to `folder`.

    Raises:
        TrainerError: It has layers of the user's own, which nobody could load without the user's code.
    """
    model.save(folder / FILE)
    with zipfile.ZipFile(folder / FILE) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    own = sorted(set(_own_classes(json.loads(content["config.json"]))))
    if own:
        raise TrainerError(
            f"the model has a part of your own, {own[0]!r}, which serving could not load",
            "build it of Keras's own layers, with keras.Model(inputs, outputs).",
        )

    content["config.json"] = _numbered(content["config.json"])
    _write_timeless(folder / FILE, content)


def _numbered(config: bytes) -> bytes:
    """Return a configuration whose shared objects are numbered in order: Keras writes where they stood in memory."""
    numbers: dict[bytes, int] = {}
    return re.sub(
        rb'("shared_object_id": )(\d+)',
        lambda found: found[1] + str(numbers.setdefault(found[2], len(numbers) + 1)).encode(),
        config,
    )


def load(folder: Path) -> keras.Model:
    """Return the model in `folder`, not compiled."""
    return keras.models.load_model(folder / FILE, compile=False)


def predict(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the model's outputs, a batch at a time.

    A model whose inputs are named as columns gets those columns, any other all columns side by side, as one matrix.
    """
    rows = len(next(iter(inputs.values())))
    if not rows:
        return np.empty(0, np.float32)
    given = _arranged(model, inputs)
    # With a GPU, Keras would compile to XLA, for every size of batch anew: seconds instead of milliseconds.
    model.jit_compile = False
    size = math.ceil(rows / math.ceil(rows / _ROWS))  # batches of one size: each further one is traced anew
    parts: list[NDArray[Any]] = []
    for start in range(0, rows, size):
        at = np.minimum(np.arange(start, start + size), rows - 1)
        parts.append(_answers(model, _rows_of(given, at), size))
    answers: NDArray[Any] = np.concatenate(parts)[:rows]
    return answers


def _answers(model: keras.Model, batch: Any, rows: int) -> Any:
    """Return the model's outputs for one batch; a model that is asked often, as a server's is, is traced."""
    asked = _asked[model] = _asked.get(model, 0) + (rows < _MANY)
    if asked > _SELDOM:
        return model.predict_on_batch(batch)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(batch, training=False))


def requirements() -> tuple[str, ...]:
    """Return Keras and its backend."""
    backend = keras.backend.backend()
    return ("keras", "tensorflow" if backend == "tensorflow" else backend)


def backup(context: TrainContext) -> list[keras.callbacks.Callback]:
    """Return the callbacks that let a retry of `fit` go on after the last whole epoch: weights, optimiser, epoch.

    What another callback counts, as the patience of EarlyStopping, begins anew. The model must have been built.

    Args:
        context: Knows where checkpoints are.
    """
    if not context.checkpoints:
        return []
    folder = f"{context.checkpoints.folder}/keras"
    return [keras.callbacks.BackupAndRestore(folder, double_checkpoint=True)]


class Validation(keras.callbacks.Callback):  # type: ignore[misc]
    """Gives the callbacks after it `val_loss`, as `validation_data` of `fit` does, and makes no graph for it.

    Keras traces the model a second time for its validation, and makes an iterator in each epoch: with few rows, or few
    epochs, that takes longer than what it computes. Metrics that `compile` names are left to `validation_data`.

    Args:
        columns: The model's inputs: {feature: values}.
        labels: One a row.
        weights: How much each row counts; all the same by default.
        batch: Rows at a time. Where `fit` has another `batch_size`, a loss that is no mean over rows is another figure.
    """

    def __init__(
        self,
        columns: dict[str, NDArray[Any]],
        labels: NDArray[Any],
        weights: NDArray[Any] | None = None,
        batch: int = _ROWS,
    ) -> None:
        super().__init__()
        self._columns, self._labels, self._weights, self._batch = columns, labels, weights, batch

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Arrange the columns as the model takes them, once."""
        self._given = _arranged(self.model, self._columns)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compute the loss of all rows by the model as it is now: the mean of all batches, by their rows."""
        if logs is None:
            return
        total = 0.0
        for start in range(0, len(self._labels), self._batch):
            rows = slice(start, start + self._batch)
            inputs = _rows_of(self._given, rows)
            weights = None if self._weights is None else self._weights[rows]
            answers = self.model(inputs, training=False)
            loss = self.model.compute_loss(inputs, self._labels[rows], answers, weights, training=False)
            total += float(loss) * len(self._labels[rows])
        logs["val_loss"] = total / len(self._labels)


class EpochLog(keras.callbacks.Callback):  # type: ignore[misc]
    """Logs every epoch's metrics, prints them in one line, and keeps to the time budget.

    Args:
        context: Where they are logged to.
    """

    def __init__(self, context: TrainContext) -> None:
        super().__init__()
        self._context = context

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look at the clock."""
        self._began = self._context.time_left()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Log what Keras measured, and end when no time is left for another epoch.

        Raises:
            TrainerError: The loss is no number any more.
        """
        values = {name: float(value) for name, value in (logs or {}).items()}
        if not math.isfinite(values.get("loss", 0.0)):
            raise TrainerError(
                f"the loss is {values['loss']} in epoch {epoch + 1}",
                "lower the learning rate, or look for inputs that are far from 0.",
            )
        self._context.log_all(values, epoch)
        sys.stdout.write(f"epoch {epoch + 1}: " + ", ".join(f"{k} {v:.4f}" for k, v in values.items()) + "\n")
        sys.stdout.flush()
        left = self._context.time_left()
        if left < self._began - left:
            self.model.stop_training = True


def _arranged(model: keras.Model, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | NDArray[Any]:
    names = [tensor.name for tensor in model.inputs]
    if set(names) <= set(inputs):
        return {name: inputs[name] for name in names}
    return np.concatenate([values.reshape(len(values), -1).astype(np.float32) for values in inputs.values()], axis=1)


def _rows_of(given: dict[str, NDArray[Any]] | NDArray[Any], rows: slice | NDArray[np.intp]) -> Any:
    return keras.tree.map_structure(lambda values: values[rows], given)


def _write_timeless(file: Path, content: dict[str, bytes]) -> None:
    """Write a `.keras` file that says nothing of when and where in memory it was made: equal models are equal files."""
    content["metadata.json"] = json.dumps(json.loads(content["metadata.json"]) | {"date_saved": ""}).encode()
    numbers: dict[str, int] = {}  # what is shared is known by its address
    content["config.json"] = re.sub(
        rb'("shared_object_id": )(\d+)',
        lambda found: found[1] + str(numbers.setdefault(found[2].decode(), len(numbers))).encode(),
        content["config.json"],
    )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(content):
            archive.writestr(zipfile.ZipInfo(name), content[name])


def _own_classes(config: Any) -> Iterator[str]:
    """Yield the classes in a saved model's configuration that Keras does not bring."""
    if isinstance(config, dict):
        module = config.get("module")
        if "class_name" in config and isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            yield f"{module}.{config['class_name']}"
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _own_classes(value)
