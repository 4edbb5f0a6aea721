"""The model in service: loaded from the registry, and asked how well it does on a span."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts.examples import gathered, joined
from flywheel.errors import DataError, LedgerError
from flywheel.evaluation.answers import Answered, PredictionError, Unloaded, answer, asked_columns, classes_of
from flywheel.evaluation.estimates import value
from flywheel.evaluation.predict import Wanted, write
from flywheel.evaluation.predictions import CHAMPION, FILE, Predictions
from flywheel.kept import Kept
from flywheel.labels import columns_of
from flywheel.runner.digest import digest_of
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


class InService:
    """The champion as rows are asked about: fetched once, and loaded only for spans whose answers are not kept.

    What it has said of a span on this machine is kept while the rows are the same.

    Args:
        uri: The champion's.
        ledger: MLflow tracking URI, whose registry holds it.
        examples: Raw rows by span.
        label: Column with the truth, or columns as `flywheel.labels` joins them.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        scratch: A folder for the model's files; it has to last as long as answers are read.

    Raises:
        LedgerError: The registry does not have it, or its files are gone.
        DataError: It needs a column that is not there.
    """

    def __init__(self, uri: str, ledger: str, examples: Examples, label: str, task: str, scratch: Path) -> None:
        from mlflow.models import Model

        self._ledger, self._examples, self._task, self._kept = ledger, examples, task, Kept.here()
        self._folder, self._loaded = fetch(uri, ledger, scratch), list[Any]()
        self._about = Unloaded(Model.load(str(self._folder)))
        self._columns = asked_columns(CHAMPION, self._about, examples.schema.names, columns_of(label))
        self._classes = classes_of(CHAMPION, self._about) if task in SEVERAL else []
        self._identity = digest_of(self._folder)

    def answered(self, spans: Sequence[str]) -> Answered:
        """Return what stands for it where the rows of `spans` are asked about, in their order."""
        return Answered(CHAMPION, self._about.metadata, self._classes, self._answers(spans))

    def _answers(self, spans: Sequence[str]) -> Iterator[pa.Array]:
        from flywheel.profiles.walk import SpanRows

        for span in spans:
            if self._examples.rows_of([span]):
                rows = SpanRows(self._examples, span).digest
                made_of = (self._identity, rows, self._columns, self._task)
                yield self._kept.value(partial(self._ask, span), "answers", *made_of)

    def _ask(self, span: str) -> pa.Array:
        import pyarrow as pa

        if not self._loaded:
            self._loaded.append(load(str(self._folder), self._ledger))
        parts = gathered(self._examples.batches([span], self._columns))
        frames = (raw.frame(joined([each for _, each in part]))[self._columns] for part in parts)
        answers = [answer(CHAMPION, self._loaded[0], frame, self._task, self._classes) for frame in frames]
        return pa.concat_arrays(answers)


_QUALITY = {"binary": "auc", "multiclass": "accuracy", "multilabel": "macro_auc", "regression": "r2"}
"""More is better in each, and none depends on the label's unit: bars of history are drawn on them."""


def scorer(
    uri: str, ledger: str, examples: Examples, label: str, after: str, scratch: Path, task: str = "binary"
) -> Callable[[str], float | None]:
    """Return what gives the champion's quality on a span of `examples`; None where it cannot be measured.

    It is the AUC, the accuracy or the share of variance explained, by task.

    Args:
        uri: The champion's.
        ledger: MLflow tracking URI, whose registry holds it.
        examples: Raw rows by span.
        label: Column with the truth.
        after: The last span that it was trained on, empty when that is not known: up to there it is not asked.
        scratch: A folder for the model's files; it has to last as long as spans are scored.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
    """
    fetched: list[InService] = []

    def score(span: str) -> float | None:
        if span <= after:
            return None
        with quiet_mlflow(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder, FILE)
            try:
                if not fetched:
                    fetched.append(InService(uri, ledger, examples, label, task, scratch))
                write(examples, [span], {CHAMPION: fetched[0].answered([span])}, Wanted(label, task), file)
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
