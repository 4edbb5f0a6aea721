"""The data gate as the example has it set, asked for one day after another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from flywheel import invariants
from flywheel.artifacts import Check
from flywheel.config import load
from flywheel.profiles import History, Settings
from flywheel.profiles.gate import Judged, SpanGate
from tests.faults.world import EXAMPLE

SCHEMA = EXAMPLE / "schema.pbtxt"


@dataclass(frozen=True)
class Day:
    """A day that was judged, and its rows, from which more may be learnt."""

    judged: Judged
    batches: list[pa.RecordBatch]

    @property
    def checks(self) -> tuple[Check, ...]:
        """Everything that was looked at."""
        return self.judged.checks


class Gate:
    """What it learnt from the days before, and its word on the next.

    Args:
        settings: What flywheel.yaml says of the data; the example's by default.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._gate = SpanGate(settings or of_the_example(), History(), _schema(), invariants.load(EXAMPLE))

    def judge(self, day: date, batches: Sequence[pa.RecordBatch]) -> Day:
        """Return what it says of a day; nothing is learnt from it yet."""
        return Day(self._gate.judge(day.isoformat(), batches), list(batches))

    def learn(self, day: Day, *, waived: bool = False) -> None:
        """Take in a day that was judged, as a run does: one that was blocked teaches nothing, unless it is waived."""
        self._gate.take(day.judged, day.batches, waived=waived and bool(day.judged.failed))

    def copy(self) -> Gate:
        """Return a gate that learns apart from this one."""
        return copy.deepcopy(self)


def of_the_example() -> Settings:
    """Return the settings that the example's flywheel.yaml makes."""
    project = load(EXAMPLE)
    return Settings.of({"label": project.label, "gate": project.gates.data.model_dump(mode="json")})


def _schema():
    """Return what the example's schema.pbtxt asks of every column; None when it has none."""
    if not SCHEMA.is_file():
        return None
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(SCHEMA.read_text(), schema_pb2.Schema())
