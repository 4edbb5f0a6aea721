"""The ledger: MLflow holds all state; a row is a run of the experiment that bears the flywheel's name."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import HISTORY
from flywheel.errors import LedgerError
from flywheel.ledger.acts import ACT, Act, Kind
from flywheel.ledger.acts import tags as tags_of_act
from flywheel.ledger.challengers import Challenger, challenger_of
from flywheel.ledger.registry import PREVIOUS, aliased, champion_of
from flywheel.ledger.rows import (
    DONE,
    JOB,
    KEPT_BACK_BY,
    KIND,
    LEDGER,
    MONITOR,
    MONITORED,
    OUTCOME,
    SPAN,
    TAKEN,
    UNFINISHED,
    VERDICT,
    WHY,
    Champion,
    Decision,
    Outcome,
    Row,
)
from flywheel.ledger.store import Client, Exists
from flywheel.ledger.waivers import WAIVER, Waiver
from flywheel.ledger.waivers import tags as tags_of_waiver

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

    from flywheel.artifacts import Verdict

__all__ = [
    "DONE",
    "HISTORY",
    "MONITOR",
    "MONITORED",
    "Act",
    "Challenger",
    "Champion",
    "Decision",
    "Ledger",
    "Outcome",
    "Row",
    "Waiver",
]

_KEPT = "flywheel.kept."
_WHY = 1000  # characters


class Ledger:
    """Reads and writes the rows of the ledger at `tracking_uri`.

    It connects when it is first asked, and again in a forked process: nothing is shared over a fork.

    Args:
        tracking_uri: MLflow server, or `sqlite:///file.db`; a SQLite store that is not there is made.
        connect: Makes the client from the URI.
        clock: Gives the seconds since 1970.
    """

    def __init__(
        self,
        tracking_uri: str,
        connect: Callable[[str], Client] = Client,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tracking_uri, self.clock, self._connect = tracking_uri, clock, connect
        self._opened: tuple[int, Client] | None = None
        self._experiments: dict[str, str] = {}
        """Where rows are read: an experiment that is there keeps its id."""

    @property
    def client(self) -> Client:
        """This process's client.

        Raises:
            LedgerError: There is no ledger at the URI, or none that can be used.
        """
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._connect(self.tracking_uri)
        return self._opened[1]

    def open(self, name: str, span: str, job: str, tags: Mapping[str, str] | None = None, kind: str = LEDGER) -> str:
        """Open a row for `span` of flywheel `name` and return its run; the same job gets its own row again.

        Args:
            name: The flywheel's.
            span: Which span.
            job: Identity of the pipeline run.
            tags: Notes, as `note` takes them.
            kind: `ledger` of a try to train, `monitor` of a look at what serving sees.
        """
        if row := self.find(name, job, kind):
            if row.outcome not in DONE:
                self._write(row.run, {OUTCOME: "", WHY: "", TAKEN: ""})
            self.client.update_run(row.run, status="RUNNING")
            return row.run
        given = {f"flywheel.{key}": value for key, value in (tags or {}).items()}
        run = self._begin(name, f"{span} {job[-8:]}", given | {KIND: kind, SPAN: span, JOB: job})
        return str(run.info.run_id)

    def give_up(self, row: Row, job: str) -> None:
        """Close the row of a try that never came to an end, for another job that tries the same.

        One that goes on after all is refused what is for that job to do now; what it has promoted before stands.
        """
        if row.outcome is None:
            self.settle(row.run, "failed", "interrupted", **{TAKEN.removeprefix("flywheel."): job})
        self.close(row.run, ok=False, unfinished="interrupted")

    def refuse_taken_over(self, run: str) -> Row:
        """Return the row of `run`; raise a LedgerError if another job has taken its span over meanwhile."""
        row = self.row(run)
        if taker := row.tags.get(TAKEN):
            raise LedgerError(
                f"span {row.span} is tried by another run since, job {taker}, which took this one for abandoned",
                "let that one finish; it is of another folder, or of a cluster, with the same ledger.",
            )
        return row

    def record(self, run: str, verdict: Verdict) -> None:
        """Store a gate's verdict; when it keeps the run back, the outcome follows from it.

        Raises:
            LedgerError: Another job has taken the span over, or the ledger does not answer.
        """
        from mlflow.entities import Metric

        row = self.refuse_taken_over(run)
        decision = Decision.of(verdict)
        numbers = {key: value for key, value in decision.facts.items() if isinstance(value, int | float)}
        now = int(self.clock() * 1000)
        self.client.log_dict(run, verdict.to_dict(), f"verdicts/{verdict.gate}.json")
        metrics = [Metric(f"{verdict.gate}.{key}", float(value), now, 0) for key, value in numbers.items()]
        tags = {VERDICT + verdict.gate: decision.to_tag()}
        outcome = KEPT_BACK_BY.get(verdict.gate)
        if outcome and not verdict.ok:
            tags |= {WHY: verdict.why[:_WHY], OUTCOME: outcome}
        elif outcome and row.outcome == outcome:  # a step that is tried again takes back what it said
            tags |= {WHY: "", OUTCOME: ""}
        self._write(run, tags, metrics)

    def verdict(self, run: str, gate: str) -> Verdict:
        """Return the whole verdict that `record` stored.

        Raises:
            LedgerError: There is none.
        """
        from flywheel.artifacts import Verdict

        with tempfile.TemporaryDirectory() as folder:
            uri = f"{self.client.get_run(run).info.artifact_uri}/verdicts/{gate}.json"
            return Verdict.from_dict(json.loads(self.client.download(uri, Path(folder)).read_text()))

    def settle(self, run: str, outcome: Outcome, why: str, **notes: str) -> None:
        """Give the row its outcome, why in a sentence, and notes as `note` does, in one write."""
        self._write(
            run, {f"flywheel.{key}": value for key, value in notes.items()} | {WHY: why[:_WHY], OUTCOME: outcome}
        )

    def note(self, run: str, **tags: str) -> None:
        """Tag the row with `flywheel.<key>`; an empty value takes the key back."""
        self._write(run, {f"flywheel.{key}": value for key, value in tags.items()})

    def close(self, run: str, *, ok: bool, unfinished: str = "") -> None:
        """Close the row: `ok` when nothing failed, else what was left unfinished beside its outcome, if any."""
        found = self.client.get_run(run)
        if unfinished or Row.of(found).unfinished:
            self._write(run, {UNFINISHED: unfinished[:_WHY]})
        began = int(found.info.start_time)
        self.client.set_terminated(run, "FINISHED" if ok else "FAILED", max(began, int(self.clock() * 1000)))

    def row(self, run: str) -> Row:
        """Return the row of `run`.

        Raises:
            LedgerError: There is none.
        """
        return Row.of(self.client.get_run(run))

    def rows(self, name: str, kind: str = LEDGER, span: str = "") -> list[Row]:
        """Return the rows of flywheel `name`, of one span or of all, oldest first; none when it never ran.

        `kind` as in `open`.
        """
        return self._search(name, f"tags.`{SPAN}` = '{span}'" if span else "", kind)

    def find(self, name: str, job: str, kind: str = LEDGER) -> Row | None:
        """Return the row that pipeline run `job` opened, if it did. `kind` as in `open`."""
        found = self._search(name, f"tags.`{JOB}` = '{job}'", kind)
        return found[-1] if found else None

    def waive(self, name: str, span: str, reason: str, who: str = "", checks: Sequence[str] = ()) -> Waiver:
        """Record that `span` may be trained on whatever the data gate finds, and return that; the newest counts.

        Args:
            name: The flywheel's.
            span: Which span.
            reason: Why its data is good enough.
            who: Who says so.
            checks: Names of checks, or columns, that this is about; none for whatever is found.

        Raises:
            ConfigError: There is no reason, or a very long one.
        """
        given = tags_of_waiver(span, reason, who, checks) | {KIND: WAIVER}
        made = self._begin(name, f"waiver {span}", given)
        self.client.set_terminated(made.info.run_id, "FINISHED", made.info.start_time)
        return Waiver.of(made)

    def waivers(self, name: str) -> dict[str, Waiver]:
        """Return the newest waiver of each span of flywheel `name` that has one."""
        return {waiver.span: waiver for waiver in map(Waiver.of, self._runs(name, WAIVER))}

    def act(self, name: str, kind: Kind, reason: str, who: str = "", version: str = "") -> Act:
        """Record that a person begins to do something, and return that; `close` its run when all of it is done.

        Args:
            name: The flywheel's.
            kind: What is done.
            reason: Why.
            who: Who does it.
            version: The version that it makes champion.

        Raises:
            ConfigError: There is no reason, or a very long one.
        """
        given = tags_of_act(kind, version, reason, who) | {KIND: ACT}
        return Act.of(self._begin(name, f"{kind} {version}".strip(), given))

    def acts(self, name: str) -> list[Act]:
        """Return what people did to flywheel `name` by hand, oldest first."""
        return [Act.of(run) for run in self._runs(name, ACT)]

    def frozen(self, name: str) -> Act | None:
        """Return who keeps flywheel `name` from promoting, if somebody does."""
        said = [act for act in self.acts(name) if act.kind in ("freeze", "unfreeze") and act.finished]
        return said[-1] if said and said[-1].kind == "freeze" else None

    def keep(self, run: str, file: Path) -> None:
        """Keep `file` beside the row, under its own name; one of that name is replaced."""
        self.client.log_artifact(run, str(file))
        self._write(run, {_KEPT + file.name: file.stat().st_size})

    def history(self, name: str, span: str, into: Path, kind: str = LEDGER) -> Path | None:
        """Copy the `history.jsonl.gz` of the newest span up to `span` into folder `into`; None when there is none.

        Of `kind` `monitor` it is the history of requests.

        Of several rows for that span it is the last one's. What became of the rows does not matter.

        Raises:
            LedgerError: It was kept and is no longer there.
        """
        newest_first = [f"tags.`{SPAN}` DESC", "attributes.start_time DESC"]
        kept = map(Row.of, self._runs(name, kind, f"tags.`{_KEPT}{HISTORY}` LIKE '%'", newest_first, page=8))
        newest = next((row for row in kept if row.span <= span), None)
        if newest is None:
            return None
        into.mkdir(parents=True, exist_ok=True)
        return self.client.download(f"{self.client.get_run(newest.run).info.artifact_uri}/{HISTORY}", into)

    def champion(self, name: str) -> Champion | None:
        """Return the version of `name` in service, if there is one."""
        return champion_of(self.client, name)

    def previous(self, name: str) -> Champion | None:
        """Return the version of `name` that was in service before the champion, if there is one."""
        return aliased(self.client, name, PREVIOUS)

    def challenger(self, name: str) -> Challenger | None:
        """Return the version of `name` that is judged again on later spans, if there is one."""
        return challenger_of(self.client, name)

    def trained_until(self, version: Champion | None) -> str:
        """Return the last span that a version was trained on; empty when that is not known, or there is none."""
        return self.row(version.run).trained_until if version and version.run else ""

    def experiment(self, name: str) -> str:
        """Return the MLflow experiment of flywheel `name`, made when it is not there.

        Raises:
            LedgerError: It was deleted.
        """
        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=self._artifacts(name)))
            except Exists:  # another run of the same flywheel was quicker
                found = self.client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise LedgerError(
                f"the experiment {name!r} was deleted in MLflow",
                "restore it with `mlflow experiments restore`, or choose another name in flywheel.yaml.",
            )
        return str(found.experiment_id)

    def _begin(self, name: str, called: str, tags: Mapping[str, str]) -> Run:
        """Make an entry of flywheel `name` of now; where a clock was set back, of just after the newest entry."""
        experiment, now = self.experiment(name), int(self.clock() * 1000)
        own = f"tags.`{KIND}` != 'training' and tags.`{KIND}` != 'trial'"
        newest = self.client.search_runs([experiment], own, order_by=["attributes.start_time DESC"], max_results=1)
        at = max(now, int(newest[0].info.start_time) + 1) if newest else now
        made: Run = self.client.create_run(experiment, at, dict(tags), run_name=called)
        return made

    def _search(self, name: str, condition: str = "", kind: str = LEDGER) -> list[Row]:
        return [Row.of(run) for run in self._runs(name, kind, condition)]

    def _runs(
        self,
        name: str,
        kind: str,
        condition: str = "",
        order: Sequence[str] = ("attributes.start_time ASC",),
        page: int = 1000,
    ) -> Iterator[Run]:
        """Yield the runs of one kind, oldest first; only as many are read at once as `page` says."""
        if name not in self._experiments:
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                return
            self._experiments[name] = str(experiment.experiment_id)
        wanted = f"tags.`{KIND}` = '{kind}'" + (f" and {condition}" if condition else "")
        token = None
        while True:
            found = self.client.search_runs(
                [self._experiments[name]], wanted, order_by=list(order), max_results=page, page_token=token
            )
            yield from found
            token = found.token
            if not token:
                return

    def _artifacts(self, name: str) -> str | None:
        return f"{self.client.artifacts}/{name}" if self.client.artifacts else None

    def _write(self, run: str, tags: Mapping[str, Any], metrics: Sequence[Metric] = ()) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(run, metrics, tags=[RunTag(key, str(value)) for key, value in tags.items()])
