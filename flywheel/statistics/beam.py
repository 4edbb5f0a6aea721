"""Statistics by a Beam pipeline, on whatever runner its options name: workers get paths, read rows and count them.

TFDV's own transform ends in statistics, which cannot be merged. This one runs the same generators and ends in what
they counted, span by span, so that any spans together need no second pass; both engines share that code.
"""

from __future__ import annotations

import pickle
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from flywheel.errors import FlywheelError
from flywheel.statistics.local import count
from flywheel.statistics.options import Options
from flywheel.statistics.partial import Partial, merged
from flywheel.statistics.units import Unit

# By this name, not as DirectRunner: that one first tries Prism, a Go binary that it would have to download.
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
WRONG, COUNTS = "wrong", "counts"
_MOUNTED = {"/gcs/": "gs://", "/s3/": "s3://"}
"""Where Kubeflow Pipelines shows a bucket as a folder, and how workers on other machines reach it."""


def count_by_beam(units: list[Unit], options: Options, scratch: Path | None = None) -> dict[str, Partial]:
    """Return what each span holds.

    Args:
        units: What to read; the files must be there for the workers, under the same path or in a mounted bucket.
        options: `options.beam` are the pipeline's; without a runner among them it runs in this process.
        scratch: Folder for the results that workers and this process both see; `--temp_location` goes before.

    Raises:
        DataError: The rows do not have what the options ask for.
    """
    flags = PipelineOptions(flags=list(options.beam))  # not this process's own command line
    runner = None if options.distributed else RUNNER
    with ExitStack() as stack:
        shared = flags.view_as(GoogleCloudOptions).temp_location or scratch
        folder = str(shared or stack.enter_context(tempfile.TemporaryDirectory(prefix="statistics-")))
        target = FileSystems.join(folder, f"statistics-{uuid.uuid4().hex}")
        FileSystems.mkdirs(target)
        try:
            with beam.Pipeline(runner=runner, options=flags) as pipeline:
                counted = (
                    pipeline
                    | "Units" >> beam.Create(units)
                    | "Spread" >> beam.Reshuffle()
                    | "Count" >> beam.ParDo(CountUnit(options)).with_outputs(WRONG, main=COUNTS)
                )
                counted[WRONG] | "Say" >> beam.Map(_keep, target)
                counted[COUNTS] | "Merge" >> beam.CombinePerKey(Merge(options)) | "Keep" >> beam.Map(_keep, target)
            found = list(_kept(target))
        finally:
            FileSystems.delete([target])
    for each in found:
        if isinstance(each, FlywheelError):
            raise each
    return dict(found)


class CountUnit(beam.DoFn):  # type: ignore[misc]
    """What a unit of rows holds, by span."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def process(self, unit: Unit) -> Iterator[Any]:
        """Yield (span, counts) of `unit`; or as WRONG, what is wrong with its rows, for people to read."""
        try:
            yield unit.span, count(unit, self._options, lambda path: FileSystems.open(_reached(path)))
        except FlywheelError as error:
            yield beam.pvalue.TaggedOutput(WRONG, error)


class Merge(beam.CombineFn):  # type: ignore[misc]
    """Counts of parts as counts of the whole."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def create_accumulator(self) -> Partial:
        """Return counts of no rows."""
        return Partial(self._options)

    def add_input(self, accumulator: Partial, part: Partial) -> Partial:
        """Take what was counted in a part."""
        accumulator.merge(part)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Partial]) -> Partial:
        """Return the counts of all of them."""
        return merged(accumulators, self._options)

    def extract_output(self, accumulator: Partial) -> Partial:
        """Return the counts as they are: whoever asked makes statistics of them."""
        return accumulator


def _reached(path: str) -> str:
    """Return the address of a file for workers that do not have this machine's mounts."""
    for folder, bucket in _MOUNTED.items():
        if path.startswith(folder):
            return bucket + path.removeprefix(folder)
    return path


def _keep(found: tuple[str, Partial] | FlywheelError, target: str) -> None:
    with FileSystems.create(FileSystems.join(target, f"{uuid.uuid4().hex}.pickle")) as file:
        file.write(pickle.dumps(found))


def _kept(target: str) -> Iterator[Any]:
    files = sorted(each.path for each in FileSystems.match([FileSystems.join(target, "*.pickle")])[0].metadata_list)
    for path in files:
        with FileSystems.open(path) as file:
            yield pickle.loads(file.read())
