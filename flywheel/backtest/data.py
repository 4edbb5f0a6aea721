"""What the data gate would have said of every span, each by those before it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import ADDED, Examples

if TYPE_CHECKING:
    from flywheel.profiles import History, Settings
    from flywheel.workspace import Workspace


@dataclass(frozen=True)
class DataGate:
    """Verdicts of the data gate on all spans of a backtest.

    Attributes:
        bad: Why, for each span that it would have kept out.
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


def judged(workspace: Workspace, spans: list[str], said: Callable[[int, int], None]) -> DataGate:
    """Extract `spans` and judge them in order, by the schema, the invariants and those before each.

    The champion's score is not among what is looked at: it depends on the policy.

    Args:
        workspace: The project.
        spans: Names, oldest first.
        said: Told how many spans are done, of how many.
    """
    from flywheel import statistics as stats
    from flywheel.backtest.bench import state_of
    from flywheel.profiles import History, Settings
    from flywheel.profiles.gate import SpanGate
    from flywheel.profiles.walk import walk
    from flywheel.steps.extract import extract
    from flywheel.steps.validate import rules_of

    project = workspace.project
    gate = project.gates.data.model_dump(mode="json", exclude_none=True)
    told: dict[str, Any] = {"label": project.label, "task": project.task, "every": project.source.every, "gate": gate}
    settings = Settings.of({**told, "leave_out": list(ADDED)})
    with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
        asked = project.source.model_dump(mode="json", exclude_none=True)
        path = Path(folder, "examples")
        state = state_of(workspace, workspace.warehouse)
        extract(workspace.query(), workspace.warehouse, spans, project.columns, asked, state, path)
        examples = Examples.open(path)
        code = Path(workspace.pack())
        given = stats.read_schema(code)
        there = [span for span in spans if examples.rows_of([span])]
        options = stats.Options.of(project.statistics.model_dump(mode="json", exclude_none=True), given)
        counted = stats.gather(examples, there, options)
        expected = stats.infer_schema(counted.of(there), project.label) if given is None else given
        history = History(project.source.every, whole=True)
        walked = walk(
            SpanGate(settings, history, expected, rules_of(code, gate)),
            examples,
            {},
            lambda span: counted.of([span]),
            said,
        )
        bad = dict(walked.bad)
        if walked.newest.failed:
            bad[there[-1]] = walked.newest.failed[0].reason
        bad |= {span: "it has no rows" for span in spans if span not in there}
        return DataGate(bad, history, settings, {span: examples.rows_of([span]) for span in spans})
