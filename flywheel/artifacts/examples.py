"""Examples: rows as Parquet shards by span, always read and written as record batches."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from flywheel.artifacts.folder import Artifact, Draft, Manifest
from flywheel.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROW_GROUP = 128 * 1024
IMAGES_GROUP = 2 * 1024
"""Rows of a row group with bytes, such as images, in it."""
VALIDATION = "flywheel_validation"
"""Column that `source.split` adds: whether a row is held back for validation. Only who asks for it by name gets it."""
WEIGHT = "flywheel_weight"
"""Column that `train.weight` adds: how much a row counts in training. Only who asks for it by name gets it."""
ADDED = (VALIDATION, WEIGHT)


class Examples(Artifact):
    """Rows as Parquet shards, `span=<name>/part-<n>.parquet`, zstd; always read and written as record batches."""

    kind = "examples"

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(path, manifest)
        self._checked: set[str] = set()

    @classmethod
    def _verify_on_open(cls, name: str) -> bool:
        return False  # shards are checked when they are read, so that opening stays cheap however large they are

    @classmethod
    @contextmanager
    def writer(cls, path: str | os.PathLike[str], schema: pa.Schema, *, producer: str) -> Iterator[ExamplesWriter]:
        """Give a writer for rows of `schema`; the artifact stands at `path` when the block ends well."""
        with cls.create(path, producer=producer) as draft, ExamplesWriter(draft, schema) as writer:
            yield writer

    @property
    def spans(self) -> tuple[str, ...]:
        """Names of its spans, oldest first; a span may have no rows."""
        return self.manifest.spans

    @property
    def rows(self) -> int:
        """How many rows it has in all spans."""
        return self.manifest.counts["rows"]

    def rows_of(self, spans: Iterable[str]) -> int:
        """Return how many rows stand in `spans`."""
        rows: dict[str, int] = self.manifest.facts["rows"]
        return sum(rows[span] for span in spans)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of every batch."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(self.manifest.facts["schema"])))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that came from the query."""
        return tuple(name for name in self.schema.names if name not in ADDED)

    def shards(self, spans: Iterable[str] | None = None) -> list[tuple[str, Path]]:
        """Return (span, Parquet file) of `spans`, oldest first; all spans by default.

        Raises:
            DataError: A span is asked for that was not extracted.
        """
        wanted = self.spans if spans is None else tuple(spans)
        unknown = sorted(set(wanted) - set(self.spans))
        if unknown:
            raise DataError(
                f"examples in {self.path} have no span {unknown[0]!r}, only {_short(self.spans)}",
                "extract that span too, or ask for one of these.",
            )
        chosen = set(wanted)
        found = ((name.split("/")[0].removeprefix("span="), name) for name in sorted(self.manifest.files))
        return [(span, self.path / name) for span, name in found if span in chosen]

    def check(self, shard: Path) -> None:
        """Raise an ArtifactError unless `shard` is what was written, to the byte; that is looked at once."""
        name = shard.relative_to(self.path).as_posix()
        if name not in self._checked:
            self._verify(name, content=True)
            self._checked.add(name)

    def batches(
        self, spans: Iterable[str] | None = None, columns: Sequence[str] | None = None, rows: int = 64 * 1024
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield (span, record batch of at most `rows` rows), oldest span first; never more than a row group in memory.

        Args:
            spans: Which; all by default.
            columns: Which; by default those that came from the query.
            rows: At most so many a batch.

        Raises:
            ArtifactError: A shard is not what was written.
        """
        import pyarrow.parquet as pq

        for span, shard in self.shards(spans):
            self.check(shard)
            with pq.ParquetFile(shard) as file:
                names = list(self.columns if columns is None else columns)
                for batch in file.iter_batches(min(rows, batch_rows(file.schema_arrow)), columns=names):
                    yield span, batch

    def table(self, spans: Iterable[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows at once, for what is known to be small."""
        import pyarrow as pa

        schema = pa.schema([self.schema.field(name) for name in (self.columns if columns is None else columns)])
        return pa.Table.from_batches([batch for _, batch in self.batches(spans, columns)], schema)


class ShardWriter:
    """Writes record batches, however they are cut, as one Parquet file of equal row groups; no rows, no file.

    Args:
        opened: Gives the file, or its path, when the first rows are written.
        schema: Of the batches.
    """

    def __init__(self, opened: Callable[[], str | IO[bytes]], schema: pa.Schema) -> None:
        self._opened, self._schema = opened, schema
        self._held: list[pa.RecordBatch] = []
        self._waiting = 0
        self._writer: pq.ParquetWriter | None = None
        self._file: IO[bytes] | None = None
        self._group = IMAGES_GROUP if _has_bytes(schema) else ROW_GROUP
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Take the rows of `batch`."""
        self._held.append(batch)
        self._waiting += batch.num_rows
        self.rows += batch.num_rows
        while self._waiting >= self._group:
            self._flush(self._group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self._waiting:
                self._flush(self._waiting)
        finally:
            if self._writer is not None:
                self._writer.close()
            if self._file is not None:
                self._file.close()

    def _flush(self, rows: int) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            target = self._opened()
            self._file = None if isinstance(target, str) else target
            self._writer = pq.ParquetWriter(
                target, self._schema, compression="zstd", use_dictionary=_texts(self._schema)
            )
        table = pa.Table.from_batches(self._held)
        self._writer.write_table(table.slice(0, rows), rows)
        self._held, self._waiting = table.slice(rows).to_batches(), self._waiting - rows


class ExamplesWriter:
    """Writes record batches to the shards of a draft, span by span; several threads may write different shards."""

    def __init__(self, draft: Draft, schema: pa.Schema) -> None:
        self._draft, self._schema = draft, schema
        self._rows: dict[tuple[str, int], int] = {}

    def write(self, span: str, batches: Iterable[pa.RecordBatch], part: int = 0) -> int:
        """Write `batches` as one shard of `span` and return how many rows they had; no rows, no file."""
        file = self.folder(span) / f"part-{part:05d}.parquet"

        def opened() -> str:
            file.parent.mkdir(parents=True, exist_ok=True)
            return str(file)

        with ShardWriter(opened, self._schema) as shard:
            for batch in batches:
                shard.write(batch)
        self._rows[span, part] = shard.rows
        return shard.rows

    def folder(self, span: str) -> Path:
        """Return where the shards of `span` stand."""
        return self._draft.path / f"span={span}"

    def count(self, span: str, rows: int) -> None:
        """Note that the folder of `span` has got shards with so many rows that were written before."""
        self._rows[span, 0] = rows

    def drop(self, span: str) -> None:
        """Take back what was written of `span`."""
        shutil.rmtree(self.folder(span), ignore_errors=True)
        for key in [key for key in list(self._rows) if key[0] == span]:
            del self._rows[key]

    def __enter__(self) -> ExamplesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        rows: dict[str, int] = dict.fromkeys(sorted({span for span, _ in self._rows}), 0)
        for (span, _part), count in self._rows.items():
            rows[span] += count
        self._draft.spans = list(rows)
        self._draft.counts["rows"] = sum(rows.values())
        self._draft.facts |= {"rows": rows, "schema": self._schema.serialize().to_pybytes().hex()}


def batch_rows(schema: pa.Schema) -> int:
    """Return how many rows fit in memory at a time, bytes such as images taken to be large."""
    return IMAGES_GROUP if _has_bytes(schema) else 64 * 1024


def gathered(batches: Iterable[tuple[str, pa.RecordBatch]]) -> Iterator[list[tuple[str, pa.RecordBatch]]]:
    """Yield batches, each with its span, as many at once as fit in memory: a call for few rows costs one for many."""
    held: list[tuple[str, pa.RecordBatch]] = []
    for span, batch in batches:
        if held and sum(each.num_rows for _, each in held) + batch.num_rows > batch_rows(batch.schema):
            yield held
            held = []
        if batch.num_rows:
            held.append((span, batch))
    if held:
        yield held


def joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the rows of batches, of which some have any, as one."""
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return whole


def _texts(schema: pa.Schema) -> list[str]:
    """Return the columns whose values recur; a dictionary of any others takes twice the time and saves nothing."""
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]


def _has_bytes(schema: pa.Schema) -> bool:
    import pyarrow as pa

    return any(pa.types.is_binary(field.type) for field in schema)


def _short(names: Sequence[str]) -> str:
    return f"{names[0]} to {names[-1]}" if len(names) > 3 else ", ".join(names) or "none"
