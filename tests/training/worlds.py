"""A small world to train on: two numbers and a word that say much about the label, four spans and one that judges."""

import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa

from flywheel.archive import pack
from flywheel.artifacts import Examples

SPANS = [f"2013-05-0{day}" for day in range(1, 6)]
FEATURES = [
    {"column": "size", "as": "numeric"},
    {"column": "hour", "as": "bucket", "quantiles": 4},
    {"column": "word", "as": "category", "top": 10},
]
SCHEMA = pa.schema([("size", pa.float64()), ("hour", pa.int64()), ("word", pa.string()), ("label", pa.int64())])

SKLEARN = """
    from sklearn.linear_model import LogisticRegression

    from flywheel.training.sklearn import matrix

    def train(context):
        columns, labels = context.train.arrays()
        return LogisticRegression(**context.parameters).fit(matrix(columns), labels)
"""
KERAS = """
    import keras

    def train(context):
        inputs = {f.name: keras.Input((1,), name=f.name) for f in context.features}
        joined = keras.layers.Concatenate()(list(inputs.values()))
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(joined))
        model.compile("adam", "binary_crossentropy")
        model.fit(*context.train.arrays(), epochs=1, verbose=0)
        return model
"""
TORCH = """
    from flywheel.trainers import torch_tabular

    def train(context):
        return torch_tabular.train(context)
"""


def examples_in(folder: Path, rows: int = 60, spans: list[str] = SPANS) -> Examples:
    """Write raw examples, `rows` a span."""
    with Examples.writer(folder, SCHEMA, producer="extract") as writer:
        for number, span in enumerate(spans):
            writer.write(span, [batch_of(rows, seed=number)])
    return Examples.open(folder)


def batch_of(rows: int, seed: int) -> pa.RecordBatch:
    """Random raw rows."""
    random = np.random.default_rng(seed)
    size, hour = random.normal(10, 3, rows), random.integers(0, 24, rows)
    word = random.choice(["a", "b", "c"], rows)
    chance = 1 / (1 + np.exp(-(size - 10 + (word == "a") * 2)))
    columns = [
        pa.array(size, mask=random.random(rows) < 0.1),
        pa.array(hour),
        pa.array(word, mask=random.random(rows) < 0.1),
        pa.array((random.random(rows) < chance).astype(np.int64)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def project_in(folder: Path, **files: str) -> Path:
    """Write Python files by module name and return their archive."""
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text).lstrip())
    return pack(folder, folder.parent / "archives")
