"""What the data gate would have said of every span, each by those before it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.artifacts import Examples

if TYPE_CHECKING:
    from flywheel.profiles import History, Settings
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


def judged(workspace: Workspace, spans: list[str]) -> DataGate:
    """Extract `spans` and judge them in order, by the schema, the invariants and those before each.

    The champion's score is not among what is looked at: it depends on the policy.

    Args:
        workspace: The project.
        spans: Names, oldest first.
    """
    from flywheel.backtest.bench import state_of
    from flywheel.profiles import History
    from flywheel.steps.extract import extract
    from flywheel.steps.validate import look

    project = workspace.project
    settings = {
        "label": project.label,
        "task": project.task,
        "every": project.source.every,
        "gate": project.gates.data.model_dump(mode="json", exclude_none=True),
        "statistics": project.statistics.model_dump(mode="json", exclude_none=True),
    }
    with tempfile.TemporaryDirectory(prefix="flywheel-") as folder:
        asked = project.source.for_steps()
        path = Path(folder, "examples")
        state = state_of(workspace, workspace.warehouse)
        extract(workspace.query(), workspace.warehouse, spans, project.columns, asked, state, path)
        examples = Examples.open(path)
        history = History(project.source.every, whole=True)
        seen = look(examples, Path(workspace.pack()), settings, history, {})
        rows = {span: examples.rows_of([span]) for span in spans}
    bad = dict(seen.walked.bad)
    if seen.walked.newest.failed:
        bad[max(span for span in spans if rows[span])] = seen.walked.newest.failed[0].reason
    return DataGate(bad, history, seen.settings, rows)
