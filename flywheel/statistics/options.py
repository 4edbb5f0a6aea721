"""What is counted, and by which engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Options:
    """How statistics are made; the same options give the same files, whichever engine makes them."""

    engine: str = "auto"
    """`local`, `beam`, or `auto`: local up to `BEAM_FROM` values, above it Beam if `beam` names a runner."""
    weight: str | None = None
    """Column with the weight of a row; TFDV then gives weighted counts, means and histograms beside the plain ones."""
    slices: tuple[str, ...] = ()
    """Columns; each of their values has statistics of its own beside those of all rows."""
    beam: tuple[str, ...] = ()
    """Beam's pipeline options, as `--runner=DataflowRunner`."""
    schema: str = ""
    """A schema as text proto: whole numbers that it calls categorical are counted as categories, and so on."""

    BEAM_FROM = 2_000_000_000
    """Values (rows times columns) from which `auto` hands over to a runner: some four minutes of one core."""

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None, schema: Any = None) -> Options:
        """Return the options that `statistics` of flywheel.yaml and the project's schema, if any, ask for."""
        from google.protobuf import text_format

        found = dict(settings or {})
        return cls(
            engine=found.get("engine") or "auto",
            weight=found.get("weight") or None,
            slices=tuple(found.get("slices") or ()),
            beam=tuple(found.get("beam") or ()),
            schema="" if schema is None else text_format.MessageToString(schema),
        )

    @property
    def distributed(self) -> bool:
        """Whether `beam` names a runner."""
        return any(flag == "--runner" or flag.startswith("--runner=") for flag in self.beam)

    def by_beam(self, values: int) -> bool:
        """Return whether Beam counts a data set of so many values."""
        return self.engine == "beam" or (self.engine == "auto" and self.distributed and values > self.BEAM_FROM)


DEFAULT = Options()
