"""Start a run of a flywheel on a cluster, at most one for a span, and follow it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flywheel.errors import FlywheelError
from flywheel.kubeflow.cluster import Cluster, named
from flywheel.kubeflow.follow import GOING, follow
from flywheel.kubeflow.versions import Package
from flywheel.spans import Span, Windows
from flywheel.workspace import Workspace

if TYPE_CHECKING:
    from flywheel.ledger import Row
    from flywheel.runner.events import Events

_NEWEST = "newest"
_MARK = "flywheel-run: "


@dataclass(frozen=True)
class Submission:
    """A run on a cluster.

    Attributes:
        run: Its id.
        name: Its name: that of the flywheel and the span.
        span: Name of the span; empty when `plan` chooses it.
        link: Its page.
        state: As Kubeflow has it, `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELED`.
        started: Whether this call started it; else it was there.
        outcome: What became of the span, as the ledger says; empty while it is not known.
        why: Why, in a sentence.
        version: Of the model that was promoted, if one was.
    """

    run: str
    name: str
    span: str
    link: str
    state: str
    started: bool
    outcome: str = ""
    why: str = ""
    version: str = ""

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state not in GOING


def submit(
    folder: Path | str = ".",
    span: str = "",
    *,
    profile: str | None = None,
    overrides: Iterable[str] = (),
    again: bool = False,
    wait: bool = False,
    monitoring: bool = False,
    events: Events | None = None,
    environment: Mapping[str, str] | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Submission:
    """Start a run for a span, unless one is going on or has succeeded; that one is returned then.

    Args:
        folder: Holds flywheel.yaml.
        span: Name of the span, as 2013-06-01; empty for the newest whose data has arrived.
        profile: Profile of flywheel.yaml to lay over it.
        overrides: `key.sub=value` to lay over that.
        again: Whether to start one for a span that is done; `plan` may still find nothing to do.
        wait: Whether to follow it to its end.
        monitoring: Whether to look at the model in service, instead of training.
        events: Called with what happens meanwhile; see `flywheel.runner.progress`.
        environment: Where tokens are; `os.environ` by default.
        sleep: Waits for so many seconds.

    Raises:
        ConfigError: The declaration is wrong, or only this machine could run it.
        ClusterError: The cluster cannot be reached, or refuses.
    """
    workspace = Workspace.open(Path(folder), profile, overrides)
    source = workspace.project.source
    if span:
        parsed = Span.parse(span, source.every)
        if not monitoring:
            Windows.of(parsed, source.window, source.judge)
    cluster = Cluster(workspace.project.kubeflow, sleep=sleep, environment=environment)
    package = Package.of(workspace, monitoring=monitoring)
    found = start(cluster, package, span, again=again)
    if wait:
        state = follow(cluster, found.run, found.name, found.link, package.pipeline, events, sleep)
        found = replace(found, state=state)
    return _with_outcome(found, package) if found.over else found


def start(cluster: Cluster, package: Package, span: str, *, again: bool = False, once: bool = False) -> Submission:
    """Return the run of a span: one that goes on or has succeeded, else a new one.

    Args:
        cluster: Where it runs.
        package: What is run.
        span: Name of the span; empty for the newest.
        again: Whether one that has succeeded does not count.
        once: Whether one that failed or was stopped counts too.
    """
    experiment = cluster.experiment(package.name)
    name = f"{package.name} {span or _NEWEST}"
    started: list[str] = []

    def find() -> Any:
        runs = _runs(cluster, experiment, name)
        if once:
            return next(iter(_counting(runs, package, span)), None)
        going = next((run for run in runs if run.state in GOING), None)
        if going is not None or not span or (again and not started):
            return going
        return next((run for run in _counting(runs, package, span)[::-1] if run.state == "SUCCEEDED"), None)

    def make() -> Any:
        started.append(name)
        body = _body(cluster, package, ids, experiment, name, span)
        return cluster.once(lambda kfp: kfp.runs.run_service_create_run, body)

    run = find()
    if run is None:
        ids = package.send(cluster)
        run = cluster.find_or_make(find, make)
        if started:
            cluster.settle()
        runs = _runs(cluster, experiment, name)
        rivals = _counting(runs, package, span) if once else [each for each in runs if each.state in GOING]
        run = _only(cluster, rivals, run)
    link = cluster.link("runs", run.run_id)
    return Submission(run.run_id, name, span, link, str(run.state), bool(started))


def _body(
    cluster: Cluster, package: Package, ids: tuple[str, str], experiment: str | None, name: str, span: str
) -> Any:
    import kfp_server_api as api

    settings = cluster.settings
    labels = {"name": package.name, "span": span, **package.about}
    return api.V2beta1Run(
        display_name=name,
        description=f"{package.name} for {'span ' + span if span else 'the newest span'}\n{_MARK}{json.dumps(labels)}",
        experiment_id=experiment,
        pipeline_version_reference=api.V2beta1PipelineVersionReference(pipeline_id=ids[0], pipeline_version_id=ids[1]),
        runtime_config=api.V2beta1RuntimeConfig(
            parameters=package.parameters(span), pipeline_root=settings.pipeline_root
        ),
        service_account=settings.service_account,
    )


def _runs(cluster: Cluster, experiment: str | None, name: str) -> list[Any]:
    """Return our runs of that name, the oldest first."""
    listed = cluster.all("runs", lambda kfp: kfp.list_runs, experiment_id=experiment, filter=named(name))
    ours = [run for run in listed if _MARK in (run.description or "")]
    return sorted(ours, key=lambda run: (run.created_at, run.run_id))


def _counting(runs: list[Any], package: Package, span: str) -> list[Any]:
    """Return the runs of a span without those that found that data was missing; the ledger is asked which they are."""
    newest = next((run for run in reversed(runs) if run.state == "SUCCEEDED"), None)
    if newest is None or outcome_of(package, newest.run_id, span)[0] != "not-ready":
        return runs
    return [run for run in runs if run.state != "SUCCEEDED"]  # none of them has found the data


def _only(cluster: Cluster, rivals: list[Any], run: Any) -> Any:
    """Return the one run that goes on: of two that were started at the same time, the later one is stopped."""
    if not rivals or rivals[0].run_id == run.run_id:
        return run
    if any(each.run_id == run.run_id and each.state in GOING for each in rivals):
        cluster.ask(lambda kfp: kfp.terminate_run, run.run_id)
    return rivals[0]


def _with_outcome(run: Submission, package: Package) -> Submission:
    if run.state != "SUCCEEDED":
        return replace(run, outcome="failed", why=f"the run ended {run.state.lower()}")
    outcome, row = outcome_of(package, run.run, run.span)
    return replace(run, outcome=outcome, why=row.why if row else "", version=(row.version or "") if row else "")


def outcome_of(package: Package, run: str, span: str) -> tuple[str, Row | None]:
    """Return the outcome of a run that has succeeded, and its row of the ledger.

    A run that has nothing to do leaves no row. Then the span tells: `not-needed` when it, or a later one, is done, else
    `not-ready`. Empty when the ledger cannot be reached from here.
    """
    from flywheel.ledger import MONITOR, Ledger

    workspace = package.workspace
    name, ledger = workspace.project.name, Ledger(workspace.ledger)
    if not reachable(workspace.ledger):
        return "", None
    try:
        if row := ledger.find(name, run, MONITOR) if package.monitoring else ledger.find(name, run):
            return row.outcome or "", row
        if not span or package.monitoring:
            return "", None
        champion = ledger.champion(name)
        done = [row for row in ledger.rows(name) if row.span == span and row.done]
    except (FlywheelError, ImportError):
        return "", None
    return ("not-needed" if done or (champion and champion.span > span) else "not-ready"), None


def reachable(ledger: str) -> bool:
    """Return whether a ledger can be asked from here: MLflow would try for minutes, and make a file that is missing."""
    scheme, _, path = ledger.partition(":///")
    if scheme == "sqlite":
        return Path(path).is_file()
    parts = urlsplit(ledger)
    if not parts.hostname:
        return True
    try:
        socket.create_connection((parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)), 3).close()
    except OSError:
        return False
    return True
