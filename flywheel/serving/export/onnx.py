"""A packaged model as ONNX: what the transform makes of raw columns in, one number a row or one a class out.

ONNX has no tables for the texts of a transform that servers know without plug-ins; so the transform stays outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from flywheel.errors import FlywheelError, MissingExtra, ServingError
from flywheel.labels import MULTILABEL
from flywheel.serving.pyfunc import PAYLOAD, PREDICTION, Predictor

if TYPE_CHECKING:
    import pandas as pd

FILE, OPSET, MATRIX = "model.onnx", 18, "features"


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        name: Of it.
        dtype: NumPy's name of its type.
        shape: Of one row.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Onnx:
    """What was written.

    Attributes:
        inputs: What it takes.
        output: What it gives: `prediction` of shape (), or (classes,).
    """

    inputs: tuple[Tensor, ...]
    output: Tensor


def write(predictor: Predictor, packaged: Path, folder: Path, rows: pd.DataFrame) -> Onnx:
    """Write `model.onnx` to `folder`.

    Args:
        predictor: The packaged model.
        packaged: Its folder.
        folder: Where to.
        rows: Raw rows, to see what the transform makes of them.

    Raises:
        ServingError: The model has a part that ONNX, or the converter, does not know.
        MissingExtra: The framework's converter is not installed.
    """
    given = predictor.state.apply_frame(rows[:2])
    try:
        made = _CONVERTERS[predictor.framework](predictor, packaged, given)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name!r} is not installed", "pip install 'ai-flywheel[onnx]'.") from error
    except FlywheelError:
        raise
    except Exception as error:
        raise ServingError(
            f"the model cannot be written as ONNX: {type(error).__name__}: {str(error)[:500]}",
            "deploy it to `kserve` or `local`, which take any model.",
        ) from error
    onnx.save(made, str(folder / FILE))
    shape = predictor.answers(given).shape[1:]
    if predictor.framework == "sklearn":
        given = {MATRIX: _matrix(given)}
    inputs = tuple(Tensor(name, str(array.dtype), array.shape[1:]) for name, array in given.items())
    return Onnx(inputs, Tensor(PREDICTION, "float32", shape))


def ask(predictor: Predictor, folder: Path, rows: pd.DataFrame) -> NDArray[Any]:
    """Return what `model.onnx` in `folder` answers to raw rows, by ONNX Runtime."""
    given = predictor.state.apply_frame(rows)
    if predictor.framework == "sklearn":
        given = {MATRIX: _matrix(given)}
    session = onnxruntime.InferenceSession(str(folder / FILE), providers=["CPUExecutionProvider"])
    wanted = {each.name for each in session.get_inputs()}
    return np.asarray(session.run([PREDICTION], {name: array for name, array in given.items() if name in wanted})[0])


def _keras(predictor: Predictor, packaged: Path, given: dict[str, NDArray[Any]]) -> Any:
    import tensorflow as tf
    import tf2onnx

    from flywheel.serving.export.savedmodel import called

    specs = [tf.TensorSpec([None, *array.shape[1:]], array.dtype, name) for name, array in given.items()]

    def answer(*columns: Any) -> Any:
        return called(predictor, dict(zip(given, columns, strict=True)))

    made, _ = tf2onnx.convert.from_function(tf.function(answer, input_signature=specs), specs, opset=OPSET)
    return _named(made, made.graph.output[0].name)


def _torch(predictor: Predictor, packaged: Path, given: dict[str, NDArray[Any]]) -> Any:
    import ml_dtypes
    import torch

    from flywheel.training.torch import FILE as PROGRAM

    if not hasattr(
        ml_dtypes, "float8_e8m0fnu"
    ):  # what writes ONNX for PyTorch needs 0.5, TensorFlow 2.16 keeps it back
        raise ServingError(
            f"PyTorch writes no ONNX beside ml-dtypes {ml_dtypes.__version__}, to which TensorFlow 2.16 holds",
            "deploy from Python 3.12 or later, or to `kserve` or `local`.",
        )

    program = torch.export.load(packaged / "data" / PAYLOAD / PROGRAM)
    made = torch.onnx.export(
        program, dynamo=True, input_names=sorted(given), output_names=["raw"], opset_version=OPSET, verbose=False
    )
    assert made is not None
    return _named(made.model_proto, "raw")


def _sklearn(predictor: Predictor, packaged: Path, given: dict[str, NDArray[Any]]) -> Any:
    import skl2onnx
    from skl2onnx.common.data_types import FloatTensorType

    model = predictor.model
    several = hasattr(model, "predict_proba")
    if predictor.state.task == MULTILABEL:
        raise ServingError(
            "scikit-learn models of several labels are not written as ONNX", "deploy it to `kserve` or `local`."
        )
    made = skl2onnx.to_onnx(
        model,
        initial_types=[(MATRIX, FloatTensorType([None, _matrix(given).shape[1]]))],
        options={id(model): {"zipmap": False}} if several else None,
        target_opset=OPSET,
    )
    one = several and predictor.state.task == "binary"
    column = list(model.classes_).index(1) if one else None
    return _named(made, made.graph.output[-1].name, column)


_CONVERTERS: dict[str, Callable[[Predictor, Path, dict[str, NDArray[Any]]], Any]] = {
    "keras": _keras,
    "torch": _torch,
    "sklearn": _sklearn,
}


def _matrix(given: dict[str, NDArray[Any]]) -> NDArray[Any]:
    from flywheel.training.sklearn import matrix

    return matrix(given).astype(np.float32)


def _named(model: Any, output: str, column: int | None = None) -> Any:
    """Return `model` with one output `prediction`: a column of `output`, or all of it, of shape (rows,) if it can."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    value = next(each for each in graph.output if each.name == output)
    dims = value.type.tensor_type.shape.dim
    width = dims[1].dim_value if len(dims) == 2 else 1
    last = output
    if column is not None:
        graph.initializer.append(numpy_helper.from_array(np.array(column, np.int64), "flywheel_column"))
        graph.node.append(helper.make_node("Gather", [last, "flywheel_column"], ["flywheel_chosen"], axis=1))
        last = "flywheel_chosen"
    shape: list[Any] = ["rows"] if column is not None or width == 1 else ["rows", width]
    graph.initializer.append(numpy_helper.from_array(np.array([-1, *shape[1:]], np.int64), "flywheel_shape"))
    graph.node.append(helper.make_node("Reshape", [last, "flywheel_shape"], [f"{PREDICTION}_raw"]))
    graph.node.append(helper.make_node("Cast", [f"{PREDICTION}_raw"], [PREDICTION], to=TensorProto.FLOAT))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(PREDICTION, TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)
    return model
