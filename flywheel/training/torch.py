"""PyTorch modules: saved as the program that `torch.export` makes of them, without pickles and without their classes.

A module takes one dict of named tensors and gives what the task wants: probabilities, or values. It is used on the CPU.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flywheel.errors import TrainerError

FILE = "model.pt2"
_ROWS = 8192
_TRACED = 2  # rows that a module is traced with; 0 and 1 have meanings of their own to the tracer


def seed(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on all devices, and have it choose algorithms that give the same again."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False


def save(model: torch.nn.Module, folder: Path, example: dict[str, NDArray[Any]]) -> None:
    """Write `model` to `folder`.

    Raises:
        TrainerError: It cannot be exported, or keeps tensors of a class of its own.
    """
    inputs = tensors({name: np.resize(values, (_TRACED, *values.shape[1:])) for name, values in example.items()})
    batch = torch.export.Dim("batch", min=0)
    model = model.to("cpu").eval()
    try:
        with torch.no_grad():
            program = torch.export.export(model, (inputs,), dynamic_shapes=({name: {0: batch} for name in inputs},))
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise TrainerError(
            f"the model {type(model).__name__!r} cannot be exported: {type(error).__name__}: {reason[0][:300]}",
            "let `forward` take one dict of tensors, work on any number of rows, and choose by shapes, not by values "
            "(torch.where instead of if); torch.export.export shows the line.",
        ) from error
    own = [name for name, value in program.state_dict.items() if type(value) not in (torch.Tensor, torch.nn.Parameter)]
    if own:
        kind = type(program.state_dict[own[0]]).__name__
        raise TrainerError(
            f"the model keeps {own[0]!r} as a {kind}, which only a pickle could hold",
            "keep plain tensors; a quantised or distributed model is converted back before it is returned.",
        )
    _forget_origin(program)
    torch.export.save(program, folder / FILE)


def load(folder: Path) -> torch.nn.Module:
    """Return the model in `folder`, on the CPU."""
    return torch.export.load(folder / FILE).module()


def predict(model: torch.nn.Module, inputs: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the model's outputs, a batch at a time, as a float array."""
    rows = len(next(iter(inputs.values())))
    if not hasattr(model, "graph"):  # an exported program has left training behind, and refuses to be asked
        model = model.to("cpu").eval()
    given = tensors(inputs)
    with torch.inference_mode():
        parts = [
            model({name: values[start : start + _ROWS] for name, values in given.items()})
            for start in range(0, max(rows, 1), _ROWS)
        ]
    return np.asarray(torch.cat(parts).float().numpy())


def requirements() -> tuple[str, ...]:
    """Return PyTorch."""
    return ("torch",)


def tensors(inputs: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return arrays as tensors by name, in one order whatever the order of `inputs`."""
    return {name: _tensor(inputs[name]) for name in sorted(inputs)}


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    # Arrow's memory cannot be written to, which PyTorch warns of.
    return torch.from_numpy(values if values.flags.writeable and values.flags.c_contiguous else values.copy())


def _forget_origin(program: torch.export.ExportedProgram) -> None:
    """Drop the example and where in whose files each operation stood: equal models are equal files."""
    program._example_inputs = None
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
