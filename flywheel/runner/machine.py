"""What this machine has for steps, and what a step takes of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from flywheel.runner.spec import Container

_NVIDIA = Path("/proc/driver/nvidia/gpus")
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Cost:
    """What a step takes while it runs."""

    cores: int
    gpus: tuple[str, ...] = ()


@dataclass
class Machine:
    """Cores and GPUs that are free now."""

    cores: int
    """All of them, free or not."""
    gpus: tuple[str, ...] = ()
    """Their names, as CUDA_VISIBLE_DEVICES has them."""
    shares_gpus: bool = True
    """Whether steps that ask for no GPU see them all: so it is when no step asks."""
    free_cores: int = 0
    free_gpus: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free_cores, self.free_gpus = self.cores, list(self.gpus)

    def take(self, container: Container) -> Cost | str:
        """Return what a step takes, now taken, or what it has to wait for: `cores` or `gpus`.

        A step never waits for more than the machine has.
        """
        cores = min(max(container.cores, 1), self.cores)
        gpus = min(container.gpus, len(self.gpus))
        if cores > self.free_cores:
            return "cores"
        if gpus > len(self.free_gpus):
            return "gpus"
        self.free_cores -= cores
        taken, self.free_gpus = self.free_gpus[:gpus], self.free_gpus[gpus:]
        return Cost(cores, tuple(taken))

    def give_back(self, cost: Cost) -> None:
        """Free what a step has taken."""
        self.free_cores += cost.cores
        self.free_gpus += cost.gpus

    def environment(self, cost: Cost) -> dict[str, str]:
        """Return the variables that keep a step to its GPUs."""
        if not self.gpus or (self.shares_gpus and not cost.gpus):
            return {}
        return {_VISIBLE: ",".join(cost.gpus)}


def find_machine(jobs: int | None, *, gpus_asked: bool) -> Machine:
    """Return this machine.

    Args:
        jobs: How many cores to use; all that this process may use when not given.
        gpus_asked: Whether any step asks for GPUs of its own; if not, they are shared.
    """
    return Machine(max(1, jobs or _cores()), _gpus() if gpus_asked else (), shares_gpus=not gpus_asked)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus() -> tuple[str, ...]:
    if _VISIBLE in os.environ:
        return tuple(name.strip() for name in os.environ[_VISIBLE].split(",") if name.strip())
    count = len(list(_NVIDIA.iterdir())) if _NVIDIA.is_dir() else _told_by_tool()
    return tuple(str(number) for number in range(count))


def _told_by_tool() -> int:
    """Return how many GPUs NVIDIA's own tool lists: inside a container there is no folder that tells."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return 0
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
