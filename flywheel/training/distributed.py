"""Several processes of one machine that train together, a GPU each: PyTorch's own launcher, the one of torchrun."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flywheel.errors import FlywheelError, TrainerError

_MADE, _FAILED = "made", "failed"


def launch(work: Callable[[Any, int, int], Any], job: Any, processes: int, *, gpus: bool) -> Any:
    """Return what `work(job, rank, world)` returns in the first of `processes` processes.

    They find each other by `torch.distributed`, whose process group is there when `work` begins. When one fails, all
    end. SIGTERM goes on to all of them.

    Args:
        work: A function that can be imported.
        job: What it is given; pickled.
        processes: How many.
        gpus: Whether each has a GPU.

    Raises:
        FlywheelError: What the process raised that failed first.
        TrainerError: It was killed, or raised something else.
        SystemExit: This process was asked to end, by SIGTERM.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory(prefix="flywheel-together-") as name:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            run_id=Path(name).name,
            max_restarts=0,
        )
        try:
            elastic_launch(config, _join)(work, job, name, gpus)
        except ChildFailedError as error:
            raise _first(Path(name), error) from error
        except SignalException as error:  # the others have had it too, and kept what is to be kept
            raise SystemExit(128 + error.sigval) from error
        return pickle.loads((Path(name) / _MADE).read_bytes())


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
