"""`triton`: a model repository that NVIDIA Triton polls, each version ONNX, or a SavedModel where that is asked for."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.config import Triton
from flywheel.errors import MissingExtra
from flywheel.serving import pyfunc
from flywheel.serving.export import probe, savedmodel
from flywheel.serving.folder import Deployment, path_of
from flywheel.serving.targets import Order, Placed
from flywheel.serving.targets.versions import Built, VersionFolder

if TYPE_CHECKING:
    import pandas as pd

CONFIG = "config.pbtxt"
_TYPES = {
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "string": "TYPE_STRING",
}
_README = """# A model for NVIDIA Triton

    tritonserver --model-repository=<the folder above the model's> --model-control-mode=poll

It takes {what}: `config.pbtxt` names them. {how}
"""
_RAW = "A missing number is sent as NaN, a missing text as the empty string."
_TRANSFORMED = """They are what the transform makes of raw columns, as

    from flywheel.transform.state import State

    inputs = State.read("state.json").apply_frame(rows)

does with the `state.json` beside this file{joined}."""
_JOINED = "; a scikit-learn model takes them side by side as `features`, see `flywheel.training.sklearn.matrix`"


@dataclass(frozen=True)
class _Repository(VersionFolder):
    """A model's folder in a repository: its versions, and above them the configuration of the one that is served."""

    def _switch(self, version: str) -> None:
        """Put the version's own configuration in force first; it is the same as before, but when the inputs changed."""
        built, target = self.path / f".built-{version}", self.path / version
        wanted = ((built if built.exists() else target) / CONFIG).read_bytes()
        config = self.path / CONFIG
        if not config.exists() or config.read_bytes() != wanted:
            partial_config = self.path / f".{CONFIG}"
            partial_config.write_bytes(wanted)
            os.replace(partial_config, config)
        super()._switch(version)


class Target:
    """A model's folder in a model repository.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
    """

    def __init__(self, settings: Triton, name: str) -> None:
        self._folder = _Repository(path_of(settings.folder) / name, partial(build, settings, name), settings.keep)

    def current(self) -> Deployment | None:
        """Return the version of the highest number, which is the one that is served."""
        return self._folder.current()

    def put(self, order: Order) -> Placed:
        """Export the version and make it the highest number."""
        return self._folder.put(order)


def build(settings: Triton, name: str, model: Path, into: Path) -> Built:
    """Write the version folder of a packaged model, held against it on rows of every kind.

    Raises:
        ServingError: It cannot be exported, or answers something else.
        MissingExtra: What writes ONNX is not installed.
    """
    predictor = pyfunc.load(model)
    rows = probe.frame(predictor, model)
    shutil.copyfile(model / "data" / pyfunc.PAYLOAD / pyfunc.STATE, into / pyfunc.STATE)
    if settings.format == "savedmodel":
        return _saved_model(settings, name, predictor, rows, into)
    try:
        from flywheel.serving.export import onnx
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name!r} is not installed", "pip install 'ai-flywheel[onnx]'.") from error
    about = onnx.write(predictor, model, into, rows)
    seen = probe.parity(predictor, rows, lambda given: onnx.ask(predictor, into, given))
    inputs = {each.name: (each.dtype, each.shape) for each in about.inputs}
    outputs = {about.output.name: (about.output.dtype, about.output.shape)}
    (into / CONFIG).write_text(configuration(settings, name, "onnxruntime", inputs, outputs))
    how = _TRANSFORMED.format(joined=_JOINED if predictor.framework == "sklearn" else "")
    facts = {"format": "ONNX", "inputs": "transformed columns", "rows compared": seen.rows}
    return Built(facts | {"largest difference": seen.largest}, _README.format(what="transformed columns", how=how))


def configuration(
    settings: Triton,
    name: str,
    backend: str,
    inputs: dict[str, tuple[str, tuple[int, ...]]],
    outputs: dict[str, tuple[str, tuple[int, ...]]],
) -> str:
    """Return `config.pbtxt`; inputs and outputs are {name: (dtype, shape of one row)}."""
    lines = [f'name: "{name}"', f'backend: "{backend}"', f"max_batch_size: {settings.max_batch_size}"]
    for kind, tensors in (("input", inputs), ("output", outputs)):
        lines += [f"{kind} {{ {_tensor(key, dtype, shape)} }}" for key, (dtype, shape) in tensors.items()]
    lines += [
        "version_policy { latest { num_versions: 1 } }",
        f"instance_group {{ kind: {'KIND_GPU' if settings.gpu else 'KIND_CPU'} }}",
        "dynamic_batching { }",
    ]
    return "\n".join(lines) + "\n"


def _tensor(name: str, dtype: str, shape: tuple[int, ...]) -> str:
    # Triton knows no row without a dimension: a scalar is one of size 1, which the model does not see.
    dims = ", ".join(map(str, shape)) if shape else "1"
    return f'name: "{name}" data_type: {_TYPES[dtype]} dims: [ {dims} ]' + ("" if shape else " reshape { shape: [ ] }")


def _saved_model(settings: Triton, name: str, predictor: pyfunc.Predictor, rows: pd.DataFrame, into: Path) -> Built:
    folder = into / "model.savedmodel"
    about = savedmodel.write(predictor, folder, rows)
    seen = probe.parity(predictor, rows, lambda given: savedmodel.ask(predictor, folder, about, given))
    inputs = {key: (dtype, about.shapes[key]) for key, dtype in about.inputs.items()}
    (into / CONFIG).write_text(configuration(settings, name, "tensorflow", inputs, about.outputs))
    what = "raw columns" if about.raw else "transformed columns"
    facts = {"format": "SavedModel", "inputs": what, "rows compared": seen.rows, "largest difference": seen.largest}
    return Built(facts, _README.format(what=what, how=_RAW if about.raw else _TRANSFORMED.format(joined="")))
