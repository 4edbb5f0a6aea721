"""Predictions by Beam's workers: models answer there, whole batches at a time, and here the answers are read in order.

What stands in the place of a model is one whose answers are known already: all that derives from them is made here, by
the same code as in process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import pyarrow as pa
from mlflow.models import Model

from flywheel.evaluation.answers import Answered, PredictionError, Unloaded, answer, asked_columns, classes_of
from flywheel.labels import columns_of
from flywheel.serving import inference
from flywheel.serving.inference import Answer, Models, Rows
from flywheel.serving.pyfunc import SEVERAL
from flywheel.transform import raw
from flywheel.transform.shards import shards_of

if TYPE_CHECKING:
    from flywheel.artifacts import Examples
    from flywheel.transform.beam import Job


@dataclass(frozen=True)
class Ask:
    """Asks every model about a batch: what workers are sent, beside the models.

    Attributes:
        inputs: Columns that each model is asked with.
        classes: That each gives probabilities of.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
    """

    inputs: Mapping[str, Sequence[str]]
    classes: Mapping[str, Sequence[str]]
    task: str

    def __call__(self, rows: Rows, models: Models) -> Answer:
        """Return one column a model."""
        frame = raw.frame(rows.batch)
        columns = {
            name: answer(name, model, frame[list(self.inputs[name])], self.task, self.classes[name])
            for name, model in models.items()
        }
        return Answer(pa.RecordBatch.from_arrays(list(columns.values()), list(columns)))


def predicted(
    examples: Examples, spans: Sequence[str], label: str, models: Mapping[str, Path], task: str, job: Job
) -> dict[str, Answered]:
    """Return what stands for each model after Beam's workers have asked all of them about all rows of `spans`.

    Args:
        examples: Raw rows.
        spans: Which of them.
        label: Column with the truth.
        models: MLflow folders by name.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        job: Where it runs; it has to last until the answers are read.

    Raises:
        DataError: A model needs a column that is not there.
        PredictionError: A model does not load, fails, or does not answer every row as its task wants.
    """
    about = {name: Unloaded(Model.load(str(folder))) for name, folder in models.items()}
    names = examples.schema.names
    labels = columns_of(label)
    inputs = {name: asked_columns(name, each, names, labels) for name, each in about.items()}
    classes = {name: classes_of(name, each) if task in SEVERAL else () for name, each in about.items()}
    columns = [name for name in names if name in {column for each in inputs.values() for column in each}]
    handler = inference.PackagedModels(inference.reachable(models, job), load, Ask(inputs, classes, task))
    done = inference.infer(shards_of(examples, spans), columns, handler, job)
    files = [each.good for each in done]

    def answers(name: str) -> Iterator[pa.Array]:
        return (batch.column(batch.schema.get_field_index(name)) for batch in inference.answered(files))

    return {name: Answered(name, about[name].metadata, classes[name], answers(name)) for name in models}


def load(folder: Path) -> Any:
    """Return the model in an MLflow folder.

    Raises:
        PredictionError: It does not load.
    """
    try:
        return mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
    except Exception as error:
        raise PredictionError(
            f"the model in {folder} does not load: {type(error).__name__}: {error}",
            "what its trainer imports must be importable on the workers too.",
        ) from error
