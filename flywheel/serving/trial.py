"""The trial of a packaged model, in a process that does nothing else: load it, ask it, take the time.

It runs as `python -I -m flywheel.serving.trial JOB`, also in an environment that has only what the model declares. So
it imports MLflow and what a DataFrame is made with, and nothing else of this library's dependencies. What it finds goes
to the job's folder; how far it came stands in `stage` there, for the case that it crashes or hangs.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

ROWS, SHADOW = "rows.parquet", "shadow.parquet"
RESULT, STAGE, ANSWERS, REPLAYED = "result.json", "stage", "answers.parquet", "replayed.parquet"
PREDICTION = "prediction"
_FEWEST = 20
_WARM_UP = 6
"""Calls of a size before any is timed: what compiles itself once it is asked often has done so then."""
_FAR = 10


@dataclass(frozen=True)
class Job:
    """What is tried.

    Attributes:
        model: MLflow model folder.
        folder: Where the rows to ask it with stand, and where the answers go.
        batches: Rows of a call; each size is timed.
        repeats: How often each measurement is made; its median counts.
        calls: Calls of a repeat, at most.
        seconds: Time of a repeat, once it has its fewest calls.
        bars: What median and 99th percentile of a call are held against, in ms, 0 for nothing: where two repeats leave
            no doubt of either, no more are made. None, and all are.
    """

    model: str
    folder: str
    batches: tuple[int, ...] = (1, 32)
    repeats: int = 5
    calls: int = 200
    seconds: float = 0.1
    bars: tuple[float, float] | None = None

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))


class WrongAnswer(Exception):
    """The model answers with something else than a row for each row."""


def run(job: Job) -> dict[str, Any]:
    """Return what was found; `error` says what went wrong, and `stage` when."""
    found: dict[str, Any] = {}
    folder = Path(job.folder)

    def begin(stage: str) -> None:
        found["stage"] = stage
        (folder / STAGE).write_text(stage)

    try:
        _try(job, folder, found, begin)
    except Exception as error:
        name = "" if isinstance(error, WrongAnswer) else f"{type(error).__name__}: "
        found["error"] = f"{name}{error}".strip()
    return found


def _try(job: Job, folder: Path, found: dict[str, Any], begin: Callable[[str], None]) -> None:
    begin("load")
    start = time.perf_counter()
    model = _load(job.model)
    found["load_seconds"] = time.perf_counter() - start
    begin("example")
    example = _example(job.model)
    if example is not None:
        found["example"] = len(_ask(model, example))
    begin("rows")
    rows = _frame(folder / ROWS)
    _write(_ask(model, rows), folder / ANSWERS)
    begin("speed")
    found["latency"] = [_latency(model, rows, size, job) for size in job.batches]
    found["throughput"] = _throughput(model, rows, job.repeats)
    found["memory_mb"] = _memory()
    begin("shadow")
    if (folder / SHADOW).exists():
        _write(_ask(model, _frame(folder / SHADOW)), folder / REPLAYED)
    begin("done")


def _load(path: str) -> Any:
    import logging

    import mlflow.pyfunc

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    return mlflow.pyfunc.load_model(path, suppress_warnings=True)


def _example(path: str) -> Any:
    """Return the model's input example; None when it has none."""
    from mlflow.models import Model

    about = Model.load(path)
    return about.load_input_example(path) if about.saved_input_example_info else None


def _frame(file: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    from flywheel.transform import raw

    batches = pq.ParquetFile(file).read().combine_chunks().to_batches()
    return raw.frame(batches[0])


def _write(answers: pd.DataFrame, file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pandas(answers, preserve_index=False), file)


def _ask(model: Any, rows: Any) -> pd.DataFrame:
    """Return the model's answer as a DataFrame, a row for each row.

    Raises:
        WrongAnswer: It is something else.
    """
    import numpy as np
    import pandas as pd

    answer = model.predict(rows)
    if isinstance(answer, pd.DataFrame):
        found = answer.reset_index(drop=True)
    else:
        values = np.asarray(answer)
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        if values.ndim != 1:
            raise WrongAnswer(f"{len(rows)} rows are answered with an array of shape {values.shape}")
        found = pd.DataFrame({PREDICTION: values})
    if len(found) != len(rows):
        raise WrongAnswer(f"{len(rows)} rows are answered with {len(found)}")
    numbers = found.select_dtypes("number").to_numpy()
    if wrong := int((~np.isfinite(numbers)).sum()):
        raise WrongAnswer(f"{wrong} of {numbers.size} numbers that it answers {len(rows)} rows with are not finite")
    return found


def _latency(model: Any, rows: pd.DataFrame, size: int, job: Job) -> dict[str, Any]:
    """Return median and 99th percentile of a call with `size` rows in ms: of each repeat, then their medians."""
    import numpy as np
    import pandas as pd

    if len(rows) < size:
        rows = pd.concat([rows] * (size // len(rows) + 1), ignore_index=True)
    calls = [rows[start : start + size].reset_index(drop=True) for start in range(0, len(rows) - size + 1, size)]
    for each in (calls * _WARM_UP)[:_WARM_UP]:
        model.predict(each)
    halves, tails, made = [], [], 0
    for repeat in range(job.repeats):
        times: list[float] = []
        until = time.perf_counter() + job.seconds
        while len(times) < job.calls and (len(times) < _FEWEST or time.perf_counter() < until):
            asked = calls[(repeat * job.calls + len(times)) % len(calls)]
            start = time.perf_counter()
            model.predict(asked)
            times.append(1000 * (time.perf_counter() - start))
        halves.append(float(np.median(times)))
        tails.append(float(np.percentile(times, 99)))
        made += len(times)
        if job.bars and len(tails) > 1 and all(map(_is_far, (halves, tails), job.bars)):
            break
    return {
        "batch": size,
        "p50_ms": float(np.median(halves)),
        "p99_ms": float(np.median(tails)),
        "spread": [[min(halves), max(halves)], [min(tails), max(tails)]],
        "calls": made,
        "repeats": len(tails),
    }


def _is_far(times: list[float], bar: float) -> bool:
    """Return whether all are so far on one side of a bar, if there is one, that no further one could matter."""
    return not bar or max(times) * _FAR <= bar or min(times) >= bar * _FAR


def _throughput(model: Any, rows: pd.DataFrame, repeats: int) -> dict[str, Any]:
    """Return rows a second when all of `rows` are asked at once, as the median of `repeats`."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.predict(rows)
        times.append(time.perf_counter() - start)
    return {"rows": len(rows), "per_second": len(rows) / sorted(times)[len(times) // 2], "repeats": repeats}


def _memory() -> float:
    """Return the largest resident memory that this process has had, in MB."""
    peak = resident("VmHWM")  # getrusage would count the process that this one was started from too
    return peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def resident(what: str) -> float:
    """Return a figure of /proc/self/status in MB; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(f"{what}:")), 0.0)


def finish(job: Job, shared: float = 0.0) -> None:
    """Run `job` and leave what was found in its folder.

    Args:
        job: What is tried.
        shared: Libraries that the process before the fork has in memory, in MB: the system counts them there alone.
    """
    found = run(job)
    if "memory_mb" in found:
        found["memory_mb"] += max(shared - resident("RssFile"), 0.0)
    Path(job.folder, RESULT).write_text(json.dumps(found))


if __name__ == "__main__":
    finish(Job(**json.loads(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # with TensorFlow loaded an orderly exit takes seconds
