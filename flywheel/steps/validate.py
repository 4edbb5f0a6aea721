"""Validate: may this data train a model?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from flywheel import invariants
from flywheel import statistics as stats
from flywheel.artifacts import ADDED, HISTORY, Examples, Statistics, Verdict
from flywheel.errors import ConfigError, DataError, meant
from flywheel.evaluation.champion import scorer
from flywheel.invariants import Invariant, Unique
from flywheel.kept import Kept
from flywheel.labels import columns_of
from flywheel.ledger import Ledger
from flywheel.ledger.registry import version_of
from flywheel.profiles import History, Settings
from flywheel.profiles.aging import drift_since_training
from flywheel.profiles.anomalies import drift_checks, schema_checks, skew_checks
from flywheel.profiles.gate import SpanGate
from flywheel.profiles.history import Entry, Waiver, covered
from flywheel.profiles.walk import Walked, walk, with_waiver
from flywheel.profiles.window import empty_spans, good_enough, groups_of, left_out, one_class, proposals
from flywheel.say import say
from flywheel.spans import LEAVE_OUT, Every, Span, Windows, counted, listed
from flywheel.statistics.gathered import Gathered

PRELOAD = (
    "flywheel.ledger.engine",
    "tensorflow_data_validation",
    "tensorflow_data_validation.statistics.stats_impl",
    "tfx_bsl.arrow.table_util",
    "pyarrow.parquet",
    "pyarrow.compute",
    "pyarrow._exec_plan",
    "pyarrow.dataset",
    "pandas",
    "scipy.stats",
    "scipy.linalg",
    "vl_convert",
    "flywheel.runner.cache",
    "flywheel.statistics.histograms",
    "flywheel.statistics.units",
    "flywheel.statistics.workers",
    "flywheel.evaluation.worst",
    "flywheel.reports.data",
    "flywheel.reports.templates",
    "mlflow.pyfunc.loaders",
    "mlflow.tracing.processor.otel",
    "mlflow.tracing.provider",
)
_SAID_EVERY = 20


@dataclass(frozen=True)
class Paths:
    """Where the step writes.

    Attributes:
        statistics: TFDV's statistics of all rows, the newest span and the span before; beside them the schema that was
            used, and the history.
        report: The HTML report.
    """

    statistics: Path
    report: Path


class Validated(NamedTuple):
    """What the steps after need to know.

    Attributes:
        ok: Whether the data is fit to train on.
        window: The spans to train on that are.
        judge: The spans to judge on that are.
        spans: Both, oldest first.
    """

    ok: bool
    window: list[str]
    judge: list[str]
    spans: list[str]


def gate(
    examples: Examples,
    code: str,
    settings: Mapping[str, Any],
    paths: tuple[str, str],
    ledger: str,
    run: str,
    serving: Examples | None = None,
) -> Validated:
    """Validate with what the ledger knows of the project's past, and tell the ledger what was found.

    Args:
        examples: As `validate` takes them.
        code: The project's archive.
        settings: As `validate` takes them; and `name`, that of the flywheel.
        paths: Where to write statistics and report.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to, and which spans are trained and judged on; it says which
            version the candidate is held against, and that is never judged on what it was trained on.
        serving: Logged requests.

    Raises:
        LedgerError: The ledger cannot be reached.
    """
    book, name = Ledger(ledger), settings["name"]
    against = book.row(run).tags.get("flywheel.champion", "")
    champion = version_of(book.client, name, against) if against else None
    trained_on = book.row(champion.run).tags.get("flywheel.window", "") if champion and champion.run else ""
    last = book.trained_until(champion)
    label, task = settings["label"], settings.get("task", "binary")
    with tempfile.TemporaryDirectory() as folder:
        verdict = validate(
            examples,
            Path(code),
            settings,
            Paths(*map(Path, paths)),
            history=book.history(name, examples.spans[-1], Path(folder)),
            waivers=book.waivers(name),
            serving=serving,
            trained_on=trained_on,
            score=scorer(champion.uri, ledger, examples, label, last, Path(folder, "champion"), task)
            if champion
            else None,
        )
    book.keep(run, Path(paths[0]) / HISTORY)
    book.record(run, verdict)
    windows = windows_of(examples, settings, verdict.facts["left_out"])
    window = [span.name for span in windows.train]
    judge = [span.name for span in windows.judge if span.name > last]
    book.note(run, window=listed(window), judge=listed(judge))
    return Validated(verdict.ok, window, judge, [*window, *judge])


def windows_of(examples: Examples, settings: Mapping[str, Any], bad: Collection[str]) -> Windows:
    """Return what is trained and judged on when the spans in `bad` are passed over, as `plan` does it.

    Args:
        examples: As `validate` takes them.
        settings: Likewise.
        bad: Names of bad spans.
    """
    newest = Span.parse(examples.spans[-1], settings["every"])
    return Windows.of(newest, *_sizes(settings), bad, len(examples.spans))


def _sizes(settings: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many spans are to train on, and to judge on."""
    if missing := [key for key in ("window", "judge") if key not in settings]:
        raise ConfigError(
            f"validate is not told how many spans to train and to judge on: its settings lack {' and '.join(missing)}",
            "give it `window` and `judge` as in `source` of flywheel.yaml.",
        )
    return int(settings["window"]), int(settings["judge"])


def validate(
    examples: Examples,
    code: Path,
    settings: Mapping[str, Any],
    paths: Paths,
    *,
    history: Path | None = None,
    waivers: Mapping[str, Waiver] | None = None,
    serving: Examples | None = None,
    score: Callable[[str], float | None] | None = None,
    trained_on: str = "",
) -> Verdict:
    """Return whether the data is fit to train on, every check told; the report is written whatever the answer.

    Every span that was not judged before is held against the schema, the invariants and the project's own past. When
    the newest is bad, the run is; an earlier bad one is left out, `verdict.facts["left_out"]`, while enough good ones
    are left to train on. All of these are held against the schema together, and against logged requests.

    Args:
        examples: Rows of training window and judge, the newest span last.
        code: The project's archive with schema.pbtxt, inferred when it has none, and invariants.yaml, if any.
        settings: `label`, `task`, `gate` and `statistics` as in flywheel.yaml; `every`, `window` and `judge` as in
            its `source`.
        paths: Where to write.
        history: What earlier runs learnt; None when there is none.
        waivers: What people waived, by span.
        serving: Logged requests of the newest spans.
        score: Gives the champion's quality on a span, higher is better.
        trained_on: What the champion was trained on, `first to last`; empty when that is not known.

    Raises:
        DataError: The label is not there.
        ConfigError: The settings name a column that is not there, or schema.pbtxt or invariants.yaml is none.
    """
    gate_settings: dict[str, Any] = settings.get("gate", {})
    past = _past(history, settings.get("every", "day"))
    seen = look(examples, code, settings, past, waivers or {}, score)
    told, expected, walked = seen.settings, seen.expected, seen.walked
    spans = [span for span in examples.spans if examples.rows_of([span])]
    told_of = [waiver for span, waiver in (waivers or {}).items() if span in spans]
    good = [span for span in spans if span not in walked.bad]  # the newest among them, whatever it is
    windows = windows_of(examples, settings, walked.bad)
    groups = groups_of(good)
    order = reversed(groups)  # all of them last: few are left
    found = {group: seen.counted.of(groups[group], group) for group in order}
    drift, moved = drift_checks(expected, gate_settings.get("drift") or {}, found, groups)
    of_newest = (waivers or {}).get(spans[-1])
    if far := [(each.name, each.column, each.reason) for each in drift if each.span and each.result == "fail"]:
        past.fail(spans[-1], far, waived=covered(far, of_newest))
    drift = [with_waiver(check, [of_newest] if of_newest else []) for check in drift]
    checks = [
        *walked.newest.checks,
        *left_out(walked),
        *good_enough(windows, *_sizes(settings), float(gate_settings.get("leave_out", LEAVE_OUT))),
        *empty_spans(examples),
        *(check for label in columns_of(told.label) for check in one_class(found["all"], label)),
        *(with_waiver(check, told_of) for check in (schema_checks(found["all"], expected) if len(good) > 1 else ())),
        *drift,
        *(drift_since_training(past, spans[-1], trained_on, told) if trained_on else ()),
        *(
            skew_checks(expected, gate_settings.get("skew") or {}, found["all"], serving, seen.options)
            if serving and serving.rows
            else ()
        ),
    ]
    facts = {
        "rows": examples.rows,
        "judged": walked.judged,
        "schema": "inferred" if seen.inferred else "schema.pbtxt",
        "drift": moved,
        "left_out": walked.bad,
        "waived": walked.waived,
        "proposals": proposals(seen.rules, examples, good, told.label),
    }
    verdict = Verdict("data", tuple(checks), facts)
    _write_statistics(paths.statistics, found, groups, past, expected)
    _write_report(paths.report, verdict, found, past, examples, windows)
    say(f"data up to {spans[-1]}: {verdict.why}")
    return verdict


class Looked(NamedTuple):
    """Every span of some examples, each judged by what came before it.

    Attributes:
        settings: What was looked at.
        options: How statistics are counted.
        counted: Statistics by span.
        expected: The schema.
        rules: The invariants.
        walked: What was found.
        inferred: Whether the schema was inferred from these rows.
    """

    settings: Settings
    options: stats.Options
    counted: Gathered
    expected: Any
    rules: tuple[Invariant, ...]
    walked: Walked
    inferred: bool


def look(
    examples: Examples,
    code: Path,
    settings: Mapping[str, Any],
    past: History,
    waivers: Mapping[str, Waiver],
    score: Callable[[str], float | None] | None = None,
    kept: Kept | None = None,
    taken: Callable[[Entry], object] = lambda entry: None,
) -> Looked:
    """Judge every span of `examples` that `past` does not know, oldest first, and make it part of `past`.

    Args:
        examples: Rows by span.
        code: As `validate` takes it.
        settings: As `validate` takes them, without `window` and `judge`.
        past: What came before; it is added to.
        waivers: What people waived, by span.
        score: As `validate` takes it.
        kept: What earlier looks have kept; by default what the runner keeps.
        taken: Called with each span that is part of `past` now.

    Raises:
        DataError: The label is not there.
        ConfigError: As `validate`.
    """
    gate: dict[str, Any] = settings.get("gate", {})
    _check_columns(settings["label"], gate, examples.schema.names)
    told = Settings.of({**settings, "leave_out": list(ADDED)})
    given = stats.read_schema(code)
    spans = [span for span in examples.spans if examples.rows_of([span])]
    options = stats.Options.of(settings.get("statistics"), given)
    counted = stats.gather(examples, spans, options, late=True)
    expected = stats.infer_schema(counted.of(spans), told.label) if given is None else given
    rules = _rules(code, gate)
    judge = SpanGate(told, past, expected, rules, score, kept or Kept.here())

    def said(done: int, total: int) -> None:
        taken(past[spans[done - 1]])
        _progress(done, total)

    walked = walk(judge, examples, waivers, lambda span: counted.of([span]), said)
    return Looked(told, options, counted, expected, rules, walked, given is None)


def _check_columns(label: str, gate: Mapping[str, Any], columns: Sequence[str]) -> None:
    for name in columns_of(label):
        if name not in columns:
            raise DataError(
                f"the rows have no label column {name!r}, only {', '.join(columns)}",
                f"have the query give {name!r}, or mend `label` in flywheel.yaml.",
            )
    for key in ("drift", "skew", "columns"):
        for column in gate.get(key) or {}:
            if column not in columns:
                raise ConfigError(
                    f"gates.data.{key} names the column {column!r}, which the query does not give",
                    f"{meant(column, columns)}it gives {', '.join(columns)}.",
                )


def _past(file: Path | None, every: Every) -> History:
    """Return what earlier runs learnt, if their spans were as long as these."""
    past = History.load(file) if file else History(every)
    return past if past.every == every else History(every)


def _rules(code: Path, gate: Mapping[str, Any]) -> tuple[Invariant, ...]:
    """Return what is to be true of the rows: invariants.yaml, and that `key` is one."""
    rules = invariants.read(code)
    key = tuple(gate.get("key") or ())
    return (*rules, Unique(key)) if key and Unique(key) not in rules else rules


def _progress(done: int, total: int) -> None:
    if done % _SAID_EVERY == 0 and done < total:
        say(f"  {done} of {total} spans looked at")


def _write_statistics(
    path: Path, found: Mapping[str, Any], groups: Mapping[str, list[str]], past: History, schema: Any
) -> None:
    from google.protobuf import text_format

    with Statistics.create(path, producer="validate", spans=groups["all"]) as draft:
        for group, statistics in found.items():
            (draft.path / f"{group}.pb").write_bytes(statistics.SerializeToString(deterministic=True))
            draft.counts[group] = statistics.datasets[0].num_examples
        (draft.path / stats.SCHEMA_FILE).write_text(text_format.MessageToString(schema), encoding="utf-8")
        past.save(draft.path / HISTORY)
        draft.facts["groups"] = dict(groups)


def _write_report(
    path: Path, verdict: Verdict, found: Mapping[str, Any], past: History, examples: Examples, windows: Windows
) -> None:
    from flywheel.reports.data import data_page

    newest = [span for span in examples.spans if examples.rows_of([span])][-1]
    facts = {
        "rows": examples.rows,
        "to train on": counted([span.name for span in windows.train]),
        "to judge on": counted([span.name for span in windows.judge]),
        f"rows of {newest}": examples.rows_of([newest]),
        "schema": verdict.facts["schema"],
        "left out": len(verdict.facts["left_out"]) or "none",
    }
    page = data_page(verdict, found, past, newest, facts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
