"""What the PyTorch trainer costs beside a bare loop with the same model, its data in memory as tensors already.

Both train on rows like the flights', with the same optimiser and clipping, in one process, by turns; the ratio is of
their medians. On a CPU the time of the core counts, so that what else runs does not. On a machine with a GPU the same
is measured there too, in bfloat16, with a model that fills it; without one it is left out, and said so.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks import Figure, figure
from flywheel.artifacts import Examples
from flywheel.trainers.torch_loop import Recipe, fit
from flywheel.trainers.torch_tabular import Encoder, Tabular
from flywheel.training import torch as framework
from flywheel.training.context import FeatureSpec, TrainContext
from flywheel.training.rows import split

ROWS, SPANS, REPEATS = 140_000, 8, 4
HELD = 4  # the span that `split` validates on: few rows, since the bare loop has none
INDICES = {"carrier": 18, "origin": 5, "dest": 102, "weekday": 9, "minute_of_day": 26}  # as the example's features
NUMBERS = ("distance", "plane_age", "seats", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
FEATURES = (
    *(FeatureSpec(name, "category", size, (), "int32") for name, size in INDICES.items()),
    *(FeatureSpec(name, "numeric", None) for name in NUMBERS),
)
Batch = dict[str, torch.Tensor]


def figures() -> list[Figure]:
    """Return every figure."""
    with tempfile.TemporaryDirectory() as name:
        examples = _flights(Path(name) / "rows")
        torch.set_num_threads(1)
        measured = _measured(examples, "cpu", (256, 128), 1024, mixed=False)
        if torch.cuda.is_available():
            measured += _measured(examples, "cuda", (4096, 4096, 2048), 16384, mixed=True)
        else:
            print("no GPU here: what the trainer costs on one was not measured", flush=True)
        return measured


def _measured(examples: Examples, device: str, hidden: tuple[int, ...], batch: int, *, mixed: bool) -> list[Figure]:
    """Train by turns for an epoch, with the loop and bare."""
    recipe = Recipe(epochs=1, batch=batch, mixed=mixed, warmup=0.0)
    logged: list[dict[str, float]] = []
    context = TrainContext(
        *split(examples, "label", 0, FEATURES),
        FEATURES,
        "label",
        device=device,
        record=lambda metrics, _: logged.append(metrics),
    )
    columns, labels = context.train.arrays()
    held = {name: values.to(device) for name, values in framework.tensors(columns).items()}
    clock = time.process_time if device == "cpu" else time.perf_counter
    bare, ours = [], []
    for _ in range(REPEATS + 1):  # the first warms up
        framework.seed(0)
        bare.append(_bare(_module(hidden).to(device), held, torch.from_numpy(labels).to(device), recipe, clock))
        framework.seed(0)
        start = clock()
        fit(_module(hidden), context, recipe)
        ours.append(len(labels) / (clock() - start))
    value, peer = statistics.median(ours[1:]), statistics.median(bare[1:])
    waited = statistics.median(each["data_wait_share"] for each in logged[1:])
    about = f"{hidden} units, batches of {batch:,}, {device}"
    speed: Figure = {
        **figure(f"PyTorch trainer, {about}", value, "rows/s", peer="a bare loop on tensors", peer_value=peer),
        "bar": "ratio 0.95 at least",
        "ok": value >= 0.95 * peer,
    }
    found = [speed, figure(f"share of the time that waits for data, {about}", 100 * waited, "%", at_most=5)]
    busy = [each["gpu_utilisation"] for each in logged[1:] if "gpu_utilisation" in each]
    return [*found, *([figure(f"utilisation of the GPU, {about}", 100 * statistics.median(busy), "%")] if busy else [])]


def _bare(
    module: torch.nn.Module, columns: Batch, labels: torch.Tensor, recipe: Recipe, clock: Callable[[], float]
) -> float:
    """Return rows a second of the shortest loop that trains this module on these tensors, shuffled."""
    optimiser = torch.optim.AdamW(module.parameters(), recipe.rate, fused=True)
    device = labels.device
    module.train()
    start = clock()
    order = torch.randperm(len(labels), device=device)
    for first in range(0, len(labels), recipe.batch):
        rows = order[first : first + recipe.batch]
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(recipe.mixed)):
            outputs = module({name: values[rows] for name, values in columns.items()}).reshape(-1)
        binary_cross_entropy_with_logits(outputs.float(), labels[rows]).backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), recipe.clip)
        optimiser.step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return len(labels) / (clock() - start)


def _module(hidden: tuple[int, ...]) -> torch.nn.Module:
    return Tabular(Encoder(FEATURES, 16), hidden, 0.1, 1)


def _flights(folder: Path) -> Examples:
    """Write rows of the example's transformed features: as many inputs, of the same types and sizes."""
    random = np.random.default_rng(0)
    fields: list[Any] = [(name, pa.int32()) for name in INDICES] + [(name, pa.float32()) for name in NUMBERS]
    schema = pa.schema([*fields, ("label", pa.float32())])
    with Examples.writer(folder, schema, producer="transform") as writer:
        for span in range(SPANS):
            rows = 1000 if span == HELD else ROWS // (SPANS - 1)
            columns = [pa.array(random.integers(0, size, rows).astype(np.int32)) for size in INDICES.values()]
            numbers = random.normal(size=(len(NUMBERS), rows)).astype(np.float32)
            label = (numbers[0] + random.normal(size=rows) > 0.8).astype(np.float32)
            batch = pa.RecordBatch.from_arrays([*columns, *map(pa.array, numbers), pa.array(label)], schema=schema)
            writer.write(f"2013-0{span + 1}", [batch])
    return Examples.open(folder)
