"""`flywheel promote`, `rollback`, `approve`, `freeze` and `unfreeze`: what a person does to the champion, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flywheel.cli.arguments import Folder, Profile, who

if TYPE_CHECKING:
    from flywheel.ledger import Act, Ledger
    from flywheel.ledger.acts import Kind
    from flywheel.steps.by_hand import Deploy
    from flywheel.workspace import Workspace

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")]


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Registered version, as 7.")],
    folder: Folder = Path(),
    reason: Reason = "",
    profile: Profile = None,
) -> None:
    """Make VERSION the champion and put it in service, whatever the gates said of it.

    It goes forward in span only; `flywheel rollback` goes back. A run on a frozen flywheel leaves a version for this.
    """
    from flywheel.steps import by_hand

    workspace, ledger, put = _opened(folder, profile)
    _say(by_hand.promote(ledger, workspace.project.name, version, reason, who(), put))


def rollback(
    folder: Folder = Path(),
    to: Annotated[
        str, typer.Option("--to", metavar="VERSION", help="Version to go back to.", show_default="the one before")
    ] = "",
    reason: Reason = "",
    profile: Profile = None,
) -> None:
    """Make an earlier version the champion again and put it in service.

    The version that is left is marked: no run that is taken up again promotes it once more, `flywheel promote` does.
    Runs for later spans go on, and are judged against the version that is champion then.
    """
    from flywheel.steps import by_hand

    workspace, ledger, put = _opened(folder, profile)
    _say(by_hand.rollback(ledger, workspace.project.name, to, reason, who(), put))


def approve(
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="Version that waits.", show_default="the newest")
    ] = "",
    folder: Annotated[Path, typer.Option("--in", help="Folder that holds flywheel.yaml.")] = Path(),
    reason: Reason = "",
    profile: Profile = None,
) -> None:
    """Promote a version that waits for approval, and put it in service.

    With `approval: required` in flywheel.yaml a run that passes every gate ends `awaiting-approval`, its reports say
    why it passed, and this is what it waits for.
    """
    from flywheel.steps import by_hand

    workspace, ledger, put = _opened(folder, profile)
    _say(by_hand.approve(ledger, workspace.project.name, version, reason, who(), put))


def freeze(folder: Folder = Path(), reason: Reason = "", profile: Profile = None) -> None:
    """Keep every run from promoting, until `flywheel unfreeze`; runs go on, judge as ever and register what passes."""
    _frozen("freeze", folder, reason, profile)


def unfreeze(folder: Folder = Path(), reason: Reason = "", profile: Profile = None) -> None:
    """Let runs promote again; what passed meanwhile is not promoted by this, the next span's run decides anew."""
    _frozen("unfreeze", folder, reason, profile)


def _frozen(kind: Kind, folder: Path, reason: str, profile: str | None) -> None:
    from flywheel.steps import by_hand

    workspace, ledger, _ = _opened(folder, profile)
    _say(by_hand.freeze(ledger, workspace.project.name, kind, reason, who()))


def _opened(folder: Path, profile: str | None) -> tuple[Workspace, Ledger, Deploy]:
    from flywheel.ledger import Ledger
    from flywheel.steps.by_hand import deployer
    from flywheel.workspace import Workspace

    workspace = Workspace.open(folder, profile)
    ledger = Ledger(workspace.ledger)
    return workspace, ledger, deployer(workspace.project.name, workspace.target, ledger)


def _say(act: Act) -> None:
    typer.echo(str(act))
