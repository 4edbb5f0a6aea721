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


class Helper:
    """Prepares spans, each for the windows that it has by what is known as bad.

    Args:
        workspace: Whose spans.
        run: Runs a compiled pipeline.
    """

    def __init__(self, workspace: Workspace, run: Callable[..., Any]) -> None:
        project = self._project = workspace.compilable()
        self._workspace, self._run = workspace, run
        with_baseline = project.is_trained_ahead and project.train.for_baseline() is not None
        self._turns = (False, True) if with_baseline else (False,)
        self._done: set[tuple[Windows, bool]] = set()

    def next(self, spans: Sequence[str], bad: Collection[str]) -> tuple[str, Windows, bool] | None:
        """Return for which span something is to be done, by which windows, and whether with its baseline; or None.

        Args:
            spans: Names of those that are wanted, oldest first.
            bad: Those that are left out of windows.
        """
        source = self._project.source
        sizes = source.window, source.judge
        furthest = reach(*sizes, self._project.gates.data.leave_out)
        for baseline in self._turns:
            for span in spans:
                windows = Windows.of(Span.parse(span, source.every), *sizes, bad, furthest)
                if (windows, baseline) not in self._done:
                    return span, windows, baseline
        return None

    def prepare(self, span: str, windows: Windows, baseline: bool) -> None:
        """Do what a run for `span` is going to need into the cache that it looks into; what fails is left to the run.

        Raises:
            FlywheelError: Its rows cannot be read.
        """
        from flywheel.kubeflow.compile import compiled_ahead
        from flywheel.say import say
        from flywheel.steps.ready import Data

        here, project = self._workspace, self._project
        self._done |= {(windows, turn) for turn in self._turns}
        query = here.query()  # a person may mend it meanwhile
        with Data(here.warehouse, query, project.source.for_steps()) as data:
            state = data.state
        root = _root(here.state)
        arguments = {
            "code": here.pack(),
            "spans": [part.name for part in windows.all],
            "window": [part.name for part in windows.train],
            "state": state,
            "baseline": baseline,
            "warehouse": here.warehouse,
            "ledger": here.ledger,
        }
        pipeline = compiled_ahead(project, query, here.state / "compiled")
        result = self._run(pipeline, arguments, root=root, jobs=1, preload=here.trainer_imports())
        took = ", ".join(f"{name} {task.cpu:.1f}" for name, task in result.tasks.items() if task.cpu)
        say(f"{span}: {result.status.lower()} in {result.seconds:.1f} s; seconds of a processor: {took or 'none'}")
        if result.ok and not baseline:
            self._done.discard((windows, True))
        shutil.rmtree(result.folder, ignore_errors=True)  # the cache has its own links to all of it


def _root(state: Path) -> Path:
    """Return the root of the helper's own runs, which has the cache of a project's state folder."""
    root = state / _FOLDER
    for folder in (root, state / "cache"):  # a link to a cache that is yet to come could not be made one
        folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        (root / "cache").symlink_to(Path("..", "cache"))
    return root


def forget(ledger: Ledger, name: str, spans: Collection[str]) -> None:
    """Forget what was trained ahead for `spans`, which are done: what the helper was at when a run had no use for it.

    Args:
        ledger: Where it was logged.
        name: Of the flywheel.
        spans: Their names.

    Raises:
        LedgerError: The ledger does not answer.
    """
    for found in ledger.client.search_runs([ledger.experiment(name)], f"tags.`{AHEAD}` = 'yes'"):
        if found.data.tags["flywheel.span"] in spans:
            ledger.client.delete_run(found.info.run_id)


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
    """Prepare what standard input asks for until it ends."""
    from flywheel.errors import FlywheelError
    from flywheel.ledger.store import OPENED
    from flywheel.runner import run
    from flywheel.say import say
    from flywheel.workspace import Workspace

    folder, profile, *overrides = sys.argv[1:]
    os.nice(5)  # the run that is waited for goes first
    os.environ[ASKED_AHEAD] = "yes"
    workspace = Workspace.open(Path(folder), profile or None, overrides)
    os.environ[OPENED] = workspace.ledger
    helper, asked = Helper(workspace, run), Asked()
    while not asked.ended:
        todo = None
        try:
            todo = helper.next(asked.spans, asked.bad)
            if todo is not None:
                helper.prepare(*todo)
        except FlywheelError as error:
            say(f"{todo[0] if todo else 'what is next'}: {error}")
        asked.look(wait=todo is None)
