"""The report of a decision to train or not: in words, numbers and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flywheel.artifacts import Verdict
from flywheel.reports import Section, charts, join, page, paragraph, table

if TYPE_CHECKING:
    from flywheel.config import Retrain
    from flywheel.retraining.evidence import Evidence
    from flywheel.retraining.policies import Choice


def render(verdict: Verdict, retrain: Retrain, evidence: Evidence, choice: Choice) -> str:
    """Return the report as one self-contained HTML document."""
    said = [paragraph(f"{choice.why[:1].upper()}{choice.why[1:]}.")]
    said += [paragraph(check.remedy) for check in verdict.checks if check.remedy]
    sections = [Section("Decision", join(*said)), Section("Evidence", table(_rows(retrain, evidence)))]
    if curve := choice.facts.get("curve"):
        points = {"expected loss": [(float(age), loss) for age, loss in enumerate(curve, 1)]}
        alt = f"expected loss of {evidence.metric} by age of the model"
        picture = charts.lines(points, alt, x=f"age in spans of a {evidence.every}", y=f"loss of {evidence.metric}")
        lead = (
            f"Learned from {choice.facts['observed']} trainings that were compared with an older model on the same "
            "rows, and shrunk to a straight line while they are few."
        )
        sections.append(Section("What waiting costs", picture, lead))
    if evidence.moved:
        rows = [{"column": column, "what": what} for column, what in evidence.moved.items()]
        sections.append(Section("Columns that moved", table(rows)))
    if evidence.gains:
        gained = [{"champion's age": gain.age, "gain": gain.value, "error": gain.error} for gain in evidence.gains]
        sections.append(Section("What trainings gained", table(gained), collapsed=True))
    if not evidence.champion:
        sections.append(Section("Champion", paragraph("There is none yet.")))
    return page(
        "Worth a training" if choice.train else "No training needed",
        sections,
        subtitle=f"Policy: {retrain}; span {evidence.span}.",
        facts={"champion": evidence.champion or "none", "its age": f"{evidence.age} spans"},
    )


def _rows(retrain: Retrain, evidence: Evidence) -> list[dict[str, object]]:
    lost, alpha = evidence.lost, 1 - retrain.confidence
    bounds = lost and f"{lost.value:+.3g} ({lost.lower(alpha):+.3g} to {lost.upper(alpha):+.3g})"
    told: dict[str, object] = {
        "spans since the champion's": evidence.age,
        "spans since the last training": evidence.since,
        "rows of the newest span": evidence.rows,
        "rows since the champion's span": evidence.new_rows,
        "rows that a training would take": evidence.window_rows,
        f"{evidence.metric} at the promotion": evidence.then and evidence.then.value,
        f"{evidence.metric} on the newest spans": evidence.now and evidence.now.value,
        f"lost, with its one-sided {retrain.confidence:.0%} bounds": bounds,
        "columns that moved": len(evidence.moved),
        "monitoring asks for a training": evidence.asked or None,
        "seconds that a run with a training takes": evidence.seconds,
    }
    return [{"what": what, "value": value} for what, value in told.items() if value is not None]
