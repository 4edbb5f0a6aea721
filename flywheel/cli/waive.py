"""`flywheel waive`: let a span be trained on that the data gate keeps out, and say why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Profile, who

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flywheel.artifacts import Verdict


def waive(
    span: Annotated[str, typer.Argument(metavar="SPAN", help="Span to let through, as 2013-06-01.")],
    folder: Folder = Path(),
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why its data is good enough, for whoever asks later.")
    ] = "",
    checks: Annotated[
        list[str],
        typer.Option("--check", metavar="NAME", help="Waive this check or column alone; again for more."),
    ] = [],  # noqa: B006 - typer copies it
    profile: Profile = None,
) -> None:
    """Let SPAN be trained on whatever the data gate finds in it, and record who said so and why.

    Look at the span's report first (.flywheel/reports/SPAN). A waived span is judged as ever, its alarms are shown, and
    none of them blocks; it does not teach the bars what is normal. The next `flywheel run --span SPAN` tries it again.
    Waivers are shown by `flywheel status`; a second one for a span takes the place of the first.
    """
    from flywheel.errors import ConfigError
    from flywheel.ledger import Ledger
    from flywheel.spans import Span
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    name = workspace.project.name
    span = Span.parse(span, workspace.project.source.every).name  # 2013-6-1 is 2013-06-01 in the ledger
    if not reason.strip():
        raise ConfigError(
            f"span {span} cannot be waived without a reason", '--reason "storm of 8 February, the data is right"'
        )
    ledger = Ledger(workspace.ledger)
    rejected = [row for row in ledger.rows(name) if row.span == span and "data" in row.decisions]
    verdict = ledger.verdict(rejected[-1].run, "data") if rejected else None
    if verdict and not verdict.ok:
        _require(checks, verdict)
    waiver = ledger.waive(name, span, reason, who(), tuple(dict.fromkeys(checks)))
    what = ", ".join(map(repr, waiver.checks)) or "everything that the data gate finds"
    typer.echo(f"waived for {span} by {waiver.who or 'nobody named'}: {what}")
    if verdict is None:
        typer.echo("it was not judged yet: the waiver counts when it is")
    elif verdict.ok:
        typer.echo("it was not rejected: the waiver counts if it ever is")
    else:
        typer.echo(f"it was rejected: {verdict.why}\ntry it again: flywheel run {folder} --span {span}")


def _require(checks: Sequence[str], verdict: Verdict) -> None:
    """Refuse a check that did not fail: the waiver would do nothing."""
    from flywheel.errors import ConfigError, meant

    known = sorted({name for check in verdict.failed for name in (check.name, check.column) if name})
    for check in checks:
        if check not in known:
            these = f"{meant(check, known)}these did: {', '.join(known)}."
            raise ConfigError(f"no check {check!r} failed for that span", these)
