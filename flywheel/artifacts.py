"""Typed views on artifact folders: what a step writes, and how the next one knows what it was given.

Kubeflow sees only its own artifact types, so the meaning stands in the folder: its payload and a `flywheel.json`
with type, version, content digest, spans, producer and counts. A folder is made under a temporary name and renamed
when it is whole, so whoever finds one finds all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from flywheel.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "flywheel.json"
ROW_GROUP = 128 * 1024
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


class Examples(Artifact):
    """Rows as Parquet shards, `span=<name>/part-<n>.parquet`, zstd; always read and written as record batches."""

    kind = "examples"

    @classmethod
    def _verify_on_open(cls, name: str) -> bool:
        return False  # shards are checked when they are read, so that opening stays cheap however large they are

    @classmethod
    @contextmanager
    def writer(cls, path: str | os.PathLike[str], schema: pa.Schema, *, producer: str) -> Iterator[ExamplesWriter]:
        """Give a writer for rows of `schema`; the artifact stands at `path` when the block ends well."""
        with cls.create(path, producer=producer) as draft, ExamplesWriter(draft, schema) as writer:
            yield writer

    @property
    def spans(self) -> tuple[str, ...]:
        """Names of its spans, oldest first; a span may have no rows."""
        return self.manifest.spans

    @property
    def rows(self) -> int:
        """How many rows it has in all spans."""
        return self.manifest.counts["rows"]

    def rows_of(self, spans: Iterable[str]) -> int:
        """Return how many rows stand in `spans`."""
        rows: dict[str, int] = self.manifest.facts["rows"]
        return sum(rows[span] for span in spans)

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of every batch."""
        import pyarrow as pa

        return pa.ipc.read_schema(pa.BufferReader(bytes.fromhex(self.manifest.facts["schema"])))

    def shards(self, spans: Iterable[str] | None = None) -> list[tuple[str, Path]]:
        """Return (span, Parquet file) of `spans`, oldest first; all spans by default.

        Raises:
            DataError: A span is asked for that was not extracted.
        """
        wanted = self.spans if spans is None else tuple(spans)
        unknown = sorted(set(wanted) - set(self.spans))
        if unknown:
            raise DataError(
                f"examples in {self.path} have no span {unknown[0]!r}, only {_short(self.spans)}",
                "extract that span too, or ask for one of these.",
            )
        chosen = set(wanted)
        found = ((name.split("/")[0].removeprefix("span="), name) for name in sorted(self.manifest.files))
        return [(span, self.path / name) for span, name in found if span in chosen]

    def batches(
        self, spans: Iterable[str] | None = None, columns: Sequence[str] | None = None, rows: int = 64 * 1024
    ) -> Iterator[tuple[str, pa.RecordBatch]]:
        """Yield (span, record batch of at most `rows` rows), oldest span first; never more than a row group in memory.

        Raises:
            ArtifactError: A shard is not what was written.
        """
        import pyarrow.parquet as pq

        for span, shard in self.shards(spans):
            self._verify(str(shard.relative_to(self.path)), content=True)
            with pq.ParquetFile(shard) as file:
                for batch in file.iter_batches(rows, columns=list(columns) if columns is not None else None):
                    yield span, batch

    def table(self, spans: Iterable[str] | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all rows at once, for what is known to be small."""
        import pyarrow as pa

        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_batches([batch for _, batch in self.batches(spans, columns)], schema)


class ExamplesWriter:
    """Writes record batches to the shards of a draft, span by span."""

    def __init__(self, draft: Draft, schema: pa.Schema) -> None:
        self._draft, self._schema = draft, schema
        self._rows: dict[str, int] = {}

    def write(self, span: str, batches: Iterable[pa.RecordBatch], part: int = 0) -> int:
        """Write `batches` as one shard of `span` and return how many rows they had; no rows, no file."""
        import pyarrow.parquet as pq

        self._rows.setdefault(span, 0)
        file, writer, rows = self._draft.path / f"span={span}" / f"part-{part:05d}.parquet", None, 0
        try:
            for batch in batches:
                if writer is None and batch.num_rows:
                    file.parent.mkdir(exist_ok=True)
                    writer = pq.ParquetWriter(file, self._schema, compression="zstd")
                if writer is not None:
                    writer.write_batch(batch, ROW_GROUP)
                rows += batch.num_rows
        finally:
            if writer is not None:
                writer.close()
        self._rows[span] += rows
        return rows

    def __enter__(self) -> ExamplesWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._draft.spans = sorted(self._rows)
        self._draft.counts["rows"] = sum(self._rows.values())
        self._draft.facts |= {"rows": self._rows, "schema": self._schema.serialize().to_pybytes().hex()}


class Statistics(Artifact):
    """TFDV statistics of one or more groups of spans, each `<group>.pb` (`DatasetFeatureStatisticsList`)."""

    kind = "statistics"


class Schema(Artifact):
    """The expected columns, types and domains: `schema.pbtxt`, as TFDV reads it."""

    kind = "schema"

    @property
    def file(self) -> Path:
        """The text proto itself."""
        return self.path / "schema.pbtxt"


class TransformState(Artifact):
    """What `transform` learned from the training window: `state.json`, small and readable."""

    kind = "transform-state"

    @property
    def file(self) -> Path:
        """The state itself."""
        return self.path / "state.json"


class Model(Artifact):
    """An MLflow model folder (pyfunc): raw columns in, predictions out, the transform inside it."""

    kind = "model"


class Evaluation(Artifact):
    """Predictions of every judged model on the same rows, and the metrics that TFMA's readers open."""

    kind = "evaluation"


@dataclass(frozen=True)
class Check:
    """One thing that a gate looked at.

    Attributes:
        name: What was checked, as `auc at least 0.6`.
        result: `pass`, `fail`, `warn` (said, does not block) or `undecided` (not enough data).
        observed: The figure that was found; None where there is none.
        bound: The figure it was held against; None where there is none.
        slice: Which rows, as `carrier=HA`; empty for all of them.
        reason: Why the result is what it is, as a sentence.
        remedy: What to do about it, as a sentence; empty when passed.
        interval: Lower and upper bound of `observed`, if it has any.
        rows: How many rows it rests on, if that is known.
    """

    name: str
    result: str
    observed: float | None = None
    bound: float | None = None
    slice: str = ""
    reason: str = ""
    remedy: str = ""
    interval: tuple[float, float] | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What a gate decided, and every check that led to it.

    Attributes:
        gate: Which gate: `data`, `model`, …
        checks: Everything that was looked at.
        facts: Figures for ledger and reports, JSON values only.
    """

    gate: str
    checks: tuple[Check, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether nothing failed and nothing was left undecided."""
        return not self.failed and not self.undecided

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == "fail")

    @property
    def undecided(self) -> tuple[Check, ...]:
        """The checks for which there was not enough data."""
        return tuple(check for check in self.checks if check.result == "undecided")

    @property
    def warned(self) -> tuple[Check, ...]:
        """The checks that are worth a look but do not block."""
        return tuple(check for check in self.checks if check.result == "warn")

    @property
    def why(self) -> str:
        """The decision in one sentence: the first reasons, and how many more there are."""
        decisive = self.failed + self.undecided
        if not decisive:
            return f"all {len(self.checks)} checks passed" if not self.warned else f"passed; {self.warned[0].reason}"
        more = f" (and {len(decisive) - 1} more)" if len(decisive) > 1 else ""
        return decisive[0].reason + more

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return {"gate": self.gate, "ok": self.ok, "why": self.why, "facts": self.facts} | {
            "checks": [asdict(check) for check in self.checks]
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` gave."""
        checks = [dict(check) for check in values["checks"]]
        for check in checks:
            check["interval"] = tuple(check["interval"]) if check["interval"] else None
        return cls(values["gate"], tuple(Check(**check) for check in checks), values["facts"])


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


def _short(names: Sequence[str]) -> str:
    return f"{names[0]} to {names[-1]}" if len(names) > 3 else ", ".join(names) or "none"
