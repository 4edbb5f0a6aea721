"""What it costs to import flywheel and to ask the command for help."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks import Figure, figure

KFP = Path(sys.executable).with_name("kfp")


def figures() -> list[Figure]:
    """Measure imports and help, each against its peer in turns."""
    bare, ours = in_turns(21, ["-c", "pass"], ["-c", "import flywheel"])
    kfp, flywheel = in_turns(5, [str(KFP), "--help"], ["-m", "flywheel", "--help"])
    return [
        figure("import flywheel, over a bare interpreter", 1000 * (ours - bare), "ms", at_most=50),
        figure("interpreter with flywheel", 1000 * ours, "ms", peer="python -c pass", peer_value=1000 * bare),
        figure("flywheel --help", flywheel, "s", at_most=0.4, peer="kfp --help", peer_value=kfp),
    ]


def in_turns(times: int, *commands: list[str]) -> list[float]:
    """Return the median seconds of each command; by turns, so that a busy moment strikes all alike."""
    rounds = [[seconds(command) for command in commands] for _ in range(times + 1)]
    return [median(column) for column in zip(*rounds[1:], strict=True)]  # the first round fills the disk's cache


def seconds(arguments: list[str]) -> float:
    """Return how long a fresh interpreter takes with these arguments."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start
