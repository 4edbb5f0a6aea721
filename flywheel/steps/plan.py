"""Plan: is there something to train, on what, and against which champion?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.config import Schedule
from flywheel.errors import LedgerError
from flywheel.ledger import Challenger, Champion, Ledger, Row, Waiver
from flywheel.ledger.bad import known_bad
from flywheel.say import say
from flywheel.spans import LEAVE_OUT, Span, Windows, listed, reach
from flywheel.steps.due import due
from flywheel.steps.ready import Data, noted

PRELOAD = ("flywheel.ledger.engine", "pyarrow", "flywheel.runner.cache", "flywheel.warehouse.duckdb")


class Plan(NamedTuple):
    """What a run is to do.

    Attributes:
        go: Whether there is something to do.
        span: Name of the run's span.
        spans: Names of all spans to extract, oldest first: from the first of the window to the run's own, those known
            as bad among them, as they may have been mended.
        window: Names of those to train on, as far as is known before their rows are looked at.
        judge: Names of those to judge on, the run's own last.
        champion: MLflow URI of the version in service; empty when there is none.
        challenger: MLflow URI of the version that was left undecided and is to be judged again; empty when none is.
        state: What the warehouse's rows are like now, for caches: another text when they may have changed.
        run: The run's row in the ledger; empty when there is nothing to do.
        reason: The decision in a sentence.
        outcome: Empty when there is something to do; else `not-needed`, or `not-ready` when data has to arrive first.
    """

    go: bool
    span: str
    spans: list[str]
    window: list[str]
    judge: list[str]
    champion: str
    challenger: str
    state: str
    run: str
    reason: str
    outcome: str


def plan(
    name: str,
    span: str,
    source: Mapping[str, Any],
    warehouse: str,
    query: str,
    ledger: str,
    code_zip: Path,
    job: str,
    schedule: Mapping[str, Any] | None = None,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Plan:
    """Decide whether to train for `span`, and open its row in the ledger.

    A span that is done is not done again, and none older than the champion's is trained for: both are `not-needed`. One
    whose rows have not arrived is `not-ready`. None of these leaves a row. A try that failed, or whose process is gone,
    does not count. A span whose data was rejected is tried again when a person has waived something since, when the
    data has changed, or when it was rejected for others, which are known now and passed over.

    The newest `judge` good spans judge, and the `window` good ones before them are trained on: older spans stand in for
    those that the data gate found bad, as far back as `leave_out` lets it.

    Args:
        name: Name of the flywheel.
        span: Name of the span; empty for the last one that is complete by the clock, `grace` and `watermark`, or the
            one that `schedule` says.
        source: As `source` in flywheel.yaml: `every`, how long a span is, how many to train on, `window`, and to judge
            on, `judge`; `grace` in seconds, and `watermark`; and `leave_out` as in `gates.data`.
        warehouse: URL of the warehouse.
        query: SQL that is going to be extracted.
        ledger: MLflow tracking URI.
        code_zip: The project's archive, named by its digest.
        job: Identity of this pipeline run.
        schedule: As `schedule` in flywheel.yaml, and `since` when it counts, for a run that it has started; nothing for
            any other.
        clock: Gives the time, with its zone.

    Raises:
        ConfigError: `span` names no such span, or there is no such warehouse.
        SQLError: The query or that of the watermark fails.
        LedgerError: The ledger cannot be reached, or another run has begun this span at the same moment.
    """
    book = Ledger(ledger)
    with Data(warehouse, query, source) as data:
        tried = [row for row in book.rows(name) if row.job != job] if schedule and not span else []
        chosen, idle = _choose(span, source, schedule, tried, data, clock())
        waivers = book.waivers(name)
        bad = known_bad(book, name, chosen.name, waivers)
        sizes = int(source["window"]), int(source["judge"])
        windows = Windows.of(chosen, *sizes, bad, reach(*sizes, float(source.get("leave_out", LEAVE_OUT))))
        newest = book.champion(name)
        earlier = [row for row in book.rows(name, span=chosen.name) if row.job != job]
        # A span that is tried again after its promotion meets the champion of before, as it did the first time.
        again = newest if newest and _promoted(newest, chosen.name, earlier) else None
        champion = book.previous(name) if again else newest
        waits = book.challenger(name)
        challenger = again if again and again.span != chosen.name else _challenger(book, name, waits, chosen, windows)
        trained = book.trained_until(champion)  # it is one of the judge's only after `source.judge` was raised
        judge = [span.name for span in windows.judge if span.name > trained]
        window = [span.name for span in windows.train]
        done = _done(earlier)
        run, outcome = "", "not-needed"
        if idle:
            reason = idle
        elif done and not _anew(done, windows, waivers, data, chosen.name in bad):
            reason = f"span {chosen} is done: {done.outcome} on {done.started:%Y-%m-%d at %H:%M} UTC ({done.why})"
        elif newest and chosen.name < newest.span:
            reason = f"span {chosen} is older than the champion's: version {newest.version} is of {newest.span}"
        elif not judge:
            reason = f"the champion was trained on every span that would judge it, up to {trained}: take a later span"
        elif lacking := data.lacks(chosen):
            reason, outcome = lacking, "not-ready"
        else:
            for row in earlier:
                if row.status == "running":
                    book.give_up(row, job)
            tags = {
                "code": code_zip.stem,
                "window": listed(window),
                "judge": listed(judge),
                "reach": windows.all[0].name,
                "champion": champion.version if champion else "",
                "challenger": challenger.version if challenger else "",
                "waiting": f"version {waits.version.version} of {waits.version.span}" if waits else "",
                "state": noted(data.state),
            }
            run, outcome = book.open(name, chosen.name, job, tags), ""
            _alone(book, name, chosen.name, job, run, earlier)
            against = (
                f"against champion version {champion.version} of {champion.span}" if champion else "the first model"
            )
            reason = f"train for span {chosen} on {listed(window) or 'nothing'}, judge on {listed(judge)}, {against}"
            if over := windows.passed_over:
                reason += f"; {len(over)} bad span{'s are' if len(over) > 1 else ' is'} passed over, {listed(over)}"
            if challenger:
                reason += f"; challenger version {challenger.version} of {challenger.span} is to be judged again"
        state = data.state if run else ""
    said = {"not-needed": "nothing to do: ", "not-ready": "not ready: ", "": ""}
    say(f"{said[outcome]}{reason}")
    return Plan(
        go=bool(run),
        span=chosen.name,
        spans=[part.name for part in windows.all],
        window=window,
        judge=judge,
        champion=champion.uri if champion else "",
        challenger=challenger.uri if challenger and run else "",
        state=state,
        run=run,
        reason=reason,
        outcome=outcome,
    )


def _choose(
    span: str,
    source: Mapping[str, Any],
    schedule: Mapping[str, Any] | None,
    tried: list[Row],
    data: Data,
    now: datetime,
) -> tuple[Span, str]:
    """Return the run's span, and why there is nothing to do for it; empty when there may be something."""
    if span:
        return Span.parse(span, source["every"]), ""
    if schedule:
        since = datetime.fromisoformat(schedule["since"]) if schedule.get("since") else None
        return due(Schedule.read(schedule), tried, data.newest, now, since)
    return data.newest(now), ""


def _done(earlier: list[Row]) -> Row | None:
    """Return the row that settled the span: of several the last, and one that judged a model before a rejection."""
    done = [row for row in earlier if row.done]
    judged = [row for row in done if row.outcome != "data-rejected"]
    return next(reversed(judged or done), None)


def _anew(row: Row, windows: Windows, waivers: Mapping[str, Waiver], data: Data, bad: bool) -> bool:
    """Return whether a rejection has to be looked at again; `bad` says whether the span itself was what is wrong."""
    if row.outcome != "data-rejected":
        return False
    if any(span.name in waivers and waivers[span.name].at > row.started for span in windows.all):
        return True
    if not bad and row.tags.get("flywheel.reach", "") > windows.all[0].name:  # it did not know yet what to pass over
        return True
    seen = row.tags.get("flywheel.state")
    return seen is not None and seen != noted(data.state)


def _promoted(champion: Champion, span: str, earlier: list[Row]) -> bool:
    """Return whether a run for this span made the champion: of its own candidate, or of the challenger."""
    rows = (row for row in earlier if row.outcome == "promoted")
    return champion.span == span or any(row.version == champion.version for row in rows)


def _challenger(book: Ledger, name: str, found: Challenger | None, chosen: Span, windows: Windows) -> Champion | None:
    """Return the challenger if it is due, or if a run found that it may be promoted and broke off before."""
    if found is None:
        return None
    last, version = found.looks[-1], found.version.version
    due = found.due(chosen.name, [span.name for span in (*windows.train, *windows.judge)])
    if not due and last["found"] == "pass":
        told = [row for row in book.rows(name, span=last["span"]) if row.challenger.get("version") == version]
        due = bool(told) and all(row.outcome == "kept-champion" and row.version != version for row in told)
    return found.version if due else None


def _alone(book: Ledger, name: str, span: str, job: str, run: str, known: list[Row]) -> None:
    """Keep one of two runs that open a row for a span at the same moment: the one whose row is the earlier.

    Raises:
        LedgerError: Another one's is; this run leaves no row.
    """
    own, seen = book.row(run), {run, *(row.run for row in known)}
    for other in book.rows(name, span=span):
        if other.run in seen or other.status != "running":
            continue
        if (other.started, other.run) < (own.started, own.run):
            book.client.delete_run(run)
            raise LedgerError(
                f"span {span} is begun by another run at this moment, job {other.job}",
                "let that one finish, then run again if it did not do what you wanted.",
            )
        book.give_up(other, job)
