"""A network on tables, of Keras: an embedding for every index, the numbers beside them, dense layers."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import keras
from keras import layers, ops
from keras.callbacks import EarlyStopping
from pydantic import Field, model_validator

from flywheel.config.strict import Strict
from flywheel.errors import ConfigError
from flywheel.labels import MULTILABEL
from flywheel.say import say
from flywheel.trainers import calibration, losses, weighting
from flywheel.trainers.parameters import read
from flywheel.training.context import FeatureSpec, TrainContext
from flywheel.training.keras import EpochLog, Validation

_REGRESSION = {"squared": "mean_squared_error", "absolute": "mean_absolute_error", "huber": "huber"}


class Parameters(Strict):
    """`train.parameters`."""

    hidden: tuple[int, ...] = Field((64, 32), description="Units of each dense layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Share of units that are left out in training.")
    width: int = Field(16, ge=1, description="Most numbers in an embedding.")
    rate: float = Field(0.003, gt=0, description="Learning rate of Adam.")
    batch: int = Field(1024, ge=1, description="Rows a step.")
    epochs: int = Field(20, ge=1, description="At most so many passes over the rows.")
    patience: int = Field(2, ge=1, description="Stop when validation rows saw no better for so many epochs.")
    loss: Literal["squared", "absolute", "huber"] | losses.Loss | None = Field(
        None, description="cross_entropy, focal or generalised_cross_entropy; in a regression squared, absolute, huber."
    )
    gamma: float = Field(2.0, ge=1, description="How much less the focal loss counts rows that are right already.")
    q: float = Field(0.7, ge=0, le=1, description="How much less generalised cross entropy counts rows that are wrong.")
    class_weights: weighting.ClassWeights = Field(
        None, description="How much rows of each class count: `balanced`, or {value of the label: weight}."
    )
    prior_correction: bool = Field(False, description="Whether the model takes class weights out of its answers again.")
    calibrate: bool = Field(False, description="Scale probabilities by what validation rows say.")

    @model_validator(mode="after")
    def _correct_what_is_weighted(self) -> Parameters:
        if self.prior_correction and not self.class_weights:
            raise ValueError("prior_correction takes class weights back, and there are none: set class_weights")
        return self


def train(context: TrainContext) -> keras.Model:
    """Return the fitted network, with the weights of its best epoch."""
    parameters = read(Parameters, context.parameters)
    columns, labels = context.train.arrays()
    held, truth = context.validation.arrays()
    weights, counts = context.train.weights(), context.validation.weights()
    classes = weighting.of_classes(context, parameters.class_weights)
    inputs, logits = network(context, parameters)
    model, last = keras.Model(inputs, logits), logits._keras_history.operation
    shift, scale = _moments(context, labels)
    if context.warm_start(model).warm:
        _rescale(last, 1 / scale, -shift / scale)
    model.compile(keras.optimizers.Adam(parameters.rate), _loss(context, parameters), jit_compile=False)
    model.optimizer.build(model.trainable_variables)  # made within the first step, it would be traced twice
    model.fit(
        columns,
        (labels - shift) / scale,
        sample_weight=weighting.of_rows(labels, classes, weights),
        batch_size=parameters.batch,
        epochs=parameters.epochs,
        callbacks=[
            Validation(held, (truth - shift) / scale, weighting.of_rows(truth, classes, counts)),
            EarlyStopping(patience=parameters.patience, restore_best_weights=True),
            EpochLog(context),
        ],
        verbose=0,
    )
    if context.task == "regression":
        _rescale(last, scale, shift)
        return model
    if parameters.prior_correction and classes is not None:
        kernel, bias = last.get_weights()
        last.set_weights([kernel, bias - calibration.prior(classes)])
    if parameters.calibrate:
        found = calibration.keras(last, model.predict(held, batch_size=8192, verbose=0), truth, counts)
        say(f"calibrated: the temperature of validation rows is {calibration.shown(found)}")
    return keras.Model(inputs, layers.Activation("softmax" if context.task == "multiclass" else "sigmoid")(logits))


def network(context: TrainContext, parameters: Parameters) -> tuple[dict[str, Any], Any]:
    """Return inputs by name, and what the last dense layer gives: logits, or a value."""
    inputs = {each.name: keras.Input(each.shape or (1,), name=each.name, dtype=each.dtype) for each in context.features}
    parts = [_part(each, inputs[each.name], parameters.width) for each in context.features]
    hidden = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for number, units in enumerate(parameters.hidden):
        hidden = layers.Dense(units, activation="relu", name=f"hidden_{number + 1}")(hidden)
        hidden = layers.Dropout(parameters.dropout)(hidden)
    outputs = len(context.classes) if context.task in ("multiclass", MULTILABEL) else 1
    return inputs, layers.Dense(outputs, name="answer")(hidden)


def _part(feature: FeatureSpec, entered: Any, most: int) -> Any:
    """Return an input as numbers side by side; of several indices it is the mean of their embeddings."""
    if len(feature.shape) == 3:
        picture = layers.Rescaling(1 / 255)(entered)
        for filters in (16, 32):
            picture = layers.Conv2D(filters, 3, 2, "same", activation="relu")(picture)
        return layers.GlobalAveragePooling2D()(picture)
    if feature.cardinality is None:
        return layers.Flatten()(entered) if len(feature.shape) > 1 else entered
    # A power of two, so that a vocabulary that grows a little does not change the shape: it could not start warm.
    width = min(most, 2 ** math.ceil(math.log2(feature.cardinality) / 2))
    found = layers.Embedding(feature.cardinality, width, name=f"table_{feature.name}")(entered)
    if not feature.shape:
        return layers.Flatten()(found)
    there = ops.expand_dims(ops.cast(ops.not_equal(entered, 0), "float32"), -1)  # 0 fills rows of fewer indices
    return ops.sum(found * there, axis=1) / ops.maximum(ops.sum(there, axis=1), 1)


def _loss(context: TrainContext, parameters: Parameters) -> Any:
    known = tuple(_REGRESSION) if context.task == "regression" else get_args(losses.Loss)
    loss = parameters.loss or known[0]
    if loss not in known:
        raise ConfigError(
            f"train.parameters: the loss {loss!r} is none of a {context.task} task", f"take {', '.join(known)}."
        )
    if context.task == "regression":
        return _REGRESSION[loss]
    several = context.task == MULTILABEL
    return losses.keras(loss, parameters.gamma, parameters.q, several=several)  # type: ignore[arg-type]


def _moments(context: TrainContext, labels: Any) -> tuple[float, float]:
    """Return mean and deviation of the values to predict; of classes 0 and 1, which change nothing."""
    return (float(labels.mean()), float(labels.std()) or 1.0) if context.task == "regression" else (0.0, 1.0)


def _rescale(layer: Any, scale: float, shift: float) -> None:
    """Have a dense layer give `scale` times what it gives, and `shift` more."""
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel * scale, bias * scale + shift])
