"""`tfserving`: version folders that TensorFlow Serving polls, each a SavedModel that takes raw columns."""

from __future__ import annotations

import json
from pathlib import Path

from flywheel.config import TFServing
from flywheel.errors import ServingError
from flywheel.serving import pyfunc
from flywheel.serving.export import probe, savedmodel
from flywheel.serving.folder import Deployment, path_of
from flywheel.serving.targets import Order, Placed
from flywheel.serving.targets.versions import Built, VersionFolder

_README = """# A SavedModel for TensorFlow Serving

The signature `serving_default` takes {what}, each of shape (rows,):

{inputs}

{missing}

It gives {outputs}. Serve it with

    tensorflow_model_server --rest_api_port=8501 --model_name=NAME --model_base_path=<the folder above this one>

and ask it with

    curl -d '{{"instances": [{instance}]}}' localhost:8501/v1/models/NAME:predict
"""
_MISSING = "A missing number is sent as NaN, a missing text as the empty string."
_TRANSFORMED = "They are what the transform makes of raw columns: `data/flywheel/state.json` of the model says how."


class Target:
    """A model base path.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
    """

    def __init__(self, settings: TFServing, name: str) -> None:
        self._folder = VersionFolder(path_of(settings.folder) / name, build, settings.keep)

    def current(self) -> Deployment | None:
        """Return the version of the highest number, which is the one that is served."""
        return self._folder.current()

    def put(self, order: Order) -> Placed:
        """Export the version and make it the highest number."""
        return self._folder.put(order)


def build(model: Path, into: Path) -> Built:
    """Write the SavedModel of a packaged model, held against it on rows of every kind.

    Raises:
        ServingError: It cannot be exported, or answers something else.
    """
    try:
        predictor = pyfunc.load(model)
    except FileNotFoundError as error:
        raise ServingError(f"{model.name!r} is no model that flywheel packaged: {error}", "train it again.") from error
    rows = probe.frame(predictor, model)
    about = savedmodel.write(predictor, into, rows)
    seen = probe.parity(predictor, rows, lambda given: savedmodel.ask(predictor, into, about, given))
    facts = {
        "format": "SavedModel",
        "inputs": "raw columns" if about.raw else "transformed columns",
        "signature": about.inputs,
        "rows compared": seen.rows,
        "largest difference": seen.largest,
    }
    return Built(facts, _readme(about))


def _readme(about: savedmodel.SavedModel) -> str:
    instance = {name: "AA" if dtype == "string" else 1.0 for name, dtype in about.inputs.items()}
    return _README.format(
        what="the raw columns" if about.raw else "transformed columns",
        inputs="\n".join(f"- `{name}`: {dtype}" for name, dtype in about.inputs.items()),
        missing=_MISSING if about.raw else _TRANSFORMED,
        outputs=", ".join(f"`{name}`" for name in about.outputs),
        instance=json.dumps(instance),
    )
