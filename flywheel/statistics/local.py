"""Statistics in process: record batches are streamed, and memory stays flat however many rows there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from flywheel.artifacts.examples import gathered, joined
from flywheel.statistics.options import DEFAULT, Options

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.statistics.partial import Partial
    from flywheel.statistics.units import Unit


def summarize(batches: Iterable[pa.RecordBatch], name: str = "", options: Options = DEFAULT) -> Any:
    """Return TFDV's statistics of all rows, a `DatasetFeatureStatisticsList`; never more than 64k rows in memory.

    Args:
        batches: Rows, all of one schema; what becomes of each type says `columns.canonical`.
        name: What TFDV shall call the data set.
        options: Weight, slices and schema; the engine is this process.

    Raises:
        DataError: There are no rows.
    """
    from flywheel.statistics.partial import Partial

    counts = Partial(options)
    for batch in together(batches):
        counts.add(batch)
    return counts.statistics(name)


def count_local(units: list[Unit], options: Options) -> Iterator[Partial]:
    """Yield what each unit of Parquet rows holds, in order; counted on as many cores as this process may use."""
    from flywheel.statistics.workers import spread

    return spread(lambda unit: count(unit, options), units, [unit.rows for unit in units])


def count_together(units: list[Unit], options: Options) -> Partial:
    """Return what all units hold together, in this process."""
    from flywheel.statistics.partial import Partial

    counts = Partial(options)
    for batch in together(batch for unit in units for batch in _read(unit)):
        counts.add(batch)
    return counts


def _read(unit: Unit) -> Iterator[pa.RecordBatch]:
    with open(unit.path, "rb") as file:
        unit.check(file)
        yield from unit.read(file)


def count(unit: Unit, options: Options, opened: Callable[[str], IO[bytes]] | None = None) -> Partial:
    """Return what the rows of one unit hold.

    Args:
        unit: Where they are.
        options: What is counted.
        opened: Opens the file; as one of this machine by default.

    Raises:
        ArtifactError: The file is not what was written.
    """
    from flywheel.statistics.partial import Partial

    counts = Partial(options)
    with opened(unit.path) if opened else open(unit.path, "rb") as file:
        unit.check(file)
        for batch in together(unit.read(file)):
            counts.add(batch)
    return counts


def together(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of about 64k, fewer with bytes: each costs TFDV some 6 ms, however few it has."""
    for parts in gathered(("", batch) for batch in batches):
        yield joined([batch for _, batch in parts])
