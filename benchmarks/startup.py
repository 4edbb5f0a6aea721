"""What it costs to import flywheel, to ask the command for help, and to start a step in its container."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks import Figure, figure

PYTHON = [sys.executable]
KFP = Path(sys.executable).with_name("kfp")
IMAGE = os.environ.get("FLYWHEEL_TEST_IMAGE", "")
_EXECUTOR = "import importlib, kfp.dsl.executor_main, flywheel.components as c; c.plan"
_VALIDATE = f"{_EXECUTOR}; from flywheel.steps import validate; [importlib.import_module(m) for m in validate.PRELOAD]"


def figures() -> list[Figure]:
    """Measure imports and help, each against its peer in turns."""
    bare, ours = in_turns(21, [*PYTHON, "-c", "pass"], [*PYTHON, "-c", "import flywheel"])
    kfp, flywheel = in_turns(5, [*PYTHON, str(KFP), "--help"], [*PYTHON, "-m", "flywheel", "--help"])
    return [
        figure("import flywheel, over a bare interpreter", 1000 * (ours - bare), "ms", at_most=50),
        figure("interpreter with flywheel", 1000 * ours, "ms", peer="python -c pass", peer_value=1000 * bare),
        figure("flywheel --help", flywheel, "s", at_most=0.4, peer="kfp --help", peer_value=kfp),
        *(in_container() if IMAGE else []),
    ]


def in_container() -> list[Figure]:
    """Measure how long a step takes in its container until it does something, beside one that does nothing at all."""
    run = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network=none", IMAGE]
    python = [*run, "python", "-c"]
    bare, light, heavy = in_turns(3, [*run, "true"], [*python, _EXECUTOR], [*python, _VALIDATE])
    return [
        figure("a step in its container: kfp's executor and the component", light, "s", peer="true", peer_value=bare),
        figure("a step in its container: all that `validate` imports", heavy, "s", peer="true", peer_value=bare),
    ]


def in_turns(times: int, *commands: list[str]) -> list[float]:
    """Return the median seconds of each command; by turns, so that a busy moment strikes all alike."""
    rounds = [[seconds(command) for command in commands] for _ in range(times + 1)]
    return [median(column) for column in zip(*rounds[1:], strict=True)]  # the first round fills the disk's cache


def seconds(command: list[str]) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
