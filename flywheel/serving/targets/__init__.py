"""Where a champion can be put in service: one file a target, imported only when it is met."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from flywheel import config
from flywheel.artifacts import Check, Verdict
from flywheel.errors import MissingExtra, ServingError
from flywheel.serving.folder import Deployment, refuse_late

if TYPE_CHECKING:
    from flywheel.ledger import Champion, Ledger

MODULES = {
    "batch": "flywheel.serving.targets.batch",
    "index": "flywheel.serving.targets.index",
    "kserve": "flywheel.serving.targets.kserve",
    "local": "flywheel.serving.targets.local",
    "ondevice": "flywheel.serving.targets.ondevice",
    "tfserving": "flywheel.serving.targets.tfserving",
    "triton": "flywheel.serving.targets.triton",
}


@dataclass(frozen=True)
class Order:
    """What is to be put in service.

    Attributes:
        champion: The version.
        uri: Where the registry keeps its folder.
        download: Writes that folder below the one that it is given and returns where.
        newest: Asks the registry which version is champion now.
    """

    champion: Champion
    uri: str
    download: Callable[[Path], Path]
    newest: Callable[[], Champion | None]

    @classmethod
    def of(cls, champion: Champion, book: Ledger) -> Order:
        """Return the order of a version of the ledger's registry."""
        client, name = book.client, champion.name
        uri = client.get_model_version_download_uri(name, champion.version)
        return cls(champion, uri, lambda into: client.download(uri, into), lambda: book.champion(name))

    @property
    def deployment(self) -> Deployment:
        """What a target writes down of the version."""
        chosen = self.champion
        return Deployment(chosen.name, chosen.version, chosen.span, chosen.run, chosen.digest)

    def refuse_late(self) -> None:
        """Return if the version is the registry's champion still.

        Raises:
            ServingError: Another one is by now.
        """
        refuse_late(self.deployment, self.newest())


@dataclass(frozen=True)
class Placed:
    """What came of it.

    Attributes:
        endpoint: Where the version that is in service now is to be found.
        changed: Whether anything had to be done.
        checks: What the target judged: a canary's steps, the loss by quantising; none for a plain copy.
        facts: Figures for report and ledger, JSON values only.
        tables: Title to rows, for the report.
    """

    endpoint: str
    changed: bool = True
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, object]]] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """Whether the version may stay; when not, the target has taken it back already."""
        return Verdict("deploy", self.checks, dict(self.facts))


class Target(Protocol):
    """What the class `Target` of a file such as `flywheel.serving.targets.kserve` gives, made of (settings, name).

    Going back is no call of its own: it is putting an earlier version in service, which a target does without a canary.
    """

    def current(self) -> Deployment | None:
        """Return what is in service, if anything is."""

    def put(self, order: Order) -> Placed:
        """Put a version in service whole or not at all; doing so twice, or again after being killed, changes nothing.

        Raises:
            ServingError: It cannot be done, or another version is champion by now; what was in service stays so.
        """


def open_target(text: str, name: str) -> Target:
    """Return the target that `text` describes, for the model called `name`.

    Args:
        text: A folder or its file:// URI, or the JSON that `Workspace.target` gives.
        name: Of the registered model.

    Raises:
        ServingError: `text` is neither, or says not which rows it is about.
        MissingExtra: The target needs a library that is not installed.
    """
    try:
        settings = config.target_of(text)
    except ValueError as error:
        raise ServingError(
            f"{text!r} is no target to deploy to: {error}", "give a folder, or `deploy` of flywheel.yaml as JSON."
        ) from None
    if isinstance(settings, config.Batch | config.Index) and not (settings.query and settings.warehouse):
        raise ServingError(f"the target {settings.target!r} has no query of rows", "give `query` and `warehouse`.")
    try:
        module = importlib.import_module(MODULES[settings.target])
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"the target {settings.target!r} needs {error.name!r}, which is not installed",
            "pip install 'ai-flywheel[local]'.",
        ) from error
    return cast(Target, module.Target(settings, name))


__all__ = ["MODULES", "Order", "Placed", "Target", "open_target"]
