"""What a backfill does ahead: rows and models of later spans, made by a helper into the runner's cache.

None of it depends on the champion, so it need not wait for it; a run that then comes to these steps finds the results.
The helper is a process of its own that reads from its standard input what to prepare, a JSON object a line, and ends
with it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from flywheel.spans import Span, Windows, reach
from flywheel.training.tracking import AHEAD, ASKED_AHEAD

if TYPE_CHECKING:
    from flywheel.ledger import Ledger
    from flywheel.workspace import Workspace

_FOLDER = "ahead"


class Ahead:
    """A helper that prepares up to `depth` spans before they are run; use it as a context manager.

    It is only a help: a span that it cannot prepare, say because its rows are wrong, fails in its own run, by name.

    Args:
        workspace: Whose spans.
        options: Profile and overrides that the workspace was opened with.
        spans: Names of all spans that are to be run, oldest first.
        depth: How many to prepare before they are asked for; 0, and nothing is done ahead.
        told: Called with a sentence if the helper ends before its time; by default it stands on standard error.
    """

    def __init__(
        self,
        workspace: Workspace,
        options: tuple[str | None, Sequence[str]],
        spans: Sequence[str],
        depth: int,
        told: Callable[[str], object] = lambda text: sys.stderr.write(f"{text}\n"),
    ) -> None:
        self._workspace, self._options, self._left, self._depth = workspace, options, list(spans), depth
        self._told = told
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Ahead:
        if self._depth:
            from flywheel.runner import boot

            profile, overrides = self._options
            command = boot.command("flywheel.ahead", str(self._workspace.folder), profile or "", *overrides)
            log = (self._workspace.state / f"{_FOLDER}.log").open("w")
            with log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.terminate()
        self._process.wait()
        for left in (self._workspace.state / _FOLDER / "runs").glob("*"):  # it was in the middle of one
            shutil.rmtree(left, ignore_errors=True)

    def begun(self, span: str, bad: Callable[[], Collection[str]] = tuple) -> None:
        """Say that `span` is run now: those after it, up to `depth`, are prepared meanwhile.

        Args:
            span: Its name.
            bad: Gives the spans that the data gate found bad so far; a wrong guess costs what was prepared.
        """
        if span not in self._left or self._process is None:
            return
        if self._process.poll() is not None:
            log = self._workspace.state / f"{_FOLDER}.log"
            self._told(f"nothing is prepared ahead any more, so spans take longer: the helper has ended, see {log}")
            self._left = []
            return
        at = self._left.index(span) + 1
        wanted, self._left = self._left[at : at + self._depth], self._left[at:]
        known = sorted(bad())
        with suppress(OSError):  # the helper is gone; the runs do its work
            for name in wanted:
                told = json.dumps({"span": name, "bad": known})
                self._process.stdin.write(f"{told}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]


def prepare(workspace: Workspace, span: str, bad: Collection[str], run: Callable[..., Any]) -> None:
    """Do what a run for `span` is going to need, without the spans in `bad`, into the cache that it looks into."""
    from flywheel.kubeflow.compile import compiled_ahead
    from flywheel.say import say
    from flywheel.steps.ready import Data

    project, query = workspace.compilable(), workspace.query()
    asked = project.source.for_steps()
    sizes = project.source.window, project.source.judge
    furthest = reach(*sizes, project.gates.data.leave_out)
    windows = Windows.of(Span.parse(span, project.source.every), *sizes, bad, furthest)
    with Data(workspace.warehouse, query, asked) as data:
        state = data.state
    root = _root(workspace.state)
    arguments = {
        "code": workspace.pack(),
        "spans": [part.name for part in windows.all],
        "window": [part.name for part in windows.train],
        "state": state,
        "warehouse": workspace.warehouse,
        "ledger": workspace.ledger,
    }
    pipeline = compiled_ahead(project, query, workspace.state / "compiled")
    result = run(pipeline, arguments, root=root, jobs=1, preload=workspace.trainer_imports())
    took = ", ".join(f"{name} {task.cpu:.1f}" for name, task in result.tasks.items() if task.cpu)
    say(f"{span}: {result.status.lower()} in {result.seconds:.1f} s; seconds of a processor: {took or 'none'}")
    shutil.rmtree(result.folder, ignore_errors=True)  # the cache has its own links to all of it


def _root(state: Path) -> Path:
    """Return the root of the helper's own runs, which has the cache of a project's state folder."""
    root = state / _FOLDER
    for folder in (root, state / "cache"):  # a link to a cache that is yet to come could not be made one
        folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (root / "cache").symlink_to(Path("..", "cache"))
    return root


def sort_out(ledger: Ledger, name: str, span: str, used: Collection[str]) -> None:
    """Forget what was trained ahead for `span`, which is done, and of no use to it; the rest is like any training.

    Args:
        ledger: Where it was logged.
        name: Of the flywheel.
        span: Name of the span.
        used: Training runs in MLflow behind the models that it was decided about.

    Raises:
        LedgerError: The ledger does not answer.
    """
    wanted = f"tags.`{AHEAD}` = 'yes' and tags.`flywheel.span` = '{span}'"
    for found in ledger.client.search_runs([ledger.experiment(name)], wanted):
        if found.info.run_id in used:
            ledger.client.delete_tag(found.info.run_id, AHEAD)
        else:
            ledger.client.delete_run(found.info.run_id)


def main() -> None:
    """Prepare the spans that standard input names, each once, until it ends."""
    from flywheel.errors import FlywheelError
    from flywheel.ledger.store import OPENED
    from flywheel.runner import run
    from flywheel.say import say
    from flywheel.workspace import Workspace

    folder, profile, *overrides = sys.argv[1:]
    os.nice(5)  # the run that is waited for goes first
    os.environ[ASKED_AHEAD] = "yes"
    seen: set[str] = set()
    workspace = Workspace.open(Path(folder), profile or None, overrides)
    os.environ[OPENED] = workspace.ledger
    for line in sys.stdin:
        told = json.loads(line)
        span = told["span"]
        if span in seen:
            continue
        seen.add(span)
        try:
            prepare(workspace, span, told["bad"], run)
        except FlywheelError as error:
            say(f"{span}: {error}")
