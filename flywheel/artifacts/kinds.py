"""The artifacts whose meaning is in their files alone."""

from __future__ import annotations

from pathlib import Path

from flywheel.artifacts.folder import Artifact

HISTORY = "history.jsonl.gz"
"""The file that the data gate hands from run to run."""


class Statistics(Artifact):
    """TFDV statistics of one or more groups of spans, each `<group>.pb` (`DatasetFeatureStatisticsList`).

    Beside them the schema that they were held against, and the project's history.
    """

    kind = "statistics"

    @property
    def schema(self) -> Path:
        """The expected columns, types and domains, as TFDV reads them: a text proto."""
        return self.path / "schema.pbtxt"

    @property
    def history(self) -> Path:
        """What all spans looked like that were judged so far: `flywheel.profiles.History.load` reads it."""
        return self.path / HISTORY


class TransformState(Artifact):
    """What `transform` learned from the training window: `state.json`, small and readable."""

    kind = "transform-state"

    @property
    def file(self) -> Path:
        """The state itself."""
        return self.path / "state.json"


class Model(Artifact):
    """An MLflow model folder (pyfunc): raw columns in, predictions out, the transform inside it."""

    kind = "model"


class Evaluation(Artifact):
    """Predictions of every judged model on the same rows, and the metrics that TFMA's readers open."""

    kind = "evaluation"
