"""What a backfill does ahead: rows and models of later spans, made by a helper into the runner's cache.

None of it depends on the champion, so it need not wait for it; a run that then comes to these steps finds the results.
The helper is a process of its own that reads from its standard input what to prepare, a JSON object a line of which the
newest counts, and ends with it. Candidates go first: it trains a baseline when nothing else is to be done, else the run
does that itself, so that neither of the two waits long for the other.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from flywheel.spans import Span, Windows, reach
from flywheel.training.tracking import AHEAD, ASKED_AHEAD

if TYPE_CHECKING:
    from flywheel.config import Project
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
        self._workspace, self._options, self._spans, self._depth = workspace, options, list(spans), depth
        self._told, self._gone, self._bad = told, False, list[str]()
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

    def begun(self, span: str, bad: Callable[[], Collection[str] | None] = tuple) -> None:
        """Say that `span` is run now: those after it, up to `depth`, are prepared meanwhile.

        Args:
            span: Its name.
            bad: Gives the spans that the data gate found bad so far; None if that cannot be had now. Once another is
                found, what was prepared for windows with it in them is prepared anew.
        """
        if self._process is None or self._gone or span not in self._spans:
            return
        if self._process.poll() is not None:
            log = self._workspace.state / f"{_FOLDER}.log"
            self._told(f"nothing is prepared ahead any more, so spans take longer: the helper has ended, see {log}")
            self._gone = True
            return
        at = self._spans.index(span) + 1
        known = bad()
        self._bad = self._bad if known is None else sorted(known)
        told = json.dumps({"spans": self._spans[at : at + self._depth], "bad": self._bad})
        with suppress(OSError):  # the helper is gone; the runs do its work
            self._process.stdin.write(f"{told}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]


class Asked:
    """What the helper is asked for.

    Args:
        source: Descriptor that it reads.

    Attributes:
        spans: Names of those to prepare, oldest first.
        bad: Those that the data gate found bad so far.
        ended: Whether nothing more is going to be asked for.
    """

    def __init__(self, source: int = 0) -> None:
        self.spans: tuple[str, ...] = ()
        self.bad: tuple[str, ...] = ()
        self.ended = False
        self._source, self._part = source, b""

    def look(self, wait: bool) -> None:
        """Take the newest of what has come.

        Args:
            wait: Whether to wait for something if nothing has.
        """
        while not self.ended and select.select([self._source], [], [], None if wait else 0)[0]:
            read = os.read(self._source, 1 << 16)
            *lines, self._part = (self._part + read).split(b"\n")
            if lines:
                newest = json.loads(lines[-1])
                self.spans, self.bad, wait = tuple(newest["spans"]), tuple(newest["bad"]), False
            self.ended = not read


class Todo(NamedTuple):
    """What is prepared: for the run of a span, by the windows that it has, and whether with its baseline."""

    span: str
    windows: Windows
    baseline: bool


class Turns:
    """What is prepared next. Windows that change, since another span is found bad, have a turn anew.

    Args:
        project: Whose spans.
    """

    def __init__(self, project: Project) -> None:
        self._source, self._furthest = project.source, project.gates.data.leave_out
        with_baseline = project.is_trained_ahead and project.train.for_baseline() is not None
        self._turns = (False, True) if with_baseline else (False,)
        self._done: set[tuple[Windows, bool]] = set()

    def next(self, spans: Sequence[str], bad: Collection[str]) -> Todo | None:
        """Return what is to be done, None if nothing is: candidates of all spans, and then baselines.

        Args:
            spans: Names of those that are wanted, oldest first.
            bad: Those that are left out of windows.
        """
        sizes = self._source.window, self._source.judge
        furthest = reach(*sizes, self._furthest)
        for baseline in self._turns:
            for span in spans:
                windows = Windows.of(Span.parse(span, self._source.every), *sizes, bad, furthest)
                if (windows, baseline) not in self._done:
                    return Todo(span, windows, baseline)
        return None

    def did(self, todo: Todo, ok: bool) -> None:
        """Note that something is done; where it failed, the baseline has no turn: the run tells what is wrong."""
        self._done |= {(todo.windows, turn) for turn in self._turns if not ok or turn == todo.baseline}


def prepare(workspace: Workspace, todo: Todo) -> bool:
    """Do what a run is going to need into the cache that it looks into; return whether all of it went well.

    Raises:
        FlywheelError: The rows cannot be read.
    """
    from flywheel.kubeflow.compile import compiled_ahead
    from flywheel.runner import run
    from flywheel.say import say
    from flywheel.steps.ready import Data

    project, query = workspace.compilable(), workspace.query()
    with Data(workspace.warehouse, query, project.source.for_steps()) as data:
        state = data.state
    root = _root(workspace.state)
    arguments = {
        "code": workspace.pack(),
        "spans": [part.name for part in todo.windows.all],
        "window": [part.name for part in todo.windows.train],
        "state": state,
        "baseline": todo.baseline,
        "warehouse": workspace.warehouse,
        "ledger": workspace.ledger,
    }
    pipeline = compiled_ahead(project, query, workspace.state / "compiled")
    result = run(pipeline, arguments, root=root, jobs=1, preload=workspace.trainer_imports())
    took = ", ".join(f"{name} {task.cpu:.1f}" for name, task in result.tasks.items() if task.cpu)
    say(f"{todo.span}: {result.status.lower()} in {result.seconds:.1f} s; seconds of a processor: {took or 'none'}")
    shutil.rmtree(result.folder, ignore_errors=True)  # the cache has its own links to all of it
    return result.ok


def _root(state: Path) -> Path:
    """Return the root of the helper's own runs, which has the cache of a project's state folder."""
    root = state / _FOLDER
    for folder in (root, state / "cache"):  # a link to a cache that is yet to come could not be made one
        folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (root / "cache").symlink_to(Path("..", "cache"))
    return root


def sort_out(ledger: Ledger, name: str, spans: Collection[str], used: Collection[str] = ()) -> None:
    """Forget what was trained ahead for `spans`, which are done, and of no use to them; the rest is like any training.

    Args:
        ledger: Where it was logged.
        name: Of the flywheel.
        spans: Names of the spans.
        used: Training runs in MLflow behind the models that it was decided about.

    Raises:
        LedgerError: The ledger does not answer.
    """
    for found in ledger.client.search_runs([ledger.experiment(name)], f"tags.`{AHEAD}` = 'yes'"):
        if found.info.run_id in used:
            ledger.client.delete_tag(found.info.run_id, AHEAD)
        elif found.data.tags["flywheel.span"] in spans:
            ledger.client.delete_run(found.info.run_id)


def main() -> None:
    """Prepare what standard input asks for until it ends."""
    from flywheel.errors import FlywheelError
    from flywheel.ledger.store import OPENED
    from flywheel.say import say
    from flywheel.workspace import Workspace

    folder, profile, *overrides = sys.argv[1:]
    os.nice(5)  # the run that is waited for goes first
    os.environ[ASKED_AHEAD] = "yes"
    workspace = Workspace.open(Path(folder), profile or None, overrides)
    os.environ[OPENED] = workspace.ledger
    turns, asked = Turns(workspace.project), Asked()
    while not asked.ended:
        todo, ok = None, False
        try:
            todo = turns.next(asked.spans, asked.bad)
            if todo is not None:
                ok = prepare(workspace, todo)
        except FlywheelError as error:
            say(f"{todo.span if todo else 'what is next'}: {error}")
        if todo is not None:
            turns.did(todo, ok)
        asked.look(wait=todo is None)
