"""A packaged Keras model as a LiteRT (TFLite) file, its numbers quantised or not; transformed inputs in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from flywheel.errors import ServingError
from flywheel.serving.export.savedmodel import called
from flywheel.serving.pyfunc import Predictor

if TYPE_CHECKING:
    import pandas as pd

FILE = "model.tflite"
Quantise = Literal["none", "dynamic", "int8"]


def write(predictor: Predictor, folder: Path, rows: pd.DataFrame, quantise: Quantise) -> dict[str, str]:
    """Write `model.tflite` to `folder` and return its inputs, {name: dtype}, each of one row.

    Args:
        predictor: The packaged model.
        folder: Where to.
        rows: Raw rows that stand for those to come; `int8` takes its ranges from them.
        quantise: `none`; weights as 8-bit integers (`dynamic`); activations too (`int8`).

    Raises:
        ServingError: The model is of another framework, or has a part that LiteRT does not know.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    if predictor.framework != "keras":
        raise ServingError(
            f"a model of {predictor.framework!r} is no LiteRT file: that takes a Keras one",
            "deploy it to `triton` as ONNX, to `kserve` or `local`.",
        )
    given = predictor.state.apply_frame(rows)
    specs = [tf.TensorSpec([1, *array.shape[1:]], array.dtype, name) for name, array in given.items()]

    def answer(*columns: Any) -> Any:
        return called(predictor, dict(zip(given, columns, strict=True)))

    try:
        # The converter of TensorFlow 2.16 aborts the process over the variables of Keras 3; not over constants.
        frozen = convert_variables_to_constants_v2(tf.function(answer, input_signature=specs).get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        if quantise != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantise == "int8":
            converter.representative_dataset = lambda: _representative(given)
        (folder / FILE).write_bytes(converter.convert())
    except Exception as error:
        raise ServingError(
            f"the model cannot be written for LiteRT: {type(error).__name__}: {str(error)[:500]}",
            "use layers that LiteRT knows, or deploy it to `kserve` or `local`.",
        ) from error
    return {name: str(array.dtype) for name, array in given.items()}


def ask(predictor: Predictor, folder: Path, rows: pd.DataFrame) -> NDArray[Any]:
    """Return what the file in `folder` answers to raw rows, one after the other as a device asks."""
    import tensorflow as tf

    given = predictor.state.apply_frame(rows)
    interpreter = tf.lite.Interpreter(str(folder / FILE))
    interpreter.allocate_tensors()
    places = {each["name"].split(":")[0]: each["index"] for each in interpreter.get_input_details()}
    output = interpreter.get_output_details()[0]["index"]
    answers = []
    for row in range(len(rows)):
        for name, index in places.items():
            interpreter.set_tensor(index, given[name][row : row + 1])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(output).reshape(-1))
    return np.stack(answers)


def _representative(given: dict[str, NDArray[Any]]) -> Iterator[list[NDArray[Any]]]:
    for row in range(len(next(iter(given.values())))):
        yield [array[row : row + 1] for array in given.values()]
