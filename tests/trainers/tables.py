"""Small worlds to train on, of each task, without a warehouse and a transform: rows as `transform` writes them."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from flywheel.artifacts import WEIGHT, Examples
from flywheel.training.context import FeatureSpec, TrainContext
from flywheel.training.rows import split

FEATURES = (
    FeatureSpec("size", "numeric", None),
    FeatureSpec("hour", "bucket", 5, (), "int32"),
    FeatureSpec("word", "category", 5, (), "int32"),
)


def context_in(folder: Path, task="binary", classes=None, rows=400, parameters=None, weights=None, **options):
    """A context of four spans; the label follows from a number and a word.

    Args:
        folder: Where its rows are written.
        task: As in flywheel.yaml.
        classes: Values of the label.
        rows: In each span.
        parameters: The trainer's.
        weights: Gives each row's weight from the rows' columns and labels; no column of weights without.
        options: Of TrainContext.
    """
    types = {"binary": pa.float32(), "multiclass": pa.int64(), "regression": pa.float32()}
    types["multilabel"] = pa.list_(pa.float32(), 2)
    fields = [("size", pa.float32()), ("hour", pa.int32()), ("word", pa.int32()), ("label", types[task])]
    schema = pa.schema(fields + ([(WEIGHT, pa.float64())] if weights else []))
    with Examples.writer(folder, schema, producer="transform") as writer:
        for number in range(4):
            columns, labels = rows_of(task, rows, number)
            values = [*columns.values(), labels] + ([weights(columns, labels)] if weights else [])
            arrays = [pa.array(list(value), field.type) for value, field in zip(values, schema, strict=True)]
            writer.write(f"2013-05-0{number + 1}", [pa.RecordBatch.from_arrays(arrays, schema=schema)])
    default = {"binary": (0, 1), "multiclass": ("a", "b", "c"), "multilabel": ("x", "y"), "regression": ()}[task]
    return TrainContext(
        *split(Examples.open(folder), "label", 1, FEATURES),
        FEATURES,
        "label",
        task,
        default if classes is None else classes,
        parameters or {},
        seed=1,
        **options,
    )


def rows_of(task, rows, seed):
    """Columns and labels of random rows."""
    random = np.random.default_rng(seed)
    columns = {
        "size": random.normal(size=rows).astype(np.float32),
        "hour": random.integers(0, 5, rows).astype(np.int32),
        "word": random.integers(0, 5, rows).astype(np.int32),
    }
    signal = 1.5 * columns["size"] + 2 * (columns["word"] == 2) - 1
    if task == "regression":
        return columns, (10 + 3 * signal + random.normal(size=rows)).astype(np.float32)
    if task == "multilabel":  # a quarter of the second one is not known
        both = np.stack([signal, -signal], axis=1)
        labels = (random.random((rows, 2)) < 1 / (1 + np.exp(-both))).astype(np.float32)
        labels[::4, 1] = np.nan
        return columns, labels
    if task == "binary":
        return columns, (random.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.float32)
    return columns, np.digitize(signal + random.logistic(size=rows) / 2, [-1, 1]).astype(np.int64)
