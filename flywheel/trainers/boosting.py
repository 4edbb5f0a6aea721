"""Gradient-boosted trees of scikit-learn: trained in seconds, hard to beat on tables, the baseline of every model."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.multioutput import MultiOutputClassifier

from flywheel.config.strict import Strict
from flywheel.errors import TrainerError
from flywheel.labels import MULTILABEL
from flywheel.say import say
from flywheel.trainers import calibration, weighting
from flywheel.trainers.parameters import check_known, read
from flywheel.training.context import FeatureSpec, TrainContext
from flywheel.training.sklearn import matrix

Matrix = NDArray[Any]
MOST = 255  # values that a categorical input may have; those with more are taken as numbers, the rarer the larger


class Parameters(Strict):
    """`train.parameters`; any other is handed to scikit-learn as it is, as `max_leaf_nodes: 63`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    max_iter: int = Field(500, ge=1, description="At most so many trees, for each class.")
    learning_rate: float = Field(0.1, gt=0)
    patience: int = Field(20, ge=1, description="Stop when validation rows saw no better for so many trees.")
    class_weights: weighting.ClassWeights = Field(
        None, description="How much rows of each class count: `balanced`, or {value of the label: weight}."
    )
    calibrate: bool = Field(False, description="Scale probabilities by what validation rows say.")


def train(context: TrainContext) -> BaseEstimator:
    """Return boosted trees (Ke et al. 2017, as scikit-learn has them), stopped when validation rows get no better.

    Of several labels each has trees of its own, fitted on the rows of which it is known.
    """
    parameters = read(Parameters, context.parameters)
    columns, labels = context.train.arrays()
    held, truth = context.validation.arrays()
    rows = _Part(matrix(columns), labels, context.train.weights())
    checked = _Part(matrix(held), truth, context.validation.weights())
    if context.task != MULTILABEL:
        return _fitted(context, parameters, rows, checked)
    model = MultiOutputClassifier(_model(context, parameters))
    model.estimators_ = [
        _fitted(context, parameters, rows.of(index), checked.of(index), str(name))
        for index, name in enumerate(context.classes)
    ]
    model.classes_, model.n_features_in_ = [each.classes_ for each in model.estimators_], rows.features.shape[1]
    return model


@dataclass(frozen=True)
class _Part:
    """Rows to fit on, or to stop by: features, labels, and how much each counts."""

    features: Matrix
    labels: Matrix
    weights: Matrix | None

    def of(self, label: int) -> _Part:
        """Return the rows of which one of several labels is known."""
        known = ~np.isnan(self.labels[:, label])
        return _Part(
            self.features[known], self.labels[known, label], None if self.weights is None else self.weights[known]
        )


def _fitted(context: TrainContext, parameters: Parameters, rows: _Part, held: _Part, label: str = "") -> Any:
    """Return trees of one label; those of several are told apart by its name.

    Raises:
        TrainerError: One of several labels is the same in all rows, or in all that training stops by.
    """
    if label and any(len(np.unique(part.labels)) < 2 for part in (rows, held)):
        raise TrainerError(
            f"the label {label!r} is the same in all rows to train or to validate on where it is known",
            "widen source.window, or take that label out of `label`.",
        )
    classes = weighting.of_classes(context, parameters.class_weights)
    weights = weighting.of_rows(rows.labels, classes, rows.weights)
    counts = weighting.of_rows(held.labels, classes, held.weights)
    model = _model(context, parameters)
    model.fit(
        *_every_class(context, rows.features, rows.labels, weights),
        X_val=held.features,
        y_val=held.labels,
        sample_weight_val=counts,
    )
    for tree, score in enumerate(model.validation_score_):
        context.log(f"val_loss_{label}" if label else "val_loss", -score, tree)
    of = f" of {label}" if label else ""
    say(f"{model.n_iter_} rounds of boosting{of}; the loss of validation rows is {-max(model.validation_score_):.4f}")
    return calibration.sklearn(model, held.features, held.labels, held.weights) if parameters.calibrate else model


def categorical(features: tuple[FeatureSpec, ...]) -> list[bool]:
    """Return which columns of the matrix hold categories; buckets are in an order, which trees make use of."""
    return [
        feature.cardinality is not None and feature.cardinality < MOST and feature.kind != "bucket"
        for feature in features
        for _ in range(math.prod(feature.shape))
    ]


def _model(context: TrainContext, parameters: Parameters) -> Any:
    options: dict[str, Any] = {
        "max_iter": parameters.max_iter,
        "learning_rate": parameters.learning_rate,
        "n_iter_no_change": parameters.patience,
        "early_stopping": True,
        "scoring": "loss",
        "random_state": context.seed,
        "categorical_features": categorical(context.features),
    }
    kind = HistGradientBoostingRegressor if context.task == "regression" else HistGradientBoostingClassifier
    own = {key: _whole(value) for key, value in (parameters.model_extra or {}).items()}
    check_known(own, [*inspect.signature(kind).parameters, *Parameters.model_fields])
    return kind(**options | own)


def _every_class(context: TrainContext, features: Matrix, labels: Matrix, weights: Matrix | None) -> tuple[Any, ...]:
    """Return (features, labels, weights), with a row of next to no weight for each class that no row has.

    A model of scikit-learn knows the classes that it was fitted on, and no others.
    """
    absent = np.setdiff1d(np.arange(len(context.classes)), labels)
    if context.task != "multiclass" or not len(absent):
        return features, labels, weights
    given = np.ones(len(labels), np.float32) if weights is None else weights
    return (
        np.concatenate([features, np.repeat(features[:1], len(absent), 0)]),
        np.concatenate([labels, absent]),
        np.concatenate([given, np.full(len(absent), 1e-6, np.float32)]),
    )


def _whole(value: Any) -> Any:
    """Return a whole number as an int: Kubeflow hands all of them on as floating-point ones."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
