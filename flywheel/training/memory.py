"""Out of memory: known by its error, whatever library raised it, and said with what helps."""

from __future__ import annotations

import resource
import sys
from typing import Any

from flywheel.errors import TrainerError

_NAMES = ("MemoryError", "OutOfMemoryError", "ResourceExhaustedError", "ArrowMemoryError")
_WORDS = ("can't allocate memory", "not enough memory", "out of memory", "Unable to allocate")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether `error`, or what it came from, says that memory has run out."""
    while error is not None:
        named = any(base.__name__ in _NAMES for base in type(error).__mro__)
        if named or (isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)):
            return True
        error = error.__cause__
    return False


def explained(trainer: str, batch: Any) -> TrainerError:
    """Return the error that says that `trainer` ran out of memory with `batch` rows a batch, and its peak."""
    rows = f" with {int(batch):,} rows a batch" if isinstance(batch, int | float) else ""
    return TrainerError(
        f"trainer {trainer!r} ran out of memory{rows}; its peak was {peak()}",
        "halve parameters.batch (accumulate: 2 keeps the steps), stream with context.train.minibatches, or ask "
        "for more by train.resources.",
    )


def peak() -> str:
    """Return the most memory that this process has had, and the most that it has had of a GPU."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    said = f"{used / 2**30:.2f} GiB"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        said += f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of the GPU"
    return said
