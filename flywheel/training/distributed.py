"""Several processes that train together, on one machine or several: PyTorch's own launcher, the one of torchrun."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, TrainerError

_MADE, _FAILED = "made", "failed"
_MEET_SECONDS = 1800  # for nodes that pull an image of gigabytes while others wait


@dataclass(frozen=True)
class Nodes:
    """The machines that train together.

    Attributes:
        count: How many.
        rank: Which of them this is, from 0; the first packages and logs what comes of it.
        address: Host of the first.
        port: Where it waits for the others.
    """

    count: int = 1
    rank: int = 0
    address: str = "localhost"
    port: int = 29500

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Nodes:
        """Return what Kubeflow Trainer's torch runtimes say in the environment; one machine where they say nothing."""
        return cls(
            int(environment.get("PET_NNODES", 1)),
            int(environment.get("PET_NODE_RANK", 0)),
            environment.get("PET_MASTER_ADDR", "localhost"),
            int(environment.get("PET_MASTER_PORT", 29500)),
        )


def launch(
    work: Callable[[Any, int, int], Any], job: Any, processes: int, *, gpus: bool, nodes: Nodes = Nodes()
) -> Any:
    """Return what `work(job, rank, world)` returns in the first of all processes; None on another node than its own.

    They find each other by `torch.distributed`, whose process group is there when `work` begins. When one fails, all
    end. SIGTERM goes on to all of them.

    Args:
        work: A function that can be imported.
        job: What it is given; pickled.
        processes: How many on this machine, as on every other.
        gpus: Whether each has a GPU.
        nodes: The machines that do this together, each by a call of its own.

    Raises:
        FlywheelError: What the process raised that failed first.
        TrainerError: It was killed, or raised something else.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="flywheel-together-") as name:
        config = LaunchConfig(
            min_nodes=nodes.count, max_nodes=nodes.count, nproc_per_node=processes, max_restarts=0, **_meet(nodes, name)
        )
        try:
            elastic_launch(config, _join)(work, job, name, gpus)
        except ChildFailedError as error:
            raise _first(Path(name), error) from error
        return pickle.loads((Path(name) / _MADE).read_bytes()) if nodes.rank == 0 else None


def _meet(nodes: Nodes, folder: str) -> dict[str, Any]:
    """Return where the processes find each other; ranks of several machines are those that they were given."""
    if nodes.count == 1:
        here = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "local_addr": "localhost"}
        return here | {"run_id": Path(folder).name}
    return {
        "rdzv_backend": "static",
        "rdzv_endpoint": f"{nodes.address}:{nodes.port}",
        "rdzv_configs": {"rank": nodes.rank, "timeout": _MEET_SECONDS},
        "run_id": "flywheel",
    }


def _join(work: Callable[[Any, int, int], Any], job: Any, folder: str, gpus: bool) -> None:
    """Do the work of one process: its rank and the others stand in the environment, as torchrun sets it."""
    import torch
    from torch import distributed

    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    try:
        if gpus:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // int(os.environ["LOCAL_WORLD_SIZE"])))
        distributed.init_process_group("nccl" if gpus else "gloo")
        made = work(job, rank, world)
        if rank == 0:
            Path(folder, _MADE).write_bytes(pickle.dumps(made))
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as error:
        kept = error if isinstance(error, FlywheelError) else TrainerError(f"{type(error).__name__}: {error}")
        file = Path(folder, f"{_FAILED}-{time.time():.6f}-{rank}")
        file.write_bytes(pickle.dumps((rank, kept)))
        raise


def _first(folder: Path, error: Any) -> FlywheelError:
    """Return what failed first: the others then failed for want of it."""
    files = sorted(folder.glob(f"{_FAILED}-*"))
    if files:
        rank, kept = pickle.loads(files[0].read_bytes())
        assert isinstance(kept, FlywheelError)
        return type(kept)(f"process {rank} of those that train together: {kept.message}", kept.remedy)
    rank, failure = error.get_first_failure()
    return TrainerError(
        f"process {rank} of those that train together ended with {failure.exitcode}: {failure.message}",
        "a negative number is a signal, -9 that of the kernel when memory runs out; its log says more.",
    )
