"""The serving folder: a folder a version, and the symlink `current`, which is switched in one step."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from flywheel.artifacts import Model
from flywheel.errors import ArtifactError, ServingError

if TYPE_CHECKING:
    from flywheel.ledger import Champion

CURRENT = "current"
DEPLOYMENT = "deployment.json"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Deployment:
    """A version in service, as `deployment.json` in its folder says.

    Attributes:
        name: Of the registered model.
        version: Of it.
        span: The span that it was promoted for.
        run: The ledger's row that promoted it.
        digest: Content digest of the model.
    """

    name: str
    version: str
    span: str
    run: str
    digest: str


@dataclass(frozen=True)
class ServingFolder:
    """Where the versions of one model stand that are served.

    Attributes:
        path: The folder.
    """

    path: Path

    def current(self) -> Deployment | None:
        """Return what is in service, if anything is."""
        return _read(self.path / CURRENT)

    def model(self) -> tuple[Deployment, Model]:
        """Return what is in service and its model, whole and unchanged.

        Raises:
            ServingError: Nothing is deployed yet.
            ArtifactError: The model is damaged.
        """
        folder = (self.path / CURRENT).resolve()
        deployment = _read(folder)
        if deployment is None:
            raise ServingError(
                f"nothing is deployed in {str(self.path)!r} yet",
                "run `flywheel run` until a model is promoted; it is deployed then.",
            )
        return deployment, Model.open(folder)

    def deploy(
        self, champion: Champion, download: Callable[[Path], Path], newest: Callable[[], Champion | None]
    ) -> Deployment:
        """Put `champion` in service: `download` its folder, name it when it is whole, switch the symlink.

        The version that was in service before stays beside it, older ones go. The registry is the fence: it is asked
        for the champion while this folder is locked, right before the switch. Whoever moves the champion deploys it
        afterwards, so of any number that deploy at once the last one puts in service what the registry says.

        Args:
            champion: The version.
            download: Writes the model below the folder that it is given and returns where.
            newest: Asks the registry which version is champion.

        Raises:
            ServingError: Another version is champion by now; the disk is full; the folder cannot be written.
            ArtifactError: What was downloaded is not the model that was registered.
        """
        wanted = Deployment(champion.name, champion.version, champion.span, champion.run, champion.digest)
        try:
            with self._locked():
                former = self.current()
                self._fetch(wanted, download)
                refuse_late(wanted, newest())
                if former != wanted:
                    self._switch(wanted.version)
                    self._prune({wanted.version, former.version if former else ""})
        except OSError as error:
            raise self._explain(error) from error
        return wanted

    def _fetch(self, wanted: Deployment, download: Callable[[Path], Path]) -> None:
        target = self.path / wanted.version
        if _read(target) == wanted and _is_whole(target):
            return
        for left in self.path.glob(".partial-*"):  # by a process that was killed: we hold the lock
            shutil.rmtree(left)
        partial = self.path / f".partial-{wanted.version}"
        try:
            partial.mkdir()
            model = downloaded(wanted, download, partial).path
            (model / DEPLOYMENT).write_text(json.dumps(asdict(wanted), indent=1))
            if target.exists():
                shutil.rmtree(target)
            model.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _switch(self, version: str) -> None:
        link = self.path / ".next"
        link.unlink(missing_ok=True)
        link.symlink_to(version)
        os.replace(link, self.path / CURRENT)

    def _prune(self, kept: set[str]) -> None:
        for folder in self.path.iterdir():
            if folder.is_dir() and not folder.is_symlink() and folder.name not in kept and _read(folder):
                shutil.rmtree(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def _explain(self, error: OSError) -> ServingError:
        if error.errno in _FULL:
            return ServingError(
                f"the disk of {str(self.path)!r} is full; what was in service stays so",
                "free some space and run again.",
            )
        return ServingError(f"cannot deploy to {str(self.path)!r}: {error}", "give a folder that you may write to.")


def downloaded(wanted: Deployment, download: Callable[[Path], Path], into: Path) -> Model:
    """Return a version's model, downloaded.

    Args:
        wanted: The version.
        download: Writes the model below the folder that it is given and returns where.
        into: An empty folder.

    Raises:
        ArtifactError: What was downloaded is not the model that was registered.
    """
    model = Model.open(download(into))
    if model.digest != wanted.digest:
        raise ArtifactError(
            f"version {wanted.version} of {wanted.name} is not the model that was registered",
            "look who changed the registry's artifacts; promote a model again.",
        )
    return model


def refuse_late(wanted: Deployment, champion: Champion | None) -> None:
    """Return if the registry's champion is the wanted version.

    Raises:
        ServingError: Another one is by now.
    """
    if champion is None or champion.version != wanted.version:
        now = f"version {champion.version} of {champion.span!r}" if champion else "none"
        raise ServingError(
            f"version {wanted.version} of {wanted.name}, of span {wanted.span!r}, is not put in service: the champion "
            f"is {now} by now",
            "nothing is lost: whoever made that one champion puts it in service.",
        )


def path_of(target: str) -> Path:
    """Return the absolute path that a path or file:// URI names.

    Raises:
        ServingError: It is a URI of something else.
    """
    parts = urlsplit(target)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in target:
        raise ServingError(f"cannot deploy to {target!r}", "give a folder, as .flywheel/serving or file:///srv/models.")
    return Path(target).absolute()


def _read(folder: Path) -> Deployment | None:
    try:
        return Deployment(**json.loads((folder / DEPLOYMENT).read_text()))
    except FileNotFoundError:
        return None


def _is_whole(folder: Path) -> bool:
    try:
        Model.open(folder)
    except ArtifactError:
        return False
    return True
