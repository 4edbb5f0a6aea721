"""An artifact is a folder with a manifest, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from flywheel.errors import ArtifactError

MANIFEST = "flywheel.json"
_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What `flywheel.json` says of its folder.

    Attributes:
        type: Which artifact this is: `examples`, `model`, …
        digest: Content digest over names and bytes of all files of the payload.
        producer: The step that wrote it.
        spans: Names of the spans whose data it was made from, oldest first.
        counts: What can be counted in it, as `{"rows": 12}`.
        facts: Anything else that its readers need, JSON values only.
        files: `{relative path: {"bytes": int, "sha256": str}}` of the payload.
        version: Version of this format.
    """

    type: str
    digest: str
    producer: str
    spans: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = _VERSION


class Artifact:
    """A folder that is whole, of a known type, and unchanged since it was written.

    Attributes:
        path: The folder.
        manifest: What its `flywheel.json` says.
    """

    kind: ClassVar[str]

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Return the artifact in folder `path`.

        Raises:
            ArtifactError: There is none, it is of another type, or its content is not what was written.
        """
        folder = Path(path)
        manifest = _read_manifest(folder)
        if manifest.type != cls.kind:
            raise ArtifactError(
                f"{folder} holds {manifest.type!r}, not {cls.kind!r}",
                f"connect the output of the step that makes {cls.kind}; this was made by {manifest.producer!r}.",
            )
        artifact = cls(folder, manifest)
        for name in manifest.files:
            artifact._verify(name, content=cls._verify_on_open(name))
        return artifact

    @classmethod
    def _verify_on_open(cls, name: str) -> bool:
        """Whether the bytes of file `name` are checked when the folder is opened, not only its size."""
        return True

    @classmethod
    @contextmanager
    def create(cls, path: str | os.PathLike[str], *, producer: str, spans: Iterable[str] = ()) -> Iterator[Draft]:
        """Give a draft to write the payload to; it becomes the artifact at `path` when the block ends well.

        An artifact that was there is replaced. When the block raises, nothing is left behind.
        """
        target = Path(path)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        draft = Draft(partial, list(spans))
        try:
            yield draft
            _seal(partial, cls.kind, producer, draft)
            _replace(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @property
    def digest(self) -> str:
        """Content digest, equal for equal content wherever and whenever it was made."""
        return self.manifest.digest

    def _verify(self, name: str, *, content: bool) -> None:
        file, expected = self.path / name, self.manifest.files[name]
        found = file.stat().st_size if file.is_file() else None
        if found is None:
            problem = "is missing"
        elif found != expected["bytes"]:
            problem = f"has {found} bytes, {expected['bytes']} were written"
        elif content and _sha256(file) != expected["sha256"]:
            problem = "does not match its digest"
        else:
            return
        raise ArtifactError(
            f"{self.kind} in {self.path} is damaged: {name} {problem}", "run the step that made it again."
        )


@dataclass
class Draft:
    """A folder being written.

    Attributes:
        path: Where to write the payload.
        spans: Spans whose data goes in, oldest first.
        counts: What `Manifest.counts` will say.
        facts: What `Manifest.facts` will say.
    """

    path: Path
    spans: list[str]
    counts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def _read_manifest(folder: Path) -> Manifest:
    try:
        values = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} is no artifact: it has no {MANIFEST}", "give the folder that a step wrote."
        ) from None
    except ValueError as error:
        raise ArtifactError(f"{folder / MANIFEST} is damaged: {error}", "run the step that made it again.") from None
    if values.get("version") != _VERSION:
        raise ArtifactError(
            f"{folder} is of format version {values.get('version')!r}, this library reads {_VERSION}",
            "make the artifact again, or use the library that wrote it.",
        )
    return Manifest(**values | {"spans": tuple(values["spans"])})


def _seal(folder: Path, kind: str, producer: str, draft: Draft) -> None:
    payload = sorted(file for file in folder.rglob("*") if file.is_file())
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": _sha256(file)} for file in payload
    }
    digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    manifest = Manifest(kind, f"sha256:{digest}", producer, tuple(draft.spans), draft.counts, draft.facts, files)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1))


def _replace(partial: Path, target: Path) -> None:
    """Rename `partial` to `target`; a folder that was there goes only once the new one is whole."""
    old = partial.with_suffix(".old")
    if target.exists():
        target.rename(old)
    partial.rename(target)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
