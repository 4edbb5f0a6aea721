"""The model gate's report: verdict, every check against its bar, slices by harm, curves, and the rows behind it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flywheel.artifacts import Check, Evaluation, Verdict
from flywheel.config.metrics import HEADLINE
from flywheel.evaluation import gaps, metrics, mistakes, pictures, thresholds
from flywheel.evaluation import worst as worse
from flywheel.evaluation.estimates import difference, value
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions
from flywheel.reports import Card, Section, cards, charts, join, page, paragraph, sparks, table, verdict_table
from flywheel.serving.pyfunc import SEVERAL

if TYPE_CHECKING:
    from markupsafe import Markup

    from flywheel.config import ModelGate
    from flywheel.evaluation.worst import Found

_SHOWN_SLICES = 25
_SIGNED = (
    "Differences are candidate minus the other, signed so that more is better; lines are 90% intervals over {units}, "
    "or wider where a judge that is too small to decide leaves some of its error to later ones."
)
_SHOWN_METRICS = 40
_FOUND = (
    "Where the candidate loses to the champion though no gate asks: searched in all values and pairs of columns on "
    "every other span, and tested anew on the spans in between. Only what is confirmed is more than chance."
)
_WRONG = "By the candidate's answers; each row as it saw it, columns in `redact` left out."
_SHOWN_COLUMNS, _LONGEST = 24, 60


def render(
    verdict: Verdict,
    found: Predictions,
    evaluation: Evaluation,
    worst: Sequence[Found] = (),
    gates: Sequence[ModelGate] = (),
    about: str = "",
    waiting: str = "",
) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        verdict: What the gate decided.
        found: Predictions of all judged models.
        evaluation: Where they came from.
        worst: Slices that were found to be worse without being asked for.
        gates: The bars; those about gaps between groups are told group by group.
        about: What is judged, for the title; empty for a new candidate.
        waiting: The challenger that is there beside it; empty for none.
    """
    facts, keys = evaluation.manifest.facts, found.spans.keys
    champion = facts.get("champion") or "none yet"
    units = f"{found.evidence.unit}s" if found.evidence.unit in ("span", "row") else f"values of {found.evidence.unit}"
    whole = [check for check in verdict.checks if not check.slice]
    parts = [check for check in verdict.checks if check.slice and check.name != worse.NAME]
    sections = [
        Section(
            "Checks",
            join(_bars(whole), verdict_table(Verdict(verdict.gate, tuple(whole)))),
            _SIGNED.format(units=units),
        ),
        Section("Models", _models(found), f"All on the same rows; what is gained has its 90% interval over {units}."),
    ]
    if parts:
        sections.append(Section("Slices, most harmed first", _slices(parts), _lead_of_slices(parts)))
        sections.append(Section("Every slice", _slice_table(parts), collapsed=True))
    for gate in gates:
        if gate.gap:
            told = table(gaps.table(found, gate))
            sections.append(Section(f"{gate.metric} by {gate.gap}", told, "The candidate's lowest first."))
    if chosen := facts.get("thresholds"):
        told = table(thresholds.table(found, chosen))
        sections.append(
            Section("Thresholds", told, "Chosen on validation rows; what they reach there and on fresh rows.")
        )
    if worst:
        confirmed = sum(each.confirmed for each in worst)
        title = f"Slices found: {confirmed or 'none'} of {len(worst)} confirmed"
        sections.append(Section(title, table(worse.rows(worst)), _FOUND, collapsed=not confirmed))
    sections += pictures.sections(found)
    if wrong := mistakes.read(evaluation.path):
        title = f"The {len(wrong)} rows furthest from the truth"
        sections.append(Section(title, table([_shortened(row) for row in wrong]), _WRONG))
    sections += [
        Section("Figures", _figures(found), "By TFMA's definitions where it has them; see the stage's page."),
        Section("Spans", _spans(found), "The rows behind it, span by span."),
    ]
    return page(
        about or ("Candidate against champion" if CHAMPION in found.scores else "First candidate"),
        sections,
        verdict=verdict,
        subtitle=f"Label {facts['label']}; champion: {champion}; "
        f"judged on {len(keys)} spans, {keys[0]} to {keys[-1]}.{_again(verdict, waiting)}",
        facts=_headline(verdict),
    )


def _again(verdict: Verdict, waiting: str) -> str:
    """Say what follows where this judge could not decide, or where another candidate waits for one that can."""
    look = verdict.facts.get("look") or {}
    if waiting:
        what = "is overtaken by" if verdict.ok else "is decided before"
        return f" Challenger {waiting} {what} this one."
    if not verdict.undecided or verdict.failed or look.get("of", 1) == 1:
        return ""
    if look["more"] is None:
        return " Undecided, and not judged again."
    return (
        f" Undecided: the same model is judged again with {look['more']} more spans, at most "
        f"{look['of'] - look['number']} times, unless a newer one is promoted before."
    )


def _shortened(row: dict[str, object]) -> dict[str, object]:
    """Return a row of data as it fits a table."""
    shown = list(row.items())[:_SHOWN_COLUMNS]
    return {
        name: textwrap.shorten(value, _LONGEST, placeholder=" …") if isinstance(value, str) else value
        for name, value in shown
    }


def _headline(verdict: Verdict) -> dict[str, object]:
    facts = verdict.facts
    shown = {f"{facts['metric']} of the {name}": facts.get(name) for name in ("candidate", "champion", "baseline")}
    shown |= {"difference": facts["delta"], "90% interval": facts["interval"], "rows": facts["rows"]}
    return {name: value for name, value in shown.items() if value is not None}


def _models(found: Predictions) -> Markup:
    """Return the headline figure of each model, and what the candidate gains over it."""
    metric = HEADLINE[found.task]
    rows: list[dict[str, object]] = []
    for name in found.scores:
        gained = difference(found, metric, name) if name != CANDIDATE else None
        row: dict[str, object] = {"model": name, metric: value(found, metric, name)}
        row |= {"gain of the candidate": gained and gained.value}
        row |= {"90% interval": gained and gained.interval()}
        rows.append(row)
    return table(rows)


def _bars(checks: Sequence[Check]) -> Markup:
    """Return each overall check as a picture: its figure with its interval, and the bar that it has to clear."""
    boxes = [Card(check.name, _bar(check), result=check.result) for check in checks if check.observed is not None]
    return cards(boxes)


def _bar(check: Check) -> Markup:
    assert check.observed is not None
    bound = f" against a bar of {check.bound:.4g}" if check.bound is not None else ""
    return sparks.interval(_interval(check, ""), f"{check.observed:.4g}{bound}", check.bound)


def _interval(check: Check, label: str) -> charts.Interval:
    assert check.observed is not None
    low, high = check.interval or (check.observed, check.observed)
    return charts.Interval(label, check.observed, low, high, check.result)


def _slices(checks: Sequence[Check]) -> Markup:
    """Return, for each gate, its slices drawn against the bound, and those that are worth a look as a table."""
    parts: list[Markup] = []
    for name, group in _by_gate(checks):
        drawn = [check for check in group if _judged(check)][:_SHOWN_SLICES]
        parts.append(paragraph(name if len(drawn) == len(group) else f"{name}: {len(drawn)} of {len(group)} drawn"))
        if drawn:
            lines = [_interval(check, check.slice) for check in drawn]
            parts.append(charts.intervals(lines, f"{name} by slice", bound=group[0].bound, width=800))
        harmed = [check for check in group if check.result != "pass"]
        if harmed:
            parts.append(verdict_table(Verdict("model", tuple(harmed))))
    return join(*parts)


def _slice_table(checks: Sequence[Check]) -> Markup:
    tables = [join(paragraph(name), table([_row(check) for check in group])) for name, group in _by_gate(checks)]
    return join(*tables)


def _by_gate(checks: Sequence[Check]) -> list[tuple[str, list[Check]]]:
    """Return the slices of each gate, the most harmed first."""
    names = dict.fromkeys(check.name for check in checks)
    return [(name, sorted((check for check in checks if check.name == name), key=_harm)) for name in names]


def _row(check: Check) -> dict[str, object]:
    what = "difference" if " no worse than " in check.name else "value"
    row: dict[str, object] = {
        "slice": check.slice,
        "rows": check.rows,
        what: check.observed,
        "90% interval": check.interval,
    }
    return row | {"result": check.result if _judged(check) else "not judged", "why": check.reason}


def _judged(check: Check) -> bool:
    return check.interval is not None and not check.reason.startswith("not judged")


def _harm(check: Check) -> tuple[bool, float]:
    """Return a key that sorts the most harmed slice first, and those that were not judged last."""
    observed = check.observed if check.observed is not None else math.inf
    return not _judged(check), -observed if " at most " in check.name else observed


def _lead_of_slices(checks: Sequence[Check]) -> str:
    skipped = sum(not _judged(check) for check in checks)
    said = "A slice blocks only when it is shown to be worse than its bound, allowing for how many are looked at."
    return f"{said} {skipped} of {len(checks)} are too small to be judged." if skipped else said


def _figures(found: Predictions) -> Markup:
    measured = {name: metrics.overall(found, name) for name in found.scores}
    names = list(measured[CANDIDATE])
    shown = [{"metric": metric} | {name: values[metric] for name, values in measured.items()} for metric in names]
    return table(shown[:_SHOWN_METRICS])


def _spans(found: Predictions) -> Markup:
    metric, counts = HEADLINE[found.task], found.spans.rows()
    known = metrics.of(found)[metric]
    figures = {name: known.by_group(found, name, found.spans, {}) for name in found.scores}
    rows = [
        {"span": key, "rows": int(counts[code]), **_labels(found, found.spans, code)}
        | {f"{metric} of the {name}": float(values[code]) for name, values in figures.items()}
        for code, key in enumerate(found.spans.keys)
    ]
    return table(rows)


def _labels(found: Predictions, groups: Groups, code: int) -> dict[str, float]:
    """Return what a group's labels are like: their mean, where they have one."""
    if found.task in SEVERAL:
        return {}
    labels = found.labels[groups.codes == code]
    return {"label rate" if found.task == "binary" else "mean label": float(labels.mean()) if len(labels) else math.nan}
