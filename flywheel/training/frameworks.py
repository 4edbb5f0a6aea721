"""Which framework a model is of: one small protocol, one file a framework, imported only when it is met."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from flywheel.errors import TrainerError


class Framework(Protocol):
    """What a file such as `flywheel.training.keras` gives; each function is independent of the others."""

    def seed(self, seed: int) -> None:
        """Seed what the framework draws at random."""

    def save(self, model: Any, folder: Path, example: dict[str, NDArray[Any]]) -> None:
        """Write `model` to `folder`, so that `load` needs neither the user's code nor anything else.

        Args:
            model: The model.
            folder: Where to.
            example: Inputs of a few rows, to trace it with.
        """

    def load(self, folder: Path) -> Any:
        """Return the model that `save` wrote to `folder`."""

    def predict(self, model: Any, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
        """Return what the model gives for transformed columns of equal length, as it gives it."""

    def requirements(self) -> tuple[str, ...]:
        """Return the distributions that `load` and `predict` need."""


@dataclass(frozen=True)
class _Entry:
    base: str  # what models of this framework are instances of, as package.Class
    module: str
    accepted: str


FRAMEWORKS = {
    "keras": _Entry("keras.Model", "flywheel.training.keras", "a keras.Model"),
    "torch": _Entry("torch.Module", "flywheel.training.torch", "a torch.nn.Module"),
    "sklearn": _Entry("sklearn.BaseEstimator", "flywheel.training.sklearn", "a fitted scikit-learn classifier"),
}


def get(name: str) -> Framework:
    """Return the framework called `name`; it is imported now."""
    return cast(Framework, importlib.import_module(FRAMEWORKS[name].module))


def name_of(model: object, trainer: str) -> str:
    """Return the name of the framework that `model`, returned by `trainer`, is of; none is imported for it.

    Raises:
        TrainerError: It is no model of a known framework.
    """
    if model is None:
        raise TrainerError(f"{trainer} returned nothing", "end it with `return model`.")
    # A class is known by its top-level package and its name: where in keras.src it stands changes between versions.
    bases = {f"{base.__module__.split('.')[0]}.{base.__name__}" for base in type(model).__mro__}
    for name, entry in FRAMEWORKS.items():
        if entry.base in bases:
            return name
    found = f"{type(model).__module__}.{type(model).__qualname__}".removeprefix("builtins.")
    accepted = " or ".join(entry.accepted for entry in FRAMEWORKS.values())
    raise TrainerError(f"{trainer} returned {found!r}, which is no model", f"return {accepted}.")
