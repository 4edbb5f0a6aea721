"""Examples cut into units of work: row groups of a shard, the same whoever counts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples

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

    def read(self, file: Any, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows out of the opened Parquet file, in batches of at most `rows`."""
        import pyarrow.parquet as pq

        # Without threads: these would not be there in a forked worker, and whoever counts is busy anyway.
        yield from pq.ParquetFile(file).iter_batches(rows, row_groups=list(self.groups), use_threads=False)


def units(examples: Examples, spans: Sequence[str]) -> list[Unit]:
    """Return the units of `spans`, oldest span first, each file once found to be what was written.

    Raises:
        DataError: A span is asked for that was not extracted.
        ArtifactError: A shard is not what was written.
    """
    import pyarrow.parquet as pq

    found = []
    for span, path in examples.shards(spans):
        examples.check(path)
        metadata = pq.read_metadata(path)
        groups: list[int] = []
        rows = 0
        for group in range(metadata.num_row_groups):
            more = metadata.row_group(group).num_rows
            if groups and rows + more > UNIT_ROWS:
                found.append(Unit(span, str(path), tuple(groups), rows))
                groups, rows = [], 0
            groups, rows = [*groups, group], rows + more
        if rows:
            found.append(Unit(span, str(path), tuple(groups), rows))
    return found
