"""A flywheel on this machine: the compiled pipeline, run for one span after another."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.alone import alone
from flywheel.errors import ConfigError, DataError
from flywheel.ledger import Ledger, Outcome, Row
from flywheel.ledger.store import OPENED
from flywheel.spans import Span, Windows

if TYPE_CHECKING:
    from flywheel.runner import Result
    from flywheel.workspace import Workspace


class Flywheel:
    """Runs the pipeline of a workspace, and keeps reports and schema where people look for them.

    Args:
        workspace: What to run.
        launch: Runs a compiled pipeline; `flywheel.runner.run` by default.
        told: Called with a sentence when it has to wait; by default it stands on standard error.
    """

    def __init__(
        self,
        workspace: Workspace,
        launch: Callable[..., Result] | None = None,
        told: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n"),
    ) -> None:
        self.workspace, self._launch, self._told = workspace, launch, told
        self.trained: tuple[str, ...] = ()
        """Training runs in MLflow behind the models of the last run, whoever did them."""

    def check(self, spans: Iterable[str] = ()) -> None:
        """Look for what is wrong with the input before anything is started.

        Raises:
            ConfigError: A span, the SQL file, the watermark, a column or its type, the schema, an invariant or the
                trainer is wrong; the message says which.
        """
        from flywheel import invariants, schemas
        from flywheel.steps.extract import check
        from flywheel.steps.transform import checked

        project = self.workspace.project
        source = project.source
        for span in spans:
            Windows.of(Span.parse(span, source.every), source.window, source.judge)
        self.workspace.check_trainer()
        schemas.load(self.workspace.folder)
        rules = invariants.load(self.workspace.folder)
        asked = source.for_steps()
        given = check(self.workspace.query(), self.workspace.warehouse, project.columns, asked)
        features = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in project.features]
        try:
            checked(features, project.label, given, project.task)
        except DataError as error:
            raise ConfigError(error.message, error.remedy) from None
        for rule in rules:
            if lost := [column for column in rule.columns if column not in given.names]:
                raise ConfigError(
                    f"{invariants.FILE}: {rule} names the column {lost[0]!r}, which the query does not give",
                    f"it gives {', '.join(given.names)}: add the column to the query, or take the invariant out.",
                )

    def check_server(self) -> None:
        """Ask a ledger that is a server, before steps do: they wait minutes for one to come back, and say nothing.

        Raises:
            LedgerError: It does not answer.
        """
        if self.workspace.ledger.startswith(("http://", "https://")):
            Ledger(self.workspace.ledger).champion(self.workspace.project.name)

    def run(self, span: str = "") -> Row:
        """Run for `span`, by default the last one that is complete, and return its row of the ledger.

        A step that fails gives a row with the outcome `failed`; a span that is done gives `not-needed`, one whose data
        has not arrived `not-ready`. While another process runs a span of this folder, it is waited for.
        """
        with self.alone():
            return self._run(span)

    def alone(self) -> AbstractContextManager[None]:
        """Hold the folder for a run: of two at a time, one would judge by a champion that the other replaces."""

        def wait(who: str) -> None:
            self._told(f"another run of {self.workspace.project.name} is under way ({who}): waiting until it ends")

        return alone(self.workspace.state / "run.lock", wait)

    def _run(self, span: str) -> Row:
        from flywheel.kubeflow.compile import compiled
        from flywheel.runner import run

        here = self.workspace
        os.environ[OPENED] = here.ledger
        pipeline = compiled(here.compilable(), here.query(), here.state / "compiled", here.serving_query())
        arguments = {
            "code": here.pack(),
            "span": span,
            "warehouse": here.warehouse,
            "ledger": here.ledger,
            "serving": here.target,
        }
        result = (self._launch or run)(pipeline, arguments, root=here.state, preload=here.trainer_imports())
        row = _row(result, span)
        models = [task.artifacts["model"].metadata for task in result.tasks.values() if "model" in task.artifacts]
        self.trained = tuple(told["training_run"] for told in models if "training_run" in told)
        self._keep_reports(result, row)
        self._keep_schema(result, row)
        return row

    @property
    def reports(self) -> Path:
        """Where reports are kept, one folder a span."""
        return self.workspace.state / "reports"

    def reports_of(self, span: str) -> Path:
        """Return the folder with the reports of a span's last run."""
        return self.reports / span

    def _keep_reports(self, result: Result, row: Row) -> None:
        """Copy what people read out of the run's folder, in place of what an earlier run for the span left there."""
        made = {name: task.artifacts.get("report") for name, task in result.tasks.items()}
        found = {name: report.path for name, report in made.items() if report is not None and report.path.is_file()}
        folder = self.reports_of(row.span)
        if found:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        for name, report in found.items():
            shutil.copyfile(report, folder / f"{name.rsplit('/', 1)[-1]}.html")

    def _keep_schema(self, result: Result, row: Row) -> None:
        """Put the schema that a first run inferred beside flywheel.yaml, unless its data was found bad or it failed."""
        found = [task.artifacts["statistics"] for task in result.tasks.values() if "statistics" in task.artifacts]
        accepted = row.outcome in ("promoted", "kept-champion")
        if found and accepted and not self.workspace.schema.exists():
            partial = self.workspace.schema.with_name(f".{self.workspace.schema.name}.partial")
            shutil.copyfile(found[0].path / "schema.pbtxt", partial)
            partial.replace(self.workspace.schema)


class Monitoring:
    """Runs the monitoring pipeline of a workspace, and keeps its report beside those of the span.

    Args:
        workspace: What to look at.
        launch: Runs a compiled pipeline; `flywheel.runner.run` by default.
    """

    def __init__(self, workspace: Workspace, launch: Callable[..., Result] | None = None) -> None:
        self.workspace, self._launch = workspace, launch

    def run(self, span: str = "") -> Row:
        """Look at `span`, by default the last one that is over, and return its row of the ledger.

        Raises:
            ConfigError: The span or a file is wrong, or nothing says where requests are logged.
        """
        from flywheel.kubeflow.compile import compiled_monitoring
        from flywheel.runner import run

        here = self.workspace
        if span:
            Span.parse(span, here.project.source.every)
        requests, serving = here.logged(), here.serving_query()
        if not requests and not serving:
            raise ConfigError(
                "nothing says where requests are logged",
                "give `deploy: {log: {sample: 1.0}}` where `flywheel serve` serves, or `source.serving`, a query.",
            )
        pipeline = compiled_monitoring(here.compilable(), here.state / "compiled", here.labels_query(), serving)
        arguments = {"span": span, "requests": requests, "warehouse": here.warehouse, "ledger": here.ledger}
        result = (self._launch or run)(pipeline, arguments, root=here.state)
        row = _row(result, span)
        task = result.tasks.get("monitor") or next((t for n, t in result.tasks.items() if n.endswith("/monitor")), None)
        made = task.artifacts.get("report") if task else None
        if made is not None and made.path.is_file():
            self.report(row.span).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made.path, self.report(row.span))
        return row

    def report(self, span: str) -> Path:
        """Return the file that a span's report is kept in."""
        return self.workspace.state / "reports" / "monitoring" / f"{span}.html"


def _row(result: Result, span: str) -> Row:
    """Return the row that the run's exit task left, or one that says why there is none."""
    concluded = result.tasks["conclude"].outputs.get("Output") if "conclude" in result.tasks else None
    if concluded:
        return Row.from_dict(concluded)
    planned = _planned(result)
    if result.ok and planned and not planned["go"]:
        outcome: Outcome = planned["outcome"]
        return Row.without_a_run(planned["span"], result.id, outcome, planned["reason"], result.seconds)
    why = str(result.failed[0].error) if result.failed else f"the run ended {result.status.lower()}"
    return Row.without_a_run(planned["span"] if planned else span, result.id, "failed", why, result.seconds)


def _planned(result: Result) -> dict[str, Any]:
    return next((task.outputs for name, task in result.tasks.items() if name.rsplit("/", 1)[-1] == "plan"), {})
