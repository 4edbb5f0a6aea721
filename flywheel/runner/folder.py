"""The folder of a run: what was asked, what has become of each task, logs and artifacts.

    runs/<run>/pipeline.yaml   the compiled form that ran
               run.json        name, arguments, times, end
               state.jsonl     a line for each task that has ended; what `resume` goes by
               logs/<task>.log
               artifacts/<task>/<output>

An artifact is written where it stays, so that a URI which a step writes down stays true; it counts from the moment that
its task is in `state.jsonl`. What a step that did not end well has left there is removed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from flywheel.runner.errors import DiskFull, RunNotFound

_TAIL = 20
_TAIL_BYTES = 16_384


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Turn a full disk into an error that says so.

    Raises:
        DiskFull: What was done inside found no room.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(f"no space left on the disk of {folder}", "free some, then resume the run.") from error


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; see the top of this file for what is in it."""

    path: Path

    @property
    def id(self) -> str:
        """The name of the run."""
        return self.path.name

    @staticmethod
    def create(root: Path, pipeline: str) -> RunFolder:
        """Make a folder that no other run has, named by pipeline and time."""
        stem = "".join(letter if letter.isalnum() else "-" for letter in pipeline.lower()).strip("-") or "run"
        with room(root):
            while True:
                stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
                path = root.absolute() / "runs" / f"{stem}-{stamp}-{secrets.token_hex(2)}"
                try:
                    path.mkdir(parents=True)
                except FileExistsError:
                    continue
                (path / "logs").mkdir()
                (path / "artifacts").mkdir()
                return RunFolder(path)

    @staticmethod
    def find(root: Path, run: str) -> RunFolder:
        """Return the folder of a run by its name, or of the newest one for `latest`.

        Raises:
            RunNotFound: There is none.
        """
        runs = list_runs(root)
        if run == "latest" and runs:
            return runs[-1]
        for folder in runs:
            if folder.id == run:
                return folder
        names = ", ".join(folder.id for folder in runs[-5:]) or "none"
        raise RunNotFound(f"there is no run {run!r} under {root / 'runs'}", f"the newest: {names}.")

    def log(self, task: str) -> Path:
        """Return the log file of a task."""
        return self.path / "logs" / f"{task}.log"

    def artifacts(self, task: str) -> Path:
        """Return the folder in which a task leaves its artifacts."""
        return self.path / "artifacts" / task

    def program(self, label: str) -> Path:
        """Return the folder in which the source of a component is put."""
        return self.path / "programs" / label

    def prepare(self, task: str) -> Path:
        """Return the empty folder for the artifacts of a task; what an earlier attempt left is gone."""
        folder = self.artifacts(task)
        with room(self.path):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(parents=True)
            self.log(task).parent.mkdir(parents=True, exist_ok=True)
        return folder

    def discard(self, task: str) -> None:
        """Remove what a task that did not end well has left."""
        shutil.rmtree(self.artifacts(task), ignore_errors=True)

    def log_tail(self, task: str) -> str:
        """Return the last lines of a task's log."""
        try:
            with self.log(task).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL:])
        except OSError:
            return ""

    def write_info(self, info: Mapping[str, Any]) -> None:
        """Write what is known of the run, at once or not at all."""
        write_atomically(self.path / "run.json", json.dumps(info, indent=1))

    def info(self) -> dict[str, Any]:
        """Return what `write_info` was given last."""
        try:
            value = json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError) as error:
            raise RunNotFound(f"{self.path} is no run folder, or was never started: {error}") from error
        return dict(value)

    def record(self, entry: Mapping[str, Any]) -> None:
        """Add a line on a task that has ended."""
        with room(self.path), (self.path / "state.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def records(self) -> dict[str, dict[str, Any]]:
        """Return the last line on each task; one cut off in the middle does not count."""
        records: dict[str, dict[str, Any]] = {}
        try:
            lines = (self.path / "state.jsonl").read_text().splitlines()
        except OSError:
            return records
        for line in lines:
            try:
                entry = json.loads(line)
                records[entry["task"]] = entry
            except (ValueError, KeyError, TypeError):
                continue
        return records

    def lock(self) -> IO[str]:
        """Hold the run for this process; the lock goes with the file or the process.

        Raises:
            RunNotFound: Another process is at it.
        """
        with room(self.path):
            file = (self.path / "lock").open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise RunNotFound(f"run {self.id!r} is still running", "wait until it ends, or stop it.") from error
        return file


def list_runs(root: Path) -> list[RunFolder]:
    """Return the runs under a root, oldest first."""
    try:
        found = [path for path in (root / "runs").iterdir() if (path / "run.json").exists()]
    except OSError:
        return []
    return [
        RunFolder(path.absolute())
        for path in sorted(found, key=lambda path: (path / "pipeline.yaml").stat().st_mtime_ns)
    ]


def remove_runs(root: Path, keep: int) -> list[str]:
    """Remove all but the newest runs, and none that is running; return the names of those that are gone.

    The cache keeps its own links to what they made, so equal steps of later runs still need not run.
    """
    gone = []
    for folder in list_runs(root)[: -keep or None]:
        try:
            with folder.lock():
                shutil.rmtree(folder.path, ignore_errors=True)
                gone.append(folder.id)
        except RunNotFound:
            continue
    return gone


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    with room(path.parent):
        try:
            temporary.write_text(text)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
