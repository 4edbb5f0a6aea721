"""What the claims about the transform rest on: speed beside TensorFlow Transform and Beam's MLTransform, and memory.

All three learn and apply the same features on the same flights: z-scores, vocabularies, quantile buckets. The peers get
rows without a missing value, already in memory in the form that they take, and their results are dropped; ours are read
from Parquet, checked against their digest, and written as Parquet.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import Figure, figure
from flywheel.artifacts import Examples
from flywheel.steps.transform import transform

ROOT = Path(__file__).parents[1]
FLIGHTS = ROOT / "examples" / "flights"
TIMES, FLAT, MORE = 8, 1.1, 30
NUMBERS = ["distance", "hour", "minute", "sched_dep_time", "sched_arr_time", "month", "day"]
WORDS = ["carrier", "origin", "dest", "tailnum"]
BUCKETS = ["dep_time"]
TOP, QUANTILES = 100, 24
FEATURES = [
    *({"column": name, "as": "numeric"} for name in NUMBERS),
    *({"column": name, "as": "category", "top": TOP} for name in WORDS),
    *({"column": name, "as": "bucket", "quantiles": QUANTILES} for name in BUCKETS),
]
LABEL = "late"
QUERY = f"""
    SELECT {", ".join(f"COALESCE({name}, 0)::DOUBLE AS {name}" for name in [*NUMBERS, *BUCKETS])},
        {", ".join(f"COALESCE({name}, '') AS {name}" for name in WORDS)}, (dep_delay > 15)::INT AS {LABEL}
    FROM flights WHERE dep_delay IS NOT NULL
"""


def figures() -> list[Figure]:
    """Return every figure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = _flights(folder / "flights.duckdb")
        year = _examples(folder / "year", table)

        def measure() -> float:
            return _fastest(lambda: _transform(year.path, folder))

        peers: dict[str, Callable[[], None]] = {
            "TensorFlow Transform": lambda: _by_tft(table, folder / "tft"),
            "Beam's MLTransform": lambda: _by_mltransform(table, folder / "mltransform"),
        }
        speeds = []
        for peer, work in peers.items():
            # Before and after the peer, and the slower of both: the machine may be busier at one end than at the other.
            before, theirs, after = measure(), _seconds(work), measure()
            speeds.append(_speed(table.num_rows, max(before, after), peer, theirs))
        return [*speeds, _memory(year, _examples(folder / "more", table, MORE))]


def _speed(rows: int, ours: float, peer: str, seconds: float) -> Figure:
    name = f"transform of {rows:,} flights, {len(FEATURES)} features, beside {peer}"
    found = figure(name, ours, "s", peer=peer, peer_value=seconds)
    return {**found, "bar": f"ratio {1 / TIMES:.3g}", "ok": ours <= seconds / TIMES}


def _memory(year: Examples, more: Examples) -> Figure:
    few, many = (_peak(examples.path) for examples in (year, more))
    name = f"peak memory of the transform of {more.rows:,} flights"
    found = figure(name, many, "MiB", peer=f"{year.rows:,} flights", peer_value=few)
    return {**found, "bar": f"ratio {FLAT:g}", "ok": many <= FLAT * few}


def _transform(examples: Path, folder: Path) -> int:
    opened = Examples.open(examples)
    _, rows = transform(opened, FEATURES, LABEL, list(opened.spans), folder / "state", folder / "rows")
    return rows.rows


def _by_tft(table: Any, folder: Path) -> None:
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import schema_utils
    from tfx_bsl.tfxio import tensor_representation_util
    from tfx_bsl.tfxio.tensor_adapter import TensorAdapterConfig

    from flywheel.transform.beam import RUNNER

    kinds = dict.fromkeys([*NUMBERS, *BUCKETS], tf.float32) | dict.fromkeys(WORDS, tf.string)
    schema: schema_pb2.Schema = schema_utils.schema_from_feature_spec(
        {name: tf.io.FixedLenFeature([], kind) for name, kind in kinds.items()}
    )
    representations = tensor_representation_util.GetTensorRepresentationsFromSchema(
        schema
    ) or tensor_representation_util.InferTensorRepresentationsFromSchema(schema)
    batches = [_listed(batch) for batch in _float32(table).to_batches(max_chunksize=10_000)]
    config = TensorAdapterConfig(batches[0].schema, representations)

    def preprocess(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = {name: tft.scale_to_z_score(inputs[name]) for name in NUMBERS}
        outputs |= {name: tft.compute_and_apply_vocabulary(inputs[name], top_k=TOP) for name in WORDS}
        return outputs | {name: tft.bucketize(inputs[name], QUANTILES) for name in BUCKETS}

    with (
        beam.Pipeline(runner=RUNNER) as pipeline,  # what DirectRunner runs without a download
        tft_beam.Context(temp_dir=str(folder)),
    ):
        rows = pipeline | beam.Create(batches, reshuffle=False)
        analyse = tft_beam.AnalyzeAndTransformDataset(preprocess, output_record_batches=True)
        (transformed, _), _ = (rows, config) | analyse
        transformed | beam.Map(lambda _: None)


def _by_mltransform(table: Any, folder: Path) -> None:
    import apache_beam as beam
    import numpy as np
    from apache_beam.ml.transforms.base import MLTransform
    from apache_beam.ml.transforms.tft import Bucketize, ComputeAndApplyVocabulary, ScaleToZScore

    from flywheel.transform.beam import RUNNER

    folder.mkdir()
    columns = {name: table.column(name).to_pylist() for name in WORDS}
    columns |= {name: list(table.column(name).to_numpy().astype(np.float32)) for name in [*NUMBERS, *BUCKETS]}
    rows = [beam.Row(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    with beam.Pipeline(runner=RUNNER) as pipeline:
        (
            pipeline
            | beam.Create(rows, reshuffle=False)
            | MLTransform(write_artifact_location=str(folder))
            .with_transform(ScaleToZScore(columns=NUMBERS))
            .with_transform(ComputeAndApplyVocabulary(columns=WORDS, top_k=TOP))
            .with_transform(Bucketize(columns=BUCKETS, num_buckets=QUANTILES))
            | beam.Map(lambda _: None)
        )


def _float32(table: Any) -> Any:
    import pyarrow as pa

    types = {name: pa.float32() for name in [*NUMBERS, *BUCKETS]} | {name: pa.binary() for name in WORDS}
    return table.select(list(types)).cast(pa.schema(types.items()))


def _listed(batch: Any) -> Any:
    """Return every value as a list of one, as TFX has rows in Arrow."""
    import pyarrow as pa

    places = pa.array(range(batch.num_rows + 1), pa.int32())
    columns = [pa.ListArray.from_arrays(places, column) for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


def _flights(file: Path) -> Any:
    import duckdb

    example = runpy.run_path(str(FLIGHTS / "load.py"))
    example["fill"](file, example["source"]())
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.sql(QUERY).to_arrow_table().combine_chunks()


def _examples(folder: Path, table: Any, times: int = 1) -> Examples:
    def batches() -> Iterator[Any]:
        for _ in range(times):
            yield from table.to_batches()

    with Examples.writer(folder, table.schema, producer="extract") as writer:
        writer.write("2013", batches())
    return Examples.open(folder)


def _fastest(work: Callable[[], object], rounds: int = 2) -> float:
    return min(_seconds(work) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak(examples: Path) -> float:
    """Return the most memory, in MiB, that a process of its own held while it transformed."""
    command = [sys.executable, "-m", "benchmarks.transform", str(examples)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, env=os.environ)
    found: float = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        _transform(Path(sys.argv[1]), Path(name))
    # Not ru_maxrss: that begins with what the parent had.
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps(int(own.split()[1]) / 1024))
