"""Follow the logs of running steps and tell their lines."""

from __future__ import annotations

from flywheel.runner.events import Events, LogLine, ignore
from flywheel.runner.folder import RunFolder

_CHUNK = 1 << 16


class Tails:
    """The logs of the steps that run now, told line by line."""

    def __init__(self, folder: RunFolder, events: Events) -> None:
        self.folder, self.events = folder, events
        self._places: dict[str, int] = {}

    @property
    def active(self) -> bool:
        """Whether there is anything to follow."""
        return bool(self._places)

    def follow(self, task: str) -> None:
        """Follow the log of a task from its present end on."""
        if self.events is ignore:
            return
        log = self.folder.log(task)
        self._places[task] = log.stat().st_size if log.exists() else 0

    def read(self, ended: str = "") -> None:
        """Tell what was written; for a task that has `ended` also a last line without an end, and then no more."""
        for task in [ended] if ended in self._places else list(self._places):
            while self._read_some(task, last=task == ended):
                continue
        self._places.pop(ended, None)

    def _read_some(self, task: str, *, last: bool) -> bool:
        try:
            with self.folder.log(task).open("rb") as file:
                file.seek(self._places[task])
                data = file.read(_CHUNK)
        except OSError:
            return False
        end = len(data) if last or len(data) == _CHUNK else data.rfind(b"\n") + 1
        for line in data[:end].decode(errors="replace").splitlines():
            self.events(LogLine(task, line))
        self._places[task] += end
        return end > 0
