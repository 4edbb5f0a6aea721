"""What a PyTorch training is at a moment, as the bytes of a checkpoint and back, without pickled code."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
import torch

from flywheel.say import say
from flywheel.trainers.torch_sharded import shares, whole
from flywheel.training.checkpoints import Checkpoints


@dataclass
class Position:
    """How far training is.

    Attributes:
        epoch: Epochs that are done.
        batch: Batches of the next one that are done.
        step: Steps of the optimiser that are done.
        worse: Epochs in a row that were no better than the best.
        best_loss: Validation loss of the best epoch.
        best: Its weights.
        reserve: Seconds to leave for the last look at the validation rows.
        over: Whether the time budget is over.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    worse: int = 0
    best_loss: float = math.inf
    best: dict[str, torch.Tensor] | None = None
    reserve: float = field(default=0.0, compare=False)
    over: bool = field(default=False, compare=False)


def snapshot(state: Any, *, keep: bool = True) -> Any:
    """Return a copy of `state` on the CPU, which training does not go on to change.

    Args:
        state: Where processes share its tensors, all of them have to ask; each is made whole by itself.
        keep: Whether to keep the tensors; else this process only takes part.
    """
    if isinstance(state, torch.Tensor):
        values = whole(state.detach())
        return values.to("cpu", copy=True) if keep else None
    if isinstance(state, Mapping):
        return {key: snapshot(value, keep=keep) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(snapshot(value, keep=keep) for value in state)
    return state


def dump(state: dict[str, Any], at: Position, device: torch.device) -> Callable[[], bytes]:
    """Return what gives the bytes of a snapshot, of where training is now and of all random states."""
    numpy: Any = np.random.get_state()
    content = {
        "state": state,
        "at": {key: value for key, value in vars(at).items() if key not in ("reserve", "over")},
        "random": {
            "python": random.getstate(),
            "numpy": (numpy[0], numpy[1].tolist(), *numpy[2:]),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        },
    }

    def write() -> bytes:
        stream = BytesIO()
        torch.save(content, stream)
        return stream.getvalue()

    return write


def read(checkpoints: Checkpoints, device: torch.device) -> dict[str, Any] | None:
    """Return the newest checkpoint that can be read; None when there is none."""
    for number, content in checkpoints.newest():
        try:
            found: dict[str, Any] = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a damaged file makes of the reader: the one before is as good
            say(f"the checkpoint of step {number:,} cannot be read, the one before is taken: {error}")
            continue
        say(f"goes on from the checkpoint of step {number:,}")
        return found
    return None


def restore(found: dict[str, Any], parts: Mapping[str, Any], device: torch.device) -> Position:
    """Bring `parts` and the random states to what they were; return how far training was."""
    for name, part in parts.items():
        part.load_state_dict(shares(found["state"][name], part))
    states = found["random"]
    random.setstate(states["python"])
    kind, keys, *rest = states["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    return Position(**found["at"])
