"""Transformed rows of any kind of input, and the context of a trainer on them."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from flywheel.artifacts import WEIGHT, Examples
from flywheel.training.context import FeatureSpec, TrainContext
from flywheel.training.rows import Share, split

SPANS = [f"2013-05-0{day}" for day in range(1, 5)]
FEATURES = (
    FeatureSpec("size", "numeric", None),
    FeatureSpec("a.word", "category", 8, (), "int32"),
    FeatureSpec("tags", "list", 6, (3,), "int32"),
    FeatureSpec("vector", "embedding", None, (4,)),
)
IMAGE = FeatureSpec("picture", "image", None, (8, 8, 1), "uint8")
TYPES = {
    "size": pa.float32(),
    "a.word": pa.int32(),
    "tags": pa.list_(pa.int32(), 3),
    "vector": pa.list_(pa.float32(), 4),
    "picture": pa.binary(),
}


def context_of(
    folder: Path, rows=200, task="binary", images=False, weights=None, features=None, share=None, **given
) -> TrainContext:
    """Return the context of a trainer on random rows whose label follows from them.

    Args:
        folder: Where the examples go, unless they are there.
        rows: Rows a span.
        task: The task; multiclass has three classes.
        images: Whether there is an image, whose brightness alone says what the label is.
        weights: Gives weights of labels.
        features: The inputs, in place of all.
        share: What one of several processes gets.
        given: Other attributes of the context.
    """
    features = features or ((*FEATURES[:1], IMAGE) if images else FEATURES)
    types = {"label": pa.int64() if task == "multiclass" else pa.float32()} | {f.name: TYPES[f.name] for f in features}
    if weights:
        types[WEIGHT] = pa.float32()
    schema = pa.schema(types.items())
    if not folder.exists():
        with Examples.writer(folder, schema, producer="transform") as writer:
            for number, span in enumerate(SPANS):
                writer.write(span, [_batch(rows, number, task, schema, weights)])
    examples, share = Examples.open(folder), share or Share()
    classes = {"binary": (0, 1), "multiclass": ("low", "middle", "high"), "regression": ()}[task]
    given = {"task": task, "classes": classes, "rank": share.rank, "world": share.world} | given
    return TrainContext(*split(examples, "label", 3, features, share), features, "label", **given)


def _batch(rows, seed, task, schema, weights):
    random = np.random.default_rng(seed)
    size, word = random.normal(size=rows).astype(np.float32), random.integers(0, 8, rows).astype(np.int32)
    tags, vector = random.integers(0, 6, (rows, 3)).astype(np.int32), random.normal(size=(rows, 4)).astype(np.float32)
    bright = random.integers(0, 256, rows)
    score = (
        size + (word > 3) + (tags == 5).any(1) + vector[:, 0] - 1 if "picture" not in schema.names else bright / 64 - 2
    )
    label = {"binary": score > 0, "multiclass": np.digitize(score, [-0.5, 0.7]), "regression": 100 + 20 * score}[task]
    columns = {
        "label": pa.array(np.asarray(label), schema.field("label").type),
        "size": pa.array(size),
        "a.word": pa.array(word),
        "tags": pa.FixedSizeListArray.from_arrays(pa.array(tags.reshape(-1)), 3),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vector.reshape(-1)), 4),
        "picture": pa.array([_png(value, random) for value in bright]),
        WEIGHT: pa.array(weights(label) if weights else np.ones(rows), pa.float32()),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


def _png(bright, random):
    pixels = np.clip(bright + random.integers(-9, 10, (8, 8)), 0, 255).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
