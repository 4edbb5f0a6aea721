"""Predictions of several classes and of numbers, with ties, slices, and spans of unequal size."""

from dataclasses import replace

import numpy as np

from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import WEIGHT, Predictions

DAYS = tuple(f"2013-06-{day:02d}" for day in range(1, 15))
CLASSES = ("cat", "dog", "owl", "bee")
LABELS = ("toxic", "spam", "rare")


def multiclass(rows=2000, seed=0, noise=(1.0, 1.2), models=("candidate", "champion")):
    """Return two models that know the class in part; `bee` is rare, and never in the slice `none`."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(4, rows, p=[0.4, 0.3, 0.27, 0.03])
    scores = {}
    for name, by in zip(models, noise, strict=True):
        logits = draw.normal(0, by, (rows, 4))
        logits[np.arange(rows), labels] += 1.5
        scores[name] = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    zone = np.where(labels == 3, 0, draw.integers(0, 2, rows))
    return judged(labels, scores, draw, zone, "multiclass", CLASSES)


def multilabel(rows=2000, seed=0, noise=(1.0, 1.2), models=("candidate", "champion")):
    """Return two models of three labels, with ties; a fifth of `spam` is not known, and `rare` never in `none`."""
    draw = np.random.default_rng(seed)
    zone = draw.integers(0, 2, rows)
    labels = (draw.random((rows, 3)) < [0.4, 0.2, 0.1]).astype(np.int64)
    labels[zone == 1, 2] = 0
    scores = {
        name: (1 / (1 + np.exp(1 - 2 * labels - draw.normal(0, by, (rows, 3))))).round(2)
        for name, by in zip(models, noise, strict=True)
    }
    labels[draw.random(rows) < 0.2, 1] = -1
    return judged(labels, scores, draw, zone, "multilabel", LABELS)


def regression(rows=2000, seed=0, noise=(1.0, 1.2), models=("candidate", "champion"), offset=20.0):
    """Return two models of a count, with a naive forecast beside them; some labels are 0."""
    draw = np.random.default_rng(seed)
    labels = np.maximum(draw.normal(offset, 6, rows).round(), 0)
    labels[::97] = 0
    scores = {name: labels + draw.normal(0.2, by * 2, rows) for name, by in zip(models, noise, strict=True)}
    scores["naive"] = labels + draw.normal(0, 5, rows)
    return judged(labels, scores, draw, draw.integers(0, 2, rows), "regression", ())


def weighted(found, seed=5):
    """Return rows that count 0 to 3 times."""
    return replace(found, weights=np.random.default_rng(seed).integers(0, 4, len(found)).astype(float))


def repeated(found):
    """Return rows that stand as often as their weights say."""
    return replace(found.select(np.repeat(np.arange(len(found)), found.weights.astype(int))), weights=None)


def judged(labels, scores, draw, zone, task, classes):
    days = np.sort(draw.integers(0, len(DAYS), len(labels)))
    slices = {"zone": Groups(("any", "none"), zone)}
    return Predictions(labels, scores, Groups(DAYS, days), slices, task, classes)


def written(found, file):
    """Write predictions as analyze does."""
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    def listed(values):
        return (
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1]) if values.ndim == 2 else values
        )

    columns = {"span": [found.spans.keys[code] for code in found.spans.codes], "label": listed(found.labels)}
    columns |= {name: [groups.keys[code] for code in groups.codes] for name, groups in found.slices.items()}
    columns |= {name: listed(scores) for name, scores in found.scores.items()}
    columns |= {WEIGHT: found.weights} if found.weights is not None else {}
    about = {"flywheel": json.dumps({"task": found.task, "classes": list(found.classes)})}
    pq.write_table(pa.table(columns).replace_schema_metadata(about), file)
    return file
