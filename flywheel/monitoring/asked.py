"""What models say of logged requests: the champion and the versions beside it, asked batch by batch."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.errors import ConfigError
from flywheel.labels import MULTILABEL
from flywheel.ledger import Ledger
from flywheel.ledger.lineage import versions
from flywheel.ledger.registry import version_of
from flywheel.monitoring import select
from flywheel.monitoring.places import Places
from flywheel.serving import pyfunc
from flywheel.serving.folder import downloaded
from flywheel.serving.targets import Order

Floats = NDArray[np.float64]


class Asked:
    """Packaged models of a flywheel.

    Args:
        ledger: The ledger, or its MLflow tracking URI.
        name: Of the flywheel.

    Raises:
        ConfigError: It has no champion.
    """

    def __init__(self, ledger: str | Ledger, name: str) -> None:
        self._book, self._name = ledger if isinstance(ledger, Ledger) else Ledger(ledger), name
        champion = self._book.champion(name)
        if champion is None:
            raise ConfigError(f"{name} has no champion to ask", "`flywheel run` makes one.")
        self.champion = champion.version

    def disagreement(self, batches: Sequence[pa.RecordBatch], against: str = "") -> tuple[Floats, str]:
        """Return how far the champion and another version are apart on each row, and which they are.

        Args:
            batches: The rows.
            against: The other; by default the newest one besides the champion: a challenger that was not decided, or
                kept back, if it came later; else who was champion before.

        Raises:
            ConfigError: There is no other, or it knows different classes.
            NoVersion: There is no such version.
        """
        other = version_of(self._book.client, self._name, against).version if against else self._other()
        scores = select.disagreement(*self._stacked([self.champion, other], batches))
        return scores, f"disagreement of versions {self.champion} and {other}"

    def dynamics(self, batches: Sequence[pa.RecordBatch], count: int) -> tuple[Floats, str]:
        """Return how unsure the newest `count` versions were of each row all along, and which they are.

        Raises:
            ConfigError: They know different classes.
        """
        names = self._newest(count)
        return select.dynamics(self._stacked(names, batches)), f"the dynamics of versions {', '.join(names)}"

    def points(self, batches: Sequence[pa.RecordBatch]) -> NDArray[np.float32]:
        """Return where rows lie among what the champion sees of them, shape (rows, dimensions).

        Raises:
            DataError: A column that it reads was not logged, or a row cannot be transformed.
        """
        model = self._model(self.champion)
        places = Places(model.state.inputs)
        return np.concatenate([places.of(model.inputs(batch)) for batch in batches])

    def _other(self) -> str:
        besides = [each for each in self._newest(2) if each != self.champion]
        if not besides:
            raise ConfigError(
                f"{self._name} has version {self.champion} alone, and one model disagrees with nobody",
                "choose by margin or entropy until there is another.",
            )
        return besides[-1]

    def _newest(self, count: int) -> list[str]:
        """Return the newest versions whose model was packaged here, oldest first."""
        return [each.version for each in versions(self._book, self._name) if each.digest][-count:]

    def _stacked(self, names: Sequence[str], batches: Sequence[pa.RecordBatch]) -> Floats:
        """Return what several versions say, shape (versions, rows, classes).

        Raises:
            ConfigError: They know different classes.
        """
        said = [self._probabilities(version, batches) for version in names]
        if len({each.shape for each in said}) > 1:
            counts = ", ".join(f"{version} of {each.shape[1]}" for version, each in zip(names, said, strict=True))
            raise ConfigError(f"the versions know different classes: {counts}", "compare versions of the same ones.")
        return np.stack(said)

    def _probabilities(self, version: str, batches: Sequence[pa.RecordBatch]) -> Floats:
        """Return what a version says of rows: shape (rows, classes), or (rows, 1) where it gives a number."""
        model = self._model(version)
        if model.state.task == MULTILABEL:
            raise ConfigError(
                "what to label next is chosen for one label a row, and this model has several",
                "take the random part alone: a budget with `random: 1`.",
            )
        found = np.concatenate([model.outputs(batch) for batch in batches])
        if found.ndim == 2:
            return found
        return found[:, None] if model.state.task == "regression" else np.stack([1 - found, found], axis=1)

    def _model(self, version: str) -> pyfunc.Predictor:
        order = Order.of(version_of(self._book.client, self._name, version), self._book)
        with tempfile.TemporaryDirectory(prefix="flywheel-select-") as folder:
            return pyfunc.load(downloaded(order.deployment, order.download, Path(folder)).path)
