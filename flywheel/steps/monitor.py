"""Monitor: what serving sees beside training and the days before, what became of the predictions, and what to do."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel import warehouse as warehouses
from flywheel.artifacts import HISTORY, Check, Verdict
from flywheel.errors import LedgerError
from flywheel.ledger import MONITOR, Champion, Ledger
from flywheel.monitoring import log as logs
from flywheel.monitoring import quality as live
from flywheel.monitoring.log import Log
from flywheel.monitoring.report import Seen, render
from flywheel.monitoring.service import Service
from flywheel.monitoring.skew import skew
from flywheel.profiles import Entry, History, Profile, Settings, examine, profile_of
from flywheel.say import say
from flywheel.serving.pyfunc import PREDICTION, PROBABILITY
from flywheel.spans import Every, Span, last_complete

if TYPE_CHECKING:
    import pyarrow as pa

PRELOAD = (
    "flywheel.ledger.engine",
    "duckdb",
    "pyarrow.parquet",
    "pandas",
    "scipy.stats",
    "sqlglot.dialects.bigquery",
    "sqlglot.dialects.duckdb",
    "vl_convert",
    "jinja2",
)
REPORT = "monitor.html"
MOST_PROFILED = 500_000
"""Of a span with more rows a sample of about as many is profiled; they are counted all the same."""

_OVERDUE, _FEWEST = 0.5, 100


def monitor(
    name: str,
    span: str,
    requests: str,
    settings: Mapping[str, Any],
    warehouse: str,
    ledger: str,
    job: str,
    report: Path,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> str:
    """Look at the requests of a span and return `retrain`, `alert` or `fine`; the report and the ledger say why.

    It is `alert` when values are broken or labels stopped coming, for a model that learnt from them would be worse;
    else `retrain` when live quality fell or requests have moved away from the training window; else `alert` when the
    service fails or is slow.

    Args:
        name: Name of the flywheel.
        span: Name of the span; empty for the last one that is over, or when that has no requests the newest that has.
        requests: Folder of the request log; empty, and the query `settings["serving"]` gives the requests.
        settings: `label`, `task`, `every`, `gate` (`gates.data`), `monitor` and `source` as in flywheel.yaml; `labels`
            and `serving`, text of those SQL files, empty for none.
        warehouse: URL of the warehouse that labels come from.
        ledger: MLflow tracking URI.
        job: Identity of this pipeline run.
        report: File to write.
        clock: Gives the time, with its zone.

    Raises:
        DataError: No requests are logged.
        LedgerError: There is no ledger, or no champion in it.
        SQLError: A query does not run.
    """
    book = Ledger(ledger)
    champion = book.champion(name)
    if champion is None:
        raise LedgerError(f"{name} has no champion yet: nothing is in service", "`flywheel run` until one is promoted.")
    chosen = _chosen(span, requests, settings["every"], clock())
    run = book.open(name, chosen.name, job, {"champion": champion.version}, MONITOR)
    spans = chosen.back(int(settings["monitor"]["spans"]))
    with _opened(requests, settings, warehouse, spans) as log, tempfile.TemporaryDirectory() as folder:
        verdict, seen, history = _look(book, champion, log, settings, warehouse, Path(folder))
        history.save(Path(folder, HISTORY))
        book.keep(run, Path(folder, HISTORY))
        outcome = str(verdict.facts["state"])
        _write(report, verdict, seen, name)
        Path(folder, REPORT).write_bytes(report.read_bytes())
        book.keep(run, Path(folder, REPORT))
    book.record(run, verdict)
    why = _why(verdict)
    book.settle(run, outcome, why)  # type: ignore[arg-type]
    say(f"{outcome}: {why}")
    return outcome


def _chosen(span: str, requests: str, every: Every, now: datetime) -> Span:
    if span:
        return Span.parse(span, every)
    last = last_complete(every, now)
    if not requests:
        return last
    if any(any(Path(requests, f"day={day}").glob("*")) for day in logs.days_of([last])):
        return last
    return logs.newest_span(Path(requests), every)


def _opened(requests: str, settings: Mapping[str, Any], warehouse: str, spans: Sequence[Span]) -> Log:
    if requests:
        return Log.of_folder(Path(requests.removeprefix("file://")), spans)
    source = settings["source"]
    return Log.of_query(source.get("serving_warehouse") or warehouse, settings["serving"], source, spans)


def _look(
    book: Ledger, champion: Champion, log: Log, settings: Mapping[str, Any], warehouse: str, folder: Path
) -> tuple[Verdict, Seen, History]:
    """Return what is to be said, what was seen, and the history of requests with this span in it."""
    watched, span = settings["monitor"], log.spans[-1]
    row = book.row(champion.run) if champion.run else None
    rows = log.rows()
    service = Service.of(log.folder, span) if log.folder else Service()
    history, sudden = _against_days_before(book, champion, log, settings, rows, folder)
    requests = [entry.profile for each in reversed(history.spans) if (entry := history[each]).profile is not None]
    trained = book.history(champion.name, champion.span or span.name, folder / "trained")
    past = History.load(trained) if trained else History(settings["every"])
    window = row.tags.get("flywheel.window", "") if row else ""
    alarms = settings["gate"].get("false_alarms", 0.01)
    skewed = skew(past, window, requests, watched["skew"], alarms) if rows[span.name] else []
    quality = _quality(log, settings, warehouse, champion.version) if settings["labels"] else None
    judged = _judged(row.decisions["model"].facts if row and "model" in row.decisions else {}, quality)
    groups = {
        "feed": [*_damage(log, service), *sudden, *(_labels(quality) if quality else [])],
        "moved": _since_when(book, champion, skewed, span),
        "decay": [_decay(quality, judged, float(watched["margin"]), settings["task"])] if quality else [],
        "service": service.checks(watched),
    }
    verdict = _verdict(groups, rows[span.name], service, quality, champion.version)
    first, _, last = window.partition(" to ")
    window_profiles = [
        profile
        for each in past.spans
        if first <= each <= last and past[each].reference and (profile := past[each].profile) is not None
    ]
    before = history.before(span.name)
    seen = Seen(
        span, champion.version, rows, service, quality, judged, history[span.name].profile or _nothing(),
        before.profile if before else None, window_profiles,
    )  # fmt: skip
    return verdict, seen, history


def _against_days_before(
    book: Ledger, champion: Champion, log: Log, settings: Mapping[str, Any], rows: Mapping[str, int], folder: Path
) -> tuple[History, list[Check]]:
    """Return the history of requests, spans that it lacks added, and what is unusual of the newest span beside it."""
    every = settings["every"]
    known = book.history(champion.name, log.spans[-1].name, folder / "requests", MONITOR)
    history = History.load(known) if known else History(every)
    answers = [name for name in log.columns if name == PREDICTION or name.startswith(PROBABILITY)]
    gate = {key: value for key, value in settings["gate"].items() if key not in ("fresh", "rows_at_least")}
    gate["columns"] = {**gate.get("columns", {}), **{name: {"severity": "warn"} for name in answers}}
    told = Settings.of({"every": every, "gate": gate})
    checks: list[Check] = []
    for span in log.spans:
        newest = span is log.spans[-1]
        if not newest and (span.name in history or not rows[span.name]):
            continue
        batches = log.batches(span, [*log.inputs, *answers], MOST_PROFILED)
        profile, _ = profile_of(batches, span.start)
        profile = replace(profile, rows=rows[span.name])
        finding = examine(span.name, profile, history, told) if profile.rows else None
        checks = list(finding.checks) if finding else [_silence(span)]
        failed = tuple((check.name, check.column, check.reason) for check in checks if check.result == "fail")
        normal = bool(profile.rows) and not failed and span.name not in told.calendar
        measures, excess = (finding.measures, finding.excess) if finding else ({}, {})
        history.add(Entry(span.name, "", normal, normal, failed, measures, excess, profile))
    return history, [replace(check, remedy=_look_at(check)) for check in checks]


def _silence(span: Span) -> Check:
    return Check("requests", "fail", 0, 1, span=span.name, reason=f"no requests were logged in {span}", remedy="_")


def _look_at(check: Check) -> str:
    if not check.remedy:
        return ""
    if not check.column:
        return "look whether clients reach the server, and whether it logs."
    return f"find out which client sends it, and what changed; gates.data.columns.{check.column} says what is accepted."


def _damage(log: Log, service: Service) -> list[Check]:
    lines, files = log.lines_cut_off() + service.broken, len(log.damaged)
    if not lines and not files:
        return [Check("log", "pass")]
    shown = f": {', '.join(list(log.damaged)[:3])}" if files else ""
    why = f"{files} files{shown} and {lines} lines of the log cannot be read and are left out"
    return [Check("log", "warn", files + lines, 0, "", why, "they were cut off: find out what wrote or copied them.")]


def _quality(log: Log, settings: Mapping[str, Any], warehouse: str, version: str) -> live.Quality:
    def labels() -> Iterator[pa.RecordBatch]:
        for span in log.spans:
            yield from opened.batches(settings["labels"], span)

    with warehouses.open(warehouse, warehouses.Options.of(settings["source"])) as opened:
        return live.measure(log, labels(), settings["monitor"], version, settings["task"], settings["label"])


def _judged(facts: Mapping[str, Any], quality: live.Quality | None) -> float | None:
    same = quality is not None and facts.get("metric") == quality.metric
    return float(facts["candidate"]) if same and facts.get("candidate") is not None else None


def _decay(quality: live.Quality, judged: float | None, margin: float, task: str) -> Check:
    """Return whether live quality is shown to be worse than it was judged, by more than the margin."""
    name, rows = f"live {quality.metric}", sum(each.labelled for each in quality.spans)
    if math.isnan(quality.value):
        why = f"{rows:,} labels have arrived, too few to say how good the predictions were"
        return Check(name, "undecided", reason=why, remedy="wait for labels.", rows=rows)
    interval = (quality.low, quality.high)
    if judged is None:
        why = f"live {quality.metric} is {quality.value:.4f}; what the champion was judged at is not known"
        return Check(name, "pass", quality.value, reason=why, interval=interval, rows=rows)
    worse = quality.low > judged + margin if task == "regression" else quality.high < judged - margin
    bound = judged + margin if task == "regression" else judged - margin
    why = f"live {quality.metric} is {quality.value:.4f} ({quality.low:.4f} to {quality.high:.4f}), "
    why += f"the champion was judged at {judged:.4f}, and {margin:g} is the margin"
    return Check(
        name, "fail" if worse else "pass", quality.value, bound, "", why, "retrain." * worse, interval, rows
    )  # fmt: skip


def _labels(quality: live.Quality) -> list[Check]:
    """Return whether labels come as they usually do."""
    old = sum(each.requests for each in quality.spans if each.usual == 1.0 or quality.share == 0)
    if quality.share == 0 and old:
        why = f"no label has come for any of {old:,} rows, some of them older than monitor.delay"
        return [Check("labels", "fail", 0.0, reason=why, remedy="look at monitor.labels, monitor.id and the feed.")]
    late = [
        each
        for each in quality.spans
        if each.usual is not None and each.requests >= _FEWEST and quality.share
        and each.arrived < _OVERDUE * each.usual * quality.share
    ]  # fmt: skip
    if not late:
        return [Check("labels", "pass", quality.share)]
    first = late[0]
    expected = (first.usual or 0) * (quality.share or 0)
    why = f"{first.arrived:.1%} of the labels of {first.span} have arrived, usually it is {expected:.1%} at that age"
    why += f"; so it is with {len(late) - 1} more spans" if len(late) > 1 else ""
    return [Check("labels", "warn", first.arrived, expected, "", why, "look whether their feed is late.")]


def _since_when(book: Ledger, champion: Champion, checks: Sequence[Check], span: Span) -> list[Check]:
    """Return the checks of skew; what was there from the version's first requests on is a difference, not a change."""
    rows = [
        row
        for row in book.rows(champion.name, MONITOR)
        if row.tags.get("flywheel.champion") == champion.version and row.span < span.name and "monitor" in row.decisions
    ]
    earlier = [set(row.decisions["monitor"].facts.get("skewed", ())) for row in rows]
    found = []
    for check in checks:
        if check.result == "fail" and all(check.column in each for each in earlier):
            reason = f"{check.reason}; it was so from the first requests that were looked at"
            check = replace(check, reason=reason, remedy="see that clients and the training query mean the same by it.")
        found.append(check)
    return found


def _verdict(
    groups: Mapping[str, Sequence[Check]], rows: int, service: Service, quality: live.Quality | None, version: str
) -> Verdict:
    failed = {name: [check for check in checks if check.result == "fail"] for name, checks in groups.items()}
    different = [check for check in failed["moved"] if "from the first requests" in check.reason]
    moved = [check for check in failed["moved"] if check not in different]
    if failed["feed"]:
        state, first = "alert", sorted(failed["feed"], key=lambda check: not check.column)  # a column says most
    elif failed["decay"] or moved:
        state, first = "retrain", failed["decay"] + moved
    else:
        first = [*failed["service"], *different]
        state = "alert" if first else "fine"
    facts: dict[str, Any] = {
        "state": state,
        "rows": rows,
        "version": version,
        "skewed": [check.column for check in failed["moved"]],
    }
    if service.answered or service.failed:
        facts |= {"requests": service.answered, "failed": service.failed, "refused": service.refused}
        facts |= {"error_rate": service.error_rate}
    if service.answered:
        facts |= {"p50_ms": service.milliseconds(0.5), "p99_ms": service.milliseconds(0.99)}
    if quality and not math.isnan(quality.value):
        facts |= {"metric": quality.metric, "live": quality.value, "low": quality.low, "high": quality.high}
    rest = [check for checks in groups.values() for check in checks if check not in first]
    return Verdict("monitor", (*first, *rest), facts)


def _why(verdict: Verdict) -> str:
    if verdict.failed:
        more = f" (and {len(verdict.failed) - 1} more)" if len(verdict.failed) > 1 else ""
        return verdict.failed[0].reason + more
    waiting = f"; not told yet: {verdict.undecided[0].reason}" if verdict.undecided else ""
    said = f"; {verdict.warned[0].reason}" if verdict.warned else ""
    return f"{verdict.facts['rows']:,} rows were asked, nothing is unusual{said}{waiting}"


def _nothing() -> Profile:
    import numpy as np

    return Profile(0, {}, math.nan, np.empty((0, 0)), 0.0, np.empty(0, np.uint64))


def _write(path: Path, verdict: Verdict, seen: Seen, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(verdict, seen, name), encoding="utf-8")
