"""A PyTorch module's arrays, and which of them are tables: what a warm start needs to know of it.

Where numbers enter cannot be seen from a module. So a model of PyTorch learns moved means and deviations anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

from flywheel.training.warm_start import Misfit, Weights, cardinalities

if TYPE_CHECKING:
    from flywheel.transform.state import State


def read(model: torch.nn.Module, state: State) -> Weights:
    """Return the arrays of a module whose embeddings stand in the order of the inputs that are indices.

    Raises:
        Misfit: They do not.
    """
    values = {_name(name): value.detach().cpu().numpy() for name, value in model.state_dict().items()}
    tables = [_name(f"{name}.weight") for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding)]
    indices = cardinalities(state)
    if tables and [len(values[table]) for table in tables] != list(indices.values()):
        raise Misfit("the embeddings do not stand in the order of the inputs, one for each that is an index")
    linear = [name for name, part in model.named_modules() if isinstance(part, torch.nn.Linear)][-1:]
    last = frozenset(name for name in values if linear and name.rpartition("/")[0] == linear[0])
    return Weights(values, dict(zip(tables, indices, strict=False)), {}, last)


def write(model: torch.nn.Module, values: dict[str, NDArray[Any]]) -> None:
    """Set the arrays that `values` has; the others stay."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if _name(name) in values:
                tensor.copy_(torch.from_numpy(values[_name(name)]))


def _name(name: str) -> str:
    """Return a parameter's name with its layer before a slash."""
    layer, _, part = name.rpartition(".")
    return f"{layer}/{part}"
