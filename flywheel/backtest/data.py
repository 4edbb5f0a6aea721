"""What the data gate would have said of every span, each by those before it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples
from flywheel.kept import Kept

if TYPE_CHECKING:
    from flywheel.profiles import Entry, History, Settings
    from flywheel.workspace import Workspace


@dataclass(frozen=True)
class DataGate:
    """Verdicts of the data gate on all spans of a backtest.

    Attributes:
        bad: Why, for each span that it would have kept out; one without rows is none of them.
        history: What every span looked like.
        settings: What is looked at.
        rows: Rows of each span.
    """

    bad: Mapping[str, str]
    history: History
    settings: Settings
    rows: Mapping[str, int]

    def moved(self, span: str, window: tuple[str, ...]) -> dict[str, str]:
        """Return the columns that have moved from what a model was trained on, as seen at `span`."""
        from flywheel.profiles.aging import drift_since_training

        if span not in self.history:
            return {}
        found = drift_since_training(self.history, span, f"{window[0]} to {window[-1]}", self.settings)
        return {check.column: check.reason for check in found}


def judged(workspace: Workspace, spans: list[str], root: Path, prepare: Callable[[], None] = lambda: None) -> DataGate:
    """Extract `spans` and judge them in order, by the schema, the invariants and those before each.

    The champion's score is not among what is looked at: it depends on the policy. What was looked at is kept, span by
    span, by all that it depends on: a call after one that was interrupted goes on from there.

    Args:
        workspace: The project.
        spans: Names, oldest first.
        root: Where it is kept.
        prepare: Called before anything is looked at.
    """
    from flywheel.backtest.bench import state_of
    from flywheel.invariants.file import load
    from flywheel.runner import Cache
    from flywheel.statistics import SCHEMA_FILE
    from flywheel.steps.extract import extract

    project = workspace.project
    settings = {
        "label": project.label,
        "task": project.task,
        "every": project.source.every,
        "gate": project.gates.data.model_dump(mode="json", exclude_none=True),
        "statistics": project.statistics.model_dump(mode="json", exclude_none=True),
    }
    schema, asked = workspace.folder / SCHEMA_FILE, project.source.for_steps()
    bars = [settings, schema.read_text("utf-8") if schema.is_file() else "", repr(load(workspace.folder))]
    state = state_of(workspace, workspace.warehouse)
    query, warehouse, columns = workspace.query(), workspace.warehouse, project.columns
    kept = Kept.under(root) if state else Kept()

    def look_at_all() -> DataGate:
        prepare()
        with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
            examples = extract(query, warehouse, spans, columns, asked, state, Path(folder, "examples"), kept)
            return _looked_at(examples, Path(workspace.pack()), settings, bars, kept)

    own = Cache(root).code(f"import {__name__}")
    return kept.value(look_at_all, "data gate", own, spans, query, warehouse, columns, asked, state, bars)


def _looked_at(examples: Examples, code: Path, settings: Mapping[str, Any], bars: list[Any], kept: Kept) -> DataGate:
    """Judge the spans that were not looked at before, beside these bars and the same ones before each."""
    from flywheel.profiles import History
    from flywheel.profiles.walk import SpanRows
    from flywheel.steps.validate import look

    history = History(settings["every"], whole=True)
    spans = [span for span in examples.spans if examples.rows_of([span])]
    digests = [SpanRows(examples, span).digest for span in spans]
    inferred = [] if bars[1] else digests  # a schema that comes of all of them
    keys = {span: kept.key("look", bars, digests[: place + 1], inferred) for place, span in enumerate(spans)}
    for span in spans[:-1]:  # the newest is judged in any case
        if (entry := kept.found(keys[span])) is None:
            break
        history.add(entry)
    known = set(history.spans)

    def keep(entry: Entry) -> None:
        if entry.span not in known:
            kept.put(keys[entry.span], f"look at {entry.span}", entry)

    seen = look(examples, code, settings, history, {}, kept=kept, taken=keep)
    bad = dict(seen.walked.bad)
    if seen.walked.newest.failed:
        bad[spans[-1]] = seen.walked.newest.failed[0].reason
    return DataGate(bad, history, seen.settings, {span: examples.rows_of([span]) for span in examples.spans})
