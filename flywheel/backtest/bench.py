"""Models of any span and window, trained when they are first asked for, and what they predict for any span."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.spans import Span, Windows

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.config import Project
    from flywheel.runner import Result
    from flywheel.runner.result import TaskResult
    from flywheel.workspace import Workspace

FOLDER = "backtest"
_AHEAD = (28, 112, 100_000)
"""A model is asked about so many spans after its own at first, about more only once it has served so long."""
_TABLES = 12
_TOGETHER = 6
"""So many models are trained by one run of the pipeline."""


@dataclass
class Trial:
    """A model that was trained on `window` for `span`.

    Attributes:
        span: The span that it was trained for.
        window: The spans that it was trained on.
        files: Its predictions by part, `judge` or `truth`: Parquet, as `analyze` writes them.
        until: How many spans of the backtest, from the first, those predictions reach to.
        seconds: What its training took.
    """

    span: str
    window: tuple[str, ...]
    files: dict[str, Path] = field(default_factory=dict)
    until: int = 0
    seconds: float = 0.0


class Bench:
    """Trains and asks models by the project's own steps, on this machine.

    Args:
        workspace: The project; its `source.window` is not looked at.
        spans: All spans of the backtest with those that its first windows need, oldest first.
        truth: Warehouse with the rows that a model in service really met, where `warehouse` has others; empty when it
            has not.
        launch: Runs a compiled pipeline, as `flywheel.runner.run`.
    """

    def __init__(
        self,
        workspace: Workspace,
        spans: Sequence[str],
        truth: str,
        launch: Callable[..., Result],
    ) -> None:
        self.workspace, self.spans, self.truth, self._launch = workspace, list(spans), truth, launch
        self._place = {span: place for place, span in enumerate(self.spans)}
        self._trials: dict[tuple[str, tuple[str, ...]], Trial] = {}
        self._arguments: dict[str, Any] | None = None
        self.root = workspace.state / FOLDER
        self._read = lru_cache(_TABLES)(_read)

    @property
    def project(self) -> Project:
        """What flywheel.yaml declares."""
        return self.workspace.project

    @property
    def trained(self) -> int:
        """How many models there are."""
        return len(self._trials)

    def trial(self, span: str, window: Sequence[str]) -> Trial:
        """Return the model of a span and window, trained now if it was not."""
        self.prepare([(span, window)])
        return self._trials[span, tuple(window)]

    def prepare(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Train models of these spans and windows, several at the same time."""
        new = [Trial(span, tuple(window)) for span, window in wanted if (span, tuple(window)) not in self._trials]
        for first in range(0, len(new), _TOGETHER):
            some = new[first : first + _TOGETHER]
            self._ask(some, _AHEAD[0])
            self._trials |= {(each.span, each.window): each for each in some}

    def predictions(self, trial: Trial, spans: Sequence[str], part: str = "judge") -> pa.Table:
        """Return what a model predicts for some spans, as `analyze` writes it; rows in the order of the spans."""
        import pyarrow as pa
        import pyarrow.compute as pc

        last = self._place[spans[-1]] + 1
        while trial.until < last:
            reached = trial.until - self._place[trial.span] - 1
            self._ask([trial], next(ahead for ahead in _AHEAD if ahead > reached))
        table = self._read(trial.files[part])
        return table.filter(pc.is_in(table["span"], value_set=pa.array(list(spans))))

    def _ask(self, models: Sequence[Trial], ahead: int) -> None:
        from flywheel.evaluation.predictions import FILE
        from flywheel.kubeflow.compile import compiled_trials

        here, told = self.workspace, []
        for model in models:
            place = self._place[model.span]
            model.until = min(place + 1 + ahead, len(self.spans))
            behind = self.spans[self._place[model.window[-1]] + 1 : model.until]
            truth = self.spans[place + 1 : model.until] if self.truth else []
            told.append({"window": list(model.window), "judge": behind, "truth": truth})
        pipeline = compiled_trials(here.compilable(), here.query(), self.root / "compiled", told)
        result = self._launch(pipeline, self._given(), root=self.root, preload=here.trainer_imports())
        result.raise_if_failed()
        trained, asked = _made_by(result.tasks, "train"), iter(_made_by(result.tasks, "analyze"))
        for model, each, train in zip(models, told, trained, strict=True):
            model.seconds = max(model.seconds, train.seconds)  # one that comes from the cache took none
            for part in ("judge", "truth"):
                if each[part]:
                    model.files[part] = next(asked).artifacts["evaluation"].path / FILE

    def _given(self) -> Mapping[str, Any]:
        if self._arguments is None:
            from flywheel.ledger.store import ensure_sqlite

            here = self.workspace
            self.root.mkdir(parents=True, exist_ok=True)
            store = self.root / "mlflow.db"
            ensure_sqlite(store)
            self._arguments = {
                "code": here.pack(),
                "state": state_of(here, here.warehouse),
                "warehouse": here.warehouse,
                "ledger": f"sqlite:///{store}",
            }
            if self.truth:
                self._arguments |= {"truth": self.truth, "truth_state": state_of(here, self.truth)}
        return self._arguments


def state_of(workspace: Workspace, warehouse: str) -> str:
    """Return what a warehouse's rows are like now, for caches."""
    from flywheel.steps.ready import Data

    asked = workspace.project.source.for_steps()
    with Data(warehouse, workspace.query(), asked) as data:
        return data.state


def spans_needed(first: Span, last: Span, window: int, judge: int) -> list[str]:
    """Return all spans that a backtest from `first` to `last` reads, by name, oldest first."""
    at, found = Windows.of(first, window, judge).all[0], []
    while at <= last:
        found.append(at.name)
        at = at.shift(1)
    return found


def _read(file: Path) -> pa.Table:
    import pyarrow.parquet as pq

    return pq.read_table(file)


def _made_by(tasks: Mapping[str, TaskResult], component: str) -> list[TaskResult]:
    """Return the tasks of a component in the order of the pipeline: kfp numbers them from the second."""
    names = [component, *(f"{component}-{number}" for number in range(2, len(tasks) + 1))]
    return [tasks[name] for name in names if name in tasks]
