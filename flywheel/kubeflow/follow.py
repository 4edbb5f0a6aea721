"""Follow a run on a cluster: what Kubeflow says of its tasks, told as events of a run on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from flywheel.kubeflow.cluster import Cluster
from flywheel.runner import events as ev
from flywheel.runner.progress import is_branch
from flywheel.runner.result import CANCELLED, FAILED, SKIPPED, SUCCEEDED

GOING = ("PENDING", "RUNNING", "PAUSED", "CANCELING", "RUNTIME_STATE_UNSPECIFIED", "None")
"""States of a run that has not ended; a new one may have none yet."""
_ENDS = {"SUCCEEDED": SUCCEEDED, "FAILED": FAILED, "SKIPPED": SKIPPED, "CANCELED": CANCELLED}
_EVERY = 5.0


def follow(
    cluster: Cluster,
    run: str,
    name: str,
    link: str,
    pipeline: Path,
    events: ev.Events | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Follow a run to its end and return its state.

    Args:
        cluster: Where it is.
        run: Its id.
        name: What it is called.
        link: Its page.
        pipeline: The compiled pipeline, which says how tasks lie within one another.
        events: Called with what happens.
        sleep: Waits for so many seconds.

    Raises:
        ClusterError: The cluster cannot be reached any more; the run goes on.
    """
    tell = events or ev.ignore
    seen = _Seen(tasks_of(yaml.safe_load(next(_documents(pipeline)))), tell)
    tell(ev.RunStarted(name, pipeline.stem, link))
    while True:
        found = cluster.ask(lambda kfp: kfp.get_run, run)
        seen.look(found.run_details.task_details or () if found.run_details else ())
        state = str(found.state)
        if state not in GOING:
            error = found.error.message if found.error and found.error.message else ""
            tell(ev.RunFinished(name, _ENDS.get(state, state), _between(found.created_at, found.finished_at), error))
            return state
        sleep(_EVERY)


class _Seen:
    """What has been told of each task."""

    def __init__(self, paths: Mapping[str, str], tell: ev.Events) -> None:
        self._paths, self._tell = paths, tell
        self._states: dict[str, str] = {}

    def look(self, details: Any) -> None:
        """Tell what is new; what Kubeflow adds around a task, its driver and its pod, is passed over."""
        for detail in sorted(details, key=lambda each: str(each.start_time or each.create_time)):
            path, state = self._paths.get(detail.display_name), str(detail.state)
            if path is None or self._states.get(path) == state:
                continue
            known, self._states[path] = self._states.get(path), state
            begins = state == "RUNNING" or (known is None and state in ("SUCCEEDED", "FAILED"))
            if begins and not is_branch(path):
                self._tell(ev.TaskStarted(path))
            if state in _ENDS:
                error = detail.error.message if detail.error and detail.error.message else ""
                seconds = _between(detail.start_time, detail.end_time)
                self._tell(ev.TaskFinished(path, _ENDS[state], seconds, error))


def tasks_of(spec: Mapping[str, Any]) -> dict[str, str]:
    """Return the tasks of a compiled pipeline by the name that they have on a cluster: the path of each."""

    def within(dag: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
        for key, task in dag["tasks"].items():
            title = task["taskInfo"]["name"] if "taskInfo" in task else key
            here = f"{path}{key if is_branch(key) else title}"
            yield key, here
            component = spec["components"].get(task["componentRef"]["name"], {})
            if "dag" in component:
                yield from within(component["dag"], f"{here}/")

    return dict(within(spec["root"]["dag"], ""))


def _documents(pipeline: Path) -> Iterator[str]:
    yield from pipeline.read_text().split("\n---\n")


def _between(begin: Any, end: Any) -> float:
    return max(0.0, (end - begin).total_seconds()) if begin and end else 0.0
