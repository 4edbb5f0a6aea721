"""The transform as a Beam pipeline: workers get paths and specifications, read shards themselves, and write shards.

What a worker has to say is small, and passes through files in a folder that workers and this process both see: not
every runner gives results back. A pipeline is one chain without branches, which even Dask's runner understands.
"""

from __future__ import annotations

import pickle
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

from flywheel.artifacts.examples import gathered, joined
from flywheel.errors import FlywheelError
from flywheel.say import say
from flywheel.transform.analysis import Analysis
from flywheel.transform.shards import Shard, ShardResult, write_shard
from flywheel.transform.state import State

# By this name, not as DirectRunner: that one first tries Prism, a Go binary that it would have to download.
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
_TOLD_EVERY = 5.0


@dataclass(frozen=True)
class Job:
    """Where a pipeline runs, and what its workers need.

    Attributes:
        options: Beam's pipeline options; without a runner among them it runs in this process.
        scratch: Folder that workers and this process both see, for what workers have to say.
        code: The project's archive as workers reach it; empty when no feature has a function.
        remote: Whether workers may not see this machine's files, so that `scratch` is all that is shared.
    """

    options: tuple[str, ...]
    scratch: str
    code: str = ""
    remote: bool = False

    @property
    def distributed(self) -> bool:
        """Whether a runner is named."""
        return any(flag == "--runner" or flag.startswith("--runner=") for flag in self.options)

    @property
    def alone(self) -> bool:
        """Whether this process does all the work by itself: then nothing has to be handed from one worker to others."""
        return not self.distributed and not any(flag.startswith("--direct_") for flag in self.options)

    def spread(self, shards: Sequence[Any]) -> Any:
        """Return a transform that gives the shards, each to whichever worker is free."""
        # Runners fuse a source with what follows: without a shuffle between, one worker would take all.
        given = beam.Create(shards, reshuffle=not self.alone)
        return given | beam.Reshuffle() if self.distributed else given

    def pipeline(self) -> beam.Pipeline:
        """Return an empty pipeline, which runs when its `with` block ends."""
        # These flags only, or Beam would read this process's own command line.
        options = PipelineOptions(flags=list(self.options))
        return beam.Pipeline(runner=None if self.distributed else RUNNER, options=options)

    def folder(self, name: str) -> str:
        """Make a folder in the scratch folder and return its address."""
        made: str = FileSystems.join(self.scratch, name)
        FileSystems.mkdirs(made)
        return made

    def put(self, file: Path) -> str:
        """Copy a file of this machine to the scratch folder and return its address there."""
        address: str = FileSystems.join(self.scratch, file.name)
        with FileSystems.create(address) as target, file.open("rb") as source:
            shutil.copyfileobj(source, target, 2**24)
        return address

    def run(self, build: Any, said: int = 0) -> list[Any]:
        """Run the pipeline that `build` makes of a pipeline, and return what its workers had to say.

        Args:
            build: Makes a collection of what workers say.
            said: How much they will have to say in the end: progress is told by it, none when it is 0.

        Raises:
            FlywheelError: A worker found something wrong with its rows.
        """
        target = self.folder(f"said-{uuid.uuid4().hex}")
        with _progress(target, said), self.pipeline() as pipeline:
            _ = build(pipeline) | "Say" >> beam.Map(_say, target)
        found = list(_said(target))
        for each in found:
            if isinstance(each, FlywheelError):
                raise each
        return found


def learn_and_apply(
    shards: Sequence[Shard],
    features: list[dict[str, Any]],
    label: str,
    schema: pa.Schema,
    target: str,
    added: Sequence[pa.Field],
    job: Job,
    task: str = "binary",
) -> tuple[str, list[ShardResult]]:
    """Learn from the rows of `shards`, and write them below `target` as the model sees them, by one Beam pipeline.

    Args:
        shards: What to read; each is one unit of work.
        features: As `features` in flywheel.yaml.
        label: Column to predict.
        schema: Of the raw rows.
        target: Folder that workers write to.
        added: What the rows say of how each is used, as columns that pass through.
        job: Where it runs.
        task: `binary`, `multiclass`, `multilabel` or `regression`.

    Returns:
        What was learned, as `State` writes it, and what became of each shard.

    Raises:
        FlywheelError: There are no rows, the label or a feature function is wrong, or a shard is damaged.
    """
    if not shards:
        return Analysis(features, label, task).finish(schema).to_text(), []
    learned = FileSystems.join(job.scratch, f"learned-{uuid.uuid4().hex}.json")
    work = [[*shards]] if job.alone else [[shard] for shard in shards]

    def build(pipeline: beam.Pipeline) -> Any:
        found = (
            pipeline
            | "Shards" >> job.spread(work)
            | "Analyse" >> beam.ParDo(AnalyseShards(features, label, job.code, task))
        )
        if not job.alone:
            found = found | "Merge" >> beam.CombineGlobally(Merge(features, label, task)).without_defaults()
        again = found | "Learn" >> beam.ParDo(Learn(shards, schema, learned))
        if not job.alone:
            again = again | "Spread" >> beam.Reshuffle()
        return again | "Apply" >> beam.ParDo(ApplyShard(learned, target, added, job.code))

    done = job.run(build)
    return _text(learned), done


class AnalyseShards(beam.DoFn):  # type: ignore[misc]
    """What the rows of some shards hold."""

    def __init__(self, features: list[dict[str, Any]], label: str, code: str, task: str) -> None:
        self._features, self._label, self._code, self._task = features, label, code, task

    def process(self, shards: Sequence[Shard]) -> Iterator[Analysis | FlywheelError]:
        """Yield one analysis of `shards`, or what is wrong with their rows, for people to read."""
        found = Analysis(self._features, self._label, self._task)
        columns = list(dict.fromkeys([*(name for spec in found.specs for name in spec.sources), *found.labels]))
        try:
            if self._code:  # how often a feature function is asked for the rows on which it fails is limited, by batch
                for shard in shards:
                    for number, batch in enumerate(shard.batches(columns)):
                        found.add(batch, local_copy(self._code), check=number == 0)
            else:
                for parts in gathered(("", batch) for shard in shards for batch in shard.batches(columns)):
                    found.add(joined([batch for _, batch in parts]))
        except FlywheelError as error:
            yield error
            return
        yield found


class Merge(beam.CombineFn):  # type: ignore[misc]
    """Analyses of parts as one of the whole; the first thing that was found wrong takes its place."""

    def __init__(self, features: list[dict[str, Any]], label: str, task: str) -> None:
        self._features, self._label, self._task = features, label, task

    def create_accumulator(self) -> Analysis | FlywheelError:
        """Return an analysis of no rows."""
        return Analysis(self._features, self._label, self._task)

    def add_input(self, accumulator: Any, part: Any) -> Analysis | FlywheelError:
        """Take what was found in a part."""
        if isinstance(accumulator, FlywheelError) or isinstance(part, FlywheelError):
            return accumulator if isinstance(accumulator, FlywheelError) else part
        try:
            accumulator.merge(part)
        except FlywheelError as error:
            return error
        return accumulator  # type: ignore[no-any-return]

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Analysis | FlywheelError:
        """Return one analysis of all rows."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged = self.add_input(merged, accumulator)
        return merged

    def extract_output(self, accumulator: Any) -> Analysis | FlywheelError:
        """Return the analysis as it is; whoever asked for it finishes it, and says what is wrong with the data."""
        return accumulator  # type: ignore[no-any-return]


class Learn(beam.DoFn):  # type: ignore[misc]
    """Writes what follows from the analysis of all rows to a file, and gives the shards once more."""

    def __init__(self, shards: Sequence[Shard], schema: pa.Schema, learned: str) -> None:
        self._shards, self._schema, self._learned = shards, schema, learned

    def process(self, found: Analysis | FlywheelError) -> Iterator[Shard | FlywheelError]:
        """Yield all shards; or what is wrong with their rows."""
        if isinstance(found, FlywheelError):
            yield found
            return
        try:
            text = found.finish(self._schema).to_text()
        except FlywheelError as error:
            yield error
            return
        with FileSystems.create(self._learned, compression_type="uncompressed") as file:
            file.write(text.encode())
        yield from self._shards


class ApplyShard(beam.DoFn):  # type: ignore[misc]
    """Writes a shard as the model sees it."""

    def __init__(self, learned: str, target: str, added: Sequence[pa.Field], code: str) -> None:
        self._learned, self._target, self._added, self._code = learned, target, added, code
        self._state: State | None = None

    def process(self, shard: Shard | FlywheelError) -> Iterator[ShardResult | FlywheelError]:
        """Write the rows of `shard`; yield how many there were, or what is wrong with them."""
        if isinstance(shard, FlywheelError):
            yield shard
            return
        try:
            self._state = self._state or State.parse(_text(self._learned), local_copy(self._code))
            yield write_shard(shard, self._state, self._target, self._added)
        except FlywheelError as error:
            yield error


def _text(address: str) -> str:
    with FileSystems.open(address, compression_type="uncompressed") as file:
        return str(file.read().decode())


def local_copy(code: str) -> Path | None:
    """Return the archive at `code` as a file of this machine, fetched once a process."""
    if not code or "://" not in code:
        return Path(code) if code else None
    if code not in _FETCHED:
        import tempfile

        with FileSystems.open(code) as source, tempfile.NamedTemporaryFile(suffix=".zip", delete=False) as target:
            shutil.copyfileobj(source, target, 2**24)  # a model's can have gigabytes
        _FETCHED[code] = Path(target.name)
    return _FETCHED[code]


_FETCHED: dict[str, Path] = {}


def _say(found: Any, target: str) -> None:
    with FileSystems.create(FileSystems.join(target, f"{uuid.uuid4().hex}.pickle")) as file:
        file.write(pickle.dumps(found))


@contextmanager
def _progress(target: str, of: int) -> Iterator[None]:
    """Tell every few seconds how much of a pipeline's work is done, by what its workers have said."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_TOLD_EVERY):
            say(f"  {len(_files(target)):,} of {of:,} batches done")

    thread = threading.Thread(target=watch, daemon=True)
    if of:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if of:
            thread.join()


def _files(target: str) -> list[str]:
    return sorted(each.path for each in FileSystems.match([FileSystems.join(target, "*.pickle")])[0].metadata_list)


def _said(target: str) -> Iterator[Any]:
    for path in _files(target):
        with FileSystems.open(path) as file:
            yield pickle.loads(file.read())
