"""The model in service: loaded from the registry, and asked how well it does on a span."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts.examples import gathered, joined
from flywheel.errors import DataError, LedgerError
from flywheel.evaluation.answers import Answered, PredictionError, answer, asked_columns, classes_of
from flywheel.evaluation.estimates import value
from flywheel.evaluation.predict import Wanted, write
from flywheel.evaluation.predictions import CHAMPION, FILE, Predictions
from flywheel.kept import Kept
from flywheel.labels import columns_of
from flywheel.say import say
from flywheel.serving.pyfunc import SEVERAL
from flywheel.transform import raw

if TYPE_CHECKING:
    import pyarrow as pa

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


def answered(
    uri: str, ledger: str, examples: Examples, spans: Sequence[str], label: str, task: str, scratch: Path
) -> Answered:
    """Return what stands for the champion where the rows of `spans` are asked about, in their order.

    What it has said of a span on this machine is kept while the rows are the same; it is loaded for the others alone.

    Args:
        uri: The champion's.
        ledger: MLflow tracking URI, whose registry holds it.
        examples: Raw rows by span.
        spans: Which of them.
        label: Column with the truth.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        scratch: A folder for the model's files.

    Raises:
        LedgerError: The registry does not have it, or its files are gone.
        DataError: It needs a column that is not there.
    """
    from mlflow.models import Model

    from flywheel.profiles.walk import SpanRows

    folder, kept, loaded = fetch(uri, ledger, scratch), Kept.here(), list[Any]()
    about = _About(Model.load(str(folder)))
    columns = asked_columns(CHAMPION, about, examples.schema.names, columns_of(label))
    classes = classes_of(CHAMPION, about) if task in SEVERAL else []
    identity = _digest(folder)

    def ask(span: str) -> pa.Array:
        import pyarrow as pa

        if not loaded:
            loaded.append(load(uri, ledger))
        parts = gathered(examples.batches([span], columns))
        frames = (raw.frame(joined([each for _, each in part]))[columns] for part in parts)
        return pa.concat_arrays([answer(CHAMPION, loaded[0], frame, task, classes) for frame in frames])

    def answers() -> Iterator[pa.Array]:
        for span in spans:
            if examples.rows_of([span]):
                digest = SpanRows(examples, span).digest
                yield kept.value(partial(ask, span), "answers", identity, digest, columns, task)

    return Answered(CHAMPION, about.metadata, classes, answers())


@dataclass(frozen=True)
class _About:
    metadata: Any


def _digest(folder: Path) -> str:
    """Return what stands for the files in a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


_QUALITY = {"binary": "auc", "multiclass": "accuracy", "multilabel": "macro_auc", "regression": "r2"}
"""More is better in each, and none depends on the label's unit: bars of history are drawn on them."""


def scorer(
    uri: str, ledger: str, examples: Examples, label: str, after: str, task: str = "binary"
) -> Callable[[str], float | None]:
    """Return what gives the champion's quality on a span of `examples`; None where it cannot be measured.

    It is the AUC, the accuracy or the share of variance explained, by task.

    Args:
        uri: The champion's.
        ledger: MLflow tracking URI, whose registry holds it.
        examples: Raw rows by span.
        label: Column with the truth.
        after: The last span that it was trained on, empty when that is not known: up to there it is not asked.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
    """

    def score(span: str) -> float | None:
        if span <= after:
            return None
        with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, FILE)
            try:
                champion = answered(uri, ledger, examples, [span], label, task, Path(folder, "champion"))
                write(examples, [span], {CHAMPION: champion}, Wanted(label, task), file)
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
