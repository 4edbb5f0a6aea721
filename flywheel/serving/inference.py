"""Beam's RunInference with packaged models: Arrow record batches in, one load a worker, small words and files out."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import ModelHandler, RunInference

from flywheel.errors import FlywheelError
from flywheel.transform.beam import Job, local_copy

Models = Mapping[str, Any]


class Part(Protocol):
    """A file of raw rows that one worker takes, such as `flywheel.transform.shards.Shard`."""

    @property
    def span(self) -> str:
        """Its span."""

    @property
    def name(self) -> str:
        """Its name, of which no other one has the same; in their order the rows are given back."""

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield its rows."""


@dataclass(frozen=True)
class Rows:
    """A batch of raw rows on its way to the models.

    Attributes:
        span: Its span.
        part: Name of the file that it is of.
        number: Which of that file's batches.
        batch: The rows.
    """

    span: str
    part: str
    number: int
    batch: pa.RecordBatch


@dataclass(frozen=True)
class Answer:
    """What came of a batch.

    Attributes:
        good: Rows with what the models said.
        dead: Rows that they could say nothing of, with the reason; None when there are none.
        reasons: How often, by what could not be read and why.
    """

    good: pa.RecordBatch
    dead: pa.RecordBatch | None = None
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(frozen=True)
class Written:
    """An answer in files, `good` and `dead` (empty without any), with their rows; those sort as the rows were read."""

    part: str
    number: int
    good: str
    rows: int
    dead: str
    reasons: Counter[tuple[str, str]]


Ask = Callable[[Rows, Models], Answer]
"""Asks the models about a batch; travels to the workers, so it can be pickled. Its FlywheelErrors are for people."""


class Loaded(dict[str, Any]):
    """Models by name; Beam shares them between threads by a weak reference, which a dict does not take.

    Attributes:
        wrong: Why they could not be loaded, for people to read.
    """

    wrong: FlywheelError | None = None


class PackagedModels(ModelHandler[Any, Any, Any]):  # type: ignore[misc]
    """Models in MLflow folders, each loaded once a worker process and asked together about whole record batches.

    Args:
        models: Where workers find each of them, as `reachable` says.
        load: Loads the model in a folder.
        ask: Asks them.
    """

    def __init__(self, models: Mapping[str, str], load: Callable[[Path], Any], ask: Ask) -> None:
        super().__init__()
        self._models, self._load, self._ask = dict(models), load, ask

    def load_model(self) -> Loaded:
        """Return the models by name, or what is wrong with one."""
        loaded = Loaded()
        try:
            loaded |= {name: self._load(_folder(address)) for name, address in self._models.items()}
        except FlywheelError as error:
            loaded.wrong = error
        return loaded

    def run_inference(
        self, batch: Sequence[Rows | FlywheelError], model: Models, inference_args: dict[str, Any] | None = None
    ) -> list[tuple[Rows, Answer] | FlywheelError]:
        """Return what the models say; what is wrong for people to read is an answer too, as retrying does not mend it.

        Args:
            batch: Batches of rows.
            model: The models by name.
            inference_args: Beam passes this; there are none.
        """
        return [self._asked(rows, model) for rows in batch]

    def should_skip_batching(self) -> bool:
        """Return True: what is handed on is a batch already, and Dask's runner loses what Beam gathers of elements."""
        return True

    def get_num_bytes(self, batch: Sequence[Rows | FlywheelError]) -> int:
        """Return the bytes of rows, for Beam's metrics."""
        return sum(rows.batch.nbytes for rows in batch if isinstance(rows, Rows))

    def _asked(self, rows: Rows | FlywheelError, models: Models) -> tuple[Rows, Answer] | FlywheelError:
        if isinstance(rows, FlywheelError):
            return rows
        if wrong := getattr(models, "wrong", None):
            return cast(FlywheelError, wrong)
        try:
            return rows, self._ask(rows, models)
        except FlywheelError as error:
            return error


def infer(
    parts: Sequence[Part], columns: Sequence[str], handler: PackagedModels, job: Job, batches: int = 0
) -> list[Written]:
    """Ask models about all rows of `parts` by one Beam pipeline; return the files of answers, in the order of the rows.

    Args:
        parts: What to read; each is one unit of work.
        columns: Which columns.
        handler: The models.
        job: Where it runs; files of answers are in its scratch folder.
        batches: How many batches there will be, for progress; none is told when it is 0.

    Raises:
        FlywheelError: What a model, or a part, is wrong with.
    """
    if not parts:
        return []
    target = job.folder("answers")
    done = job.run(
        lambda pipeline: (
            pipeline
            | "Parts" >> job.spread(parts)
            | "Read" >> beam.ParDo(ReadRows(columns))
            | "Ask" >> RunInference(handler)
            | "Write" >> beam.ParDo(WriteAnswer(target))
        ),
        batches,
    )
    return sorted(done, key=lambda written: (written.part, written.number))


class ReadRows(beam.DoFn):  # type: ignore[misc]
    """The batches of a part."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = list(columns)

    def process(self, part: Part) -> Iterator[list[Rows | FlywheelError]]:
        """Yield the rows of `part`, batch by batch, each in a list of its own; or what is wrong with it."""
        try:
            for number, batch in enumerate(part.batches(self._columns)):
                yield [Rows(part.span, part.name, number, batch)]
        except FlywheelError as error:
            yield [error]


class WriteAnswer(beam.DoFn):  # type: ignore[misc]
    """Writes what came of a batch as Parquet files below `target`, for whoever started the pipeline."""

    def __init__(self, target: str) -> None:
        self._target = target

    def process(self, found: tuple[Rows, Answer] | FlywheelError) -> Iterator[Written | FlywheelError]:
        """Yield where the answer is; tried again it writes the same files."""
        if isinstance(found, FlywheelError):
            yield found
            return
        rows, answer = found
        name = f"{rows.part.removesuffix('.parquet').replace('/', '~')}-{rows.number:06d}"
        good = self._write(f"{name}.good.parquet", answer.good)
        dead = self._write(f"{name}.dead.parquet", answer.dead) if answer.dead is not None else ""
        yield Written(rows.part, rows.number, good, answer.good.num_rows, dead, answer.reasons)

    def _write(self, name: str, batch: pa.RecordBatch) -> str:
        path: str = FileSystems.join(self._target, name)
        with FileSystems.create(path) as file, pq.ParquetWriter(file, batch.schema, compression="zstd") as writer:
            writer.write_batch(batch)
        return path


def answered(files: Iterable[str]) -> Iterator[pa.RecordBatch]:
    """Yield the rows in files of answers, one batch a file."""
    for path in files:
        with FileSystems.open(path, compression_type="uncompressed") as file, pq.ParquetFile(file) as source:
            yield from source.iter_batches(max(1, source.metadata.num_rows))


def reachable(models: Mapping[str, Path], job: Job) -> dict[str, str]:
    """Return where workers find the folders of models: where they are, or as archives in the job's scratch folder."""
    if not job.remote:
        return {name: str(folder) for name, folder in models.items()}
    found = {}
    with tempfile.TemporaryDirectory() as here:
        for name, folder in models.items():
            found[name] = job.put(Path(shutil.make_archive(str(Path(here, f"model-{name}")), "zip", folder)))
    return found


def _folder(address: str) -> Path:
    """Return the folder of a model on this machine; an archive of one is unpacked."""
    if not address.endswith(".zip"):
        return Path(address)
    folder = Path(tempfile.mkdtemp(prefix="flywheel-model-"))
    archive = local_copy(address)
    assert archive is not None
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder
