"""The deployment's report: what was put in service, and what the target found when it judged it."""

from __future__ import annotations

from flywheel.reports import Section, page, table, verdict_table
from flywheel.serving.folder import Deployment
from flywheel.serving.targets import Placed


def render(deployment: Deployment, placed: Placed) -> str:
    """Return the report as one self-contained HTML document."""
    verdict = placed.verdict
    sections = [Section("Checks", verdict_table(verdict))] if placed.checks else []
    sections += [Section(title, table(rows)) for title, rows in placed.tables.items() if rows]
    identity = {"version": deployment.version, "span": deployment.span, "run": deployment.run}
    sections.append(Section("Version", table([identity | {"digest": deployment.digest}]), collapsed=bool(sections)))
    return page(
        f"Deployment of {deployment.name}, version {deployment.version}",
        sections,
        verdict=verdict if placed.checks else None,
        subtitle=f"Served at {placed.endpoint}.",
        facts=placed.facts,
    )
