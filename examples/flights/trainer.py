"""A small network on flights: an embedding for every index, the numbers beside them, two dense layers."""

import keras
import numpy as np

from flywheel.training.context import TrainContext
from flywheel.training.keras import EpochLog, Validation


def train(context: TrainContext) -> keras.Model:
    parameters = {"units": 64, "dropout": 0.2, "rate": 0.003, "epochs": 8, "batch": 1024} | context.parameters
    model = build(context, parameters["units"], parameters["dropout"])
    model.compile(keras.optimizers.Adam(parameters["rate"]), "binary_crossentropy")
    model.optimizer.build(model.trainable_variables)  # made within the first step, it would be traced twice
    validation = Validation(*context.validation.arrays())  # as validation_data, and no graph of it is traced
    patience = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    model.fit(
        *context.train.arrays(),
        batch_size=parameters["batch"],
        epochs=parameters["epochs"],
        callbacks=[validation, patience, EpochLog(context)],
        verbose=0,
    )
    return model


def build(context: TrainContext, units: int, dropout: float) -> keras.Model:
    inputs, parts = {}, []
    for feature in context.features:
        index = feature.cardinality is not None
        entered = keras.Input((1,), name=feature.name, dtype="int32" if index else "float32")
        inputs[feature.name] = entered
        if index:
            width = min(16, int(np.ceil(feature.cardinality**0.5)))
            entered = keras.layers.Flatten()(keras.layers.Embedding(feature.cardinality, width)(entered))
        parts.append(entered)
    hidden = keras.layers.Concatenate()(parts)
    for size in (units, units // 2):
        hidden = keras.layers.Dense(size, activation="relu")(hidden)
        hidden = keras.layers.Dropout(dropout)(hidden)
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden))
