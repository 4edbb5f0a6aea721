"""The model in service: loaded from the registry, and asked how well it does on a span."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import DataError, LedgerError
from flywheel.evaluation.answers import PredictionError
from flywheel.evaluation.estimates import value
from flywheel.evaluation.predict import Wanted, write
from flywheel.evaluation.predictions import CHAMPION, FILE, Predictions
from flywheel.say import say

if TYPE_CHECKING:
    from flywheel.artifacts import Examples


def load(uri: str, ledger: str) -> Any:
    """Return the model at `uri` as MLflow's pyfunc.

    Raises:
        LedgerError: The registry does not have it, or its files are gone.
    """
    import mlflow

    mlflow.set_tracking_uri(ledger)
    mlflow.set_registry_uri(ledger)
    try:
        return mlflow.pyfunc.load_model(uri, suppress_warnings=True)
    except Exception as error:
        raise _lost(uri, ledger, error) from error


def _lost(uri: str, ledger: str, error: Exception) -> LedgerError:
    return LedgerError(
        f"the model {uri} does not load from {ledger}: {type(error).__name__}: {error}",
        "check that the registry still has that version and its files; `flywheel status` shows the champion.",
    )


def fetch(uri: str, ledger: str, into: Path) -> Path:
    """Download the folder of the model at `uri` below `into` and return where it is.

    Raises:
        LedgerError: The registry does not have it, or its files are gone.
    """
    from flywheel.ledger.store import Client

    into.mkdir(parents=True, exist_ok=True)
    try:
        return Client(ledger).download(uri, into)
    except LedgerError as error:
        raise _lost(uri, ledger, error) from error


_QUALITY = {"binary": "auc", "multiclass": "accuracy", "multilabel": "macro_auc", "regression": "r2"}
"""More is better in each, and none depends on the label's unit: bars of history are drawn on them."""


def scorer(
    uri: str, ledger: str, examples: Examples, label: str, after: str, task: str = "binary"
) -> Callable[[str], float | None]:
    """Return what gives the champion's quality on a span of `examples`; None where it cannot be measured.

    It is the AUC, the accuracy or the share of variance explained, by task. The model is loaded when it is first asked.

    Args:
        uri: The champion's.
        ledger: MLflow tracking URI, whose registry holds it.
        examples: Raw rows by span.
        label: Column with the truth.
        after: The last span that it was trained on, empty when that is not known: up to there it is not asked.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
    """
    loaded: list[Any] = []

    def score(span: str) -> float | None:
        if span <= after:
            return None
        with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
            if not loaded:
                loaded.append(load(uri, ledger))
            file = Path(folder, FILE)
            try:
                write(examples, [span], {CHAMPION: loaded[0]}, Wanted(label, task), file)
            except (DataError, PredictionError) as error:  # what is wrong with the span, its other checks say
                say(f"the champion is not measured on {span}: {error.message}")
                return None
            quality = value(Predictions.read(file), _QUALITY[task], CHAMPION)
            return quality if math.isfinite(quality) else None

    return score


@contextmanager
def quiet_mlflow() -> Iterator[None]:
    """Keep MLflow's progress bars and version warnings out of the step's log."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logger = logging.getLogger("mlflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
