"""Examples cut into units of work: row groups of a shard, the same whoever counts them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from flywheel.artifacts import ADDED, Examples
from flywheel.artifacts.examples import batch_rows
from flywheel.errors import ArtifactError

if TYPE_CHECKING:
    import pyarrow as pa

UNIT_ROWS = 128 * 1024


@dataclass(frozen=True)
class Unit:
    """Some rows of one span: a few row groups of a Parquet file, about `UNIT_ROWS` rows or one larger group."""

    span: str
    path: str
    groups: tuple[int, ...]
    rows: int
    digest: str = ""
    """SHA-256 of the whole file, for the first of its units; the others need not look again."""

    def check(self, file: IO[bytes]) -> None:
        """Raise an ArtifactError unless the opened file is what was written."""
        if self.digest and hashlib.file_digest(file, "sha256").hexdigest() != self.digest:  # type: ignore[arg-type]
            raise ArtifactError(f"examples are damaged: {self.path} does not match its digest", "extract them again.")
        file.seek(0)

    def read(self, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
        """Yield the rows out of the opened Parquet file, in batches that fit in memory."""
        import pyarrow.parquet as pq

        shard = pq.ParquetFile(file)
        columns = [name for name in shard.schema_arrow.names if name not in ADDED]
        # Without threads: these would not be there in a forked worker, and whoever counts is busy anyway.
        rows, groups = batch_rows(shard.schema_arrow), list(self.groups)
        yield from shard.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)


def units(examples: Examples, spans: Sequence[str]) -> list[Unit]:
    """Return the units of `spans`, oldest span first.

    Raises:
        DataError: A span is asked for that was not extracted.
        ArtifactError: A shard has no Parquet footer.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = []
    for span, path in examples.shards(spans):
        try:
            metadata = pq.read_metadata(path)
        except pa.ArrowInvalid:
            examples.check(path)
            raise
        digest = examples.manifest.files[path.relative_to(examples.path).as_posix()]["sha256"]
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            more = metadata.row_group(group).num_rows
            if groups and rows + more > UNIT_ROWS:
                found.append(Unit(span, str(path), tuple(groups), rows, digest))
                groups, rows, digest = [], 0, ""
            groups, rows = [*groups, group], rows + more
        if rows:
            found.append(Unit(span, str(path), tuple(groups), rows, digest))
    return found
