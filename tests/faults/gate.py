"""The data gate as the example has it set, asked for one day after another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from flywheel import invariants, statistics
from flywheel.artifacts import Check
from flywheel.config import load
from flywheel.profiles import History, Settings
from flywheel.profiles.anomalies import drift_checks
from flywheel.profiles.gate import Judged, SpanGate
from tests.faults.champion import Champions
from tests.faults.world import EXAMPLE


@dataclass(frozen=True)
class Day:
    """A day that was judged.

    Attributes:
        judged: What was found of it beside its past.
        checks: Everything that was looked at.
        batches: Its rows, from which more may be learnt.
        counted: TFDV's statistics of them.
    """

    judged: Judged
    checks: tuple[Check, ...]
    batches: list[pa.RecordBatch]
    counted: Any


class Gate:
    """What it learnt from the days before, and its word on the next: all that `validate` asks of the newest span."""

    def __init__(self) -> None:
        project = load(EXAMPLE)
        self._schema = _schema()
        self._drift = project.gates.data.drift
        self._champions = Champions(project)
        rules = invariants.load(EXAMPLE)
        self._gate = SpanGate(of_the_example(), History(), self._schema, rules, self._champions.score)
        self._before: Day | None = None

    def judge(self, day: date, batches: Sequence[pa.RecordBatch]) -> Day:
        """Return what it says of a day that has rows; nothing is learnt from it yet."""
        self._champions.asked = rows = list(batches)
        counted = statistics.summarize(rows, day.isoformat())
        judged = self._gate.judge(day.isoformat(), rows, counted)
        return Day(judged, (*judged.checks, *self._moved(day, counted)), rows, counted)

    def learn(self, day: Day, *, waived: bool = False) -> None:
        """Take in a day that was judged, as a run does: one that was blocked teaches nothing, unless it is waived."""
        failed = bool(day.judged.failed)
        self._gate.take(day.judged, day.batches, waived=waived and failed)
        if waived or not failed:
            self._before = day
            self._champions.learn(date.fromisoformat(day.judged.span), day.batches)

    def copy(self) -> Gate:
        """Return a gate that learns apart from this one."""
        return copy.deepcopy(self)

    def _moved(self, day: date, counted: Any) -> list[Check]:
        """Return the checks of `gates.data.drift`: how far the day is from the last good one."""
        if self._before is None or self._schema is None:
            return []
        groups = {"newest": [day.isoformat()], "before": [self._before.judged.span]}
        checks, _ = drift_checks(self._schema, self._drift, {"newest": counted, "before": self._before.counted}, groups)
        return checks


def of_the_example() -> Settings:
    """Return the settings that the example's flywheel.yaml makes."""
    project = load(EXAMPLE)
    return Settings.of({"label": project.label, "gate": project.gates.data.model_dump(mode="json")})


def _schema() -> Any:
    """Return what the example's schema.pbtxt asks of every column; None when it has none."""
    file = EXAMPLE / statistics.SCHEMA_FILE
    if not file.is_file():
        return None
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    return text_format.Parse(file.read_text(), schema_pb2.Schema())
