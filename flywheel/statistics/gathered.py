"""Statistics of spans, and of any of them together, from reading the rows once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.statistics.options import DEFAULT, Options

if TYPE_CHECKING:
    from flywheel.artifacts import Examples
    from flywheel.statistics.partial import Partial

_FEW = 250_000
"""Rows up to which spans may be counted when they are asked for, for one may be read twice then."""


class Gathered:
    """What each span holds, in some 200 kB a span and slice.

    Args:
        counts: What was counted in each span that has rows.
        options: What it was counted with.
        later: Spans that are counted when they are asked for: several at once cost little more than one.
        count: Counts those.
    """

    def __init__(
        self,
        counts: Mapping[str, Partial],
        options: Options,
        later: Mapping[str, int] | None = None,
        count: Callable[[Sequence[str]], Partial] | None = None,
    ) -> None:
        self.counts, self.options, self._later, self._count = dict(counts), options, dict(later or {}), count

    def rows(self, spans: Iterable[str]) -> int:
        """Return how many rows `spans` have."""
        return sum(self.counts[span].rows if span in self.counts else self._later.get(span, 0) for span in spans)

    def of(self, spans: Sequence[str], name: str = "") -> Any:
        """Return TFDV's statistics of all rows of `spans`, a `DatasetFeatureStatisticsList`.

        Some 15 ms a call for 20 columns, and 1 ms a span.

        Args:
            spans: Spans that were gathered; those without rows are passed over.
            name: What TFDV shall call the data set; the span's name if there is one only.

        Raises:
            DataError: None of them has rows.
        """
        from flywheel.statistics.partial import Partial, merged

        found = [self.counts[span] for span in spans if span in self.counts]
        later = [span for span in spans if span in self._later]
        if later and self._count:
            found.append(self._count(later))
        if len(later) == 1:
            self.counts[later[0]] = found[-1]
            del self._later[later[0]]
        title = name or (spans[0] if len(spans) == 1 else "")
        if len(found) == 1:
            return found[0].statistics(title)
        return (merged(found, self.options) if found else Partial(self.options)).statistics(title)


def gather(
    examples: Examples,
    spans: Sequence[str],
    options: Options = DEFAULT,
    scratch: Path | None = None,
    late: bool = False,
) -> Gathered:
    """Return what each of `spans` holds, counted by the engine that `options` choose.

    Args:
        examples: Rows by span.
        spans: Which of them; each is read once.
        options: Engine, weight, slices and schema.
        scratch: Folder that Beam's workers see too, unless `options.beam` names a `--temp_location`; the results
            pass through it. A temporary folder of this machine by default.
        late: Where there are few rows, count them when they are asked for: cheap where many spans are asked for at
            once, and what is wrong with the rows is said then.

    Raises:
        DataError: A span is asked for that was not extracted, or the rows do not have what the options ask for.
        ArtifactError: A shard is not what was written.
    """
    from flywheel.statistics.partial import Partial
    from flywheel.statistics.units import units

    Partial(options).check(examples.schema)
    work = units(examples, spans)
    if options.by_beam(sum(unit.rows for unit in work) * len(examples.schema.names)):
        from flywheel.statistics.beam import count_by_beam

        return Gathered(count_by_beam(work, options, scratch), options)
    from flywheel.statistics.local import count_local, count_together

    if late and sum(unit.rows for unit in work) <= _FEW:
        sizes: dict[str, int] = {}
        for unit in work:
            sizes[unit.span] = sizes.get(unit.span, 0) + unit.rows

        def count(chosen: Sequence[str]) -> Partial:
            return count_together([unit for unit in work if unit.span in chosen], options)

        return Gathered({}, options, sizes, count)
    counts: dict[str, Partial] = {}
    for unit, found in zip(work, count_local(work, options), strict=True):
        if unit.span in counts:
            counts[unit.span].merge(found)
        else:
            counts[unit.span] = found
    return Gathered(counts, options)


def summarize_spans(examples: Examples, spans: Sequence[str], options: Options = DEFAULT) -> dict[str, Any]:
    """Return TFDV's statistics of each of `spans` that has rows, by its name; `gather` gives them together, too."""
    found = gather(examples, spans, options)
    return {span: found.of([span]) for span in spans if found.rows([span])}
