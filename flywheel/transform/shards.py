"""One shard of raw rows, read and written by whichever worker takes it, on this machine or another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

from flywheel.artifacts import Examples
from flywheel.artifacts.examples import ShardWriter, batch_rows
from flywheel.errors import ArtifactError
from flywheel.transform.bad_rows import BadRows
from flywheel.transform.state import State

FEATURE, REASON = "flywheel_feature", "flywheel_reason"
"""Columns of dead letters: which feature could not read the row, and why."""
DEAD = "dead_letters"
_MOUNTED = {"/gcs/": "gs://", "/s3/": "s3://"}
"""Where Kubeflow Pipelines shows a bucket as a folder, and how workers on other machines reach it."""


@dataclass(frozen=True)
class Shard:
    """A Parquet file of raw rows.

    Attributes:
        span: Its span.
        name: Of the file below its artifact: `span=…/part-….parquet`.
        path: Of the file, as workers reach it.
        digest: SHA-256 of its bytes.
    """

    span: str
    name: str
    path: str
    digest: str

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield its rows, never more than a row group in memory.

        Raises:
            ArtifactError: The file is not what was written.
        """
        with FileSystems.open(self.path, compression_type="uncompressed") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:  # type: ignore[arg-type]
                raise ArtifactError(
                    f"examples are damaged: {self.path} does not match its digest", "run the step that made it again."
                )
            file.seek(0)
            with pq.ParquetFile(file) as source:
                yield from source.iter_batches(batch_rows(source.schema_arrow), columns=list(columns))


@dataclass
class ShardResult:
    """What became of the rows of a shard.

    Attributes:
        span: Its span.
        rows: How many were written.
        files: Names of the files that were written, below the target.
        bad: How often rows were left out, by feature and reason.
    """

    span: str
    rows: int = 0
    files: list[str] = field(default_factory=list)
    bad: Counter[tuple[str, str]] = field(default_factory=Counter)


def shards_of(examples: Examples, spans: Sequence[str]) -> list[Shard]:
    """Return the shards of `spans`, oldest first."""
    found = []
    for span, path in examples.shards(spans):
        name = path.relative_to(examples.path).as_posix()
        found.append(Shard(span, name, reached(str(path)), examples.manifest.files[name]["sha256"]))
    return found


def reached(path: str) -> str:
    """Return the address of a file for workers that do not have this machine's mounts."""
    for folder, bucket in _MOUNTED.items():
        if path.startswith(folder):
            return bucket + path.removeprefix(folder)
    return path


def write_shard(shard: Shard, state: State, target: str, added: Sequence[pa.Field]) -> ShardResult:
    """Write the rows of `shard` below `target` as the model sees them, and those that cannot be transformed beside."""
    result, schema = ShardResult(shard.span), written(state, added)
    columns = list(dict.fromkeys([*state.columns, *state.target.columns, *(field.name for field in added)]))
    with ExitStack() as stack:
        good = stack.enter_context(ShardWriter(_opens(target, shard.name, result.files), schema))
        dead: ShardWriter | None = None
        for batch in shard.batches(columns):
            bad = BadRows(batch.num_rows)
            made = transformed(batch, state, schema, bad)
            if len(bad):
                result.bad.update(bad.reasons.values())
                letters = dead_letters(batch, bad)
                if dead is None:
                    opens = _opens(target, f"{DEAD}/{shard.name}", result.files)
                    dead = stack.enter_context(ShardWriter(opens, letters.schema))
                dead.write(letters)
                made = made.filter(pa.array(~bad.mask()))
            good.write(made)
    result.rows = good.rows
    return result


def dead_letters(batch: pa.RecordBatch, bad: BadRows) -> pa.RecordBatch:
    """Return the bad rows of a batch as they were, each with the feature that could not read it, and why."""
    rows = sorted(bad.reasons)
    kept = batch.take(pa.array(rows, pa.int64()))
    why = [pa.array([bad.reasons[row][place] for row in rows], pa.string()) for place in (0, 1)]
    return pa.RecordBatch.from_arrays([*kept.columns, *why], [*batch.schema.names, FEATURE, REASON])


def _opens(target: str, name: str, files: list[str]) -> Callable[[], IO[bytes]]:
    """Return what creates the file `name` below `target`, and notes it among `files`."""

    def opened() -> IO[bytes]:
        files.append(name)
        return FileSystems.create(FileSystems.join(target, *name.split("/")))  # type: ignore[no-any-return]

    return opened


def written(state: State, added: Sequence[pa.Field]) -> pa.Schema:
    """Return the columns of transformed rows: inputs, label, and what is `added` on how each row is used."""
    return pa.schema([*state.schema, *added])


def transformed(batch: pa.RecordBatch, state: State, schema: pa.Schema, bad: BadRows) -> pa.RecordBatch:
    """Return raw rows as the model sees them; after its inputs the label, and what else `schema` names, as it is."""
    inputs = list(state.apply(state.columns_of(batch), bad).values())
    label = state.target.of(batch)
    rest = [batch.column(batch.schema.get_field_index(name)) for name in schema.names[len(inputs) + 1 :]]
    return pa.RecordBatch.from_arrays([*inputs, label, *rest], schema=schema)
