"""The transform as Beam pipelines: workers get paths and specifications, read shards themselves, and write shards."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from flywheel.artifacts import ADDED, Draft, Examples, ExamplesWriter
from flywheel.transform.analysis import Analysis
from flywheel.transform.state import State

if TYPE_CHECKING:
    import pyarrow as pa

# By this name, not as DirectRunner: that one first tries Prism, a Go binary that it would have to download.
RUNNER = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def analyse(
    examples: Path, spans: list[str], features: list[dict[str, Any]], label: str, scratch: Path, task: str = "binary"
) -> Analysis:
    """Return what the rows of `spans` hold, gathered by one Beam pipeline.

    Args:
        examples: Folder of the raw rows.
        spans: Spans to read; each is one unit of work.
        features: As `features` in flywheel.yaml.
        label: Column to predict.
        scratch: Folder that the pipeline and this process both see; the result passes through it.
        task: `binary`, `multiclass` or `regression`.
    """
    result = scratch / "analysis.pickle"
    columns = list(dict.fromkeys([*(spec["column"] for spec in features), label]))
    with _pipeline() as pipeline:
        (
            pipeline
            | "Spans" >> beam.Create(spans)
            | "Read" >> beam.ParDo(ReadSpan(str(examples), columns))
            | "Analyse" >> beam.CombineGlobally(Analyse(features, label, task))
            | "Keep" >> beam.Map(_keep, str(result))
        )
    found: Analysis = pickle.loads(result.read_bytes())
    return found


def apply(examples: Path, spans: list[str], state: Path, target: Path) -> None:
    """Write the rows of `spans` to `target` as the model sees them, a shard a span, by one Beam pipeline.

    Args:
        examples: Folder of the raw rows.
        spans: Spans to read; each is one unit of work.
        state: File with what was learned.
        target: Folder of a draft of Examples.
    """
    with _pipeline() as pipeline:
        (
            pipeline
            | "Spans" >> beam.Create(spans)
            | "Apply" >> beam.ParDo(ApplySpan(str(examples), str(state), str(target)))
        )


class ReadSpan(beam.DoFn):  # type: ignore[misc]
    """The record batches of a span."""

    def __init__(self, examples: str, columns: list[str]) -> None:
        self._path, self._columns = examples, columns

    def setup(self) -> None:
        """Open the examples, once a worker."""
        self._examples = Examples.open(self._path)

    def process(self, span: str) -> Iterator[pa.RecordBatch]:
        """Yield the batches of `span`."""
        for _, batch in self._examples.batches([span], self._columns):
            yield batch


class Analyse(beam.CombineFn):  # type: ignore[misc]
    """An Analysis of all record batches."""

    def __init__(self, features: list[dict[str, Any]], label: str, task: str) -> None:
        self._features, self._label, self._task = features, label, task

    def create_accumulator(self) -> Analysis:
        """Return an analysis of no rows."""
        return Analysis(self._features, self._label, self._task)

    def add_input(self, accumulator: Analysis, batch: pa.RecordBatch) -> Analysis:
        """Take the rows of a batch."""
        accumulator.add(batch)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Analysis]) -> Analysis:
        """Return one analysis of all rows."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Analysis) -> Analysis:
        """Return the analysis as it is; whoever asked for it finishes it, and says what is wrong with the data."""
        return accumulator


class ApplySpan(beam.DoFn):  # type: ignore[misc]
    """Writes a span as the model sees it."""

    def __init__(self, examples: str, state: str, target: str) -> None:
        self._path, self._file, self._target = examples, state, target

    def setup(self) -> None:
        """Open examples and state, once a worker."""
        self._examples, self._state = Examples.open(self._path), State.read(Path(self._file))

    def process(self, span: str) -> Iterator[int]:
        """Write the shard of `span`; yield how many rows it has."""
        schema = written(self._state, self._examples)
        kept = [name for name in schema.names if name in ADDED]
        raw = self._examples.batches([span], [*dict.fromkeys([*self._state.columns, self._state.label]), *kept])
        batches = (transformed(batch, self._state, schema) for _, batch in raw)
        yield ExamplesWriter(Draft(Path(self._target), [span]), schema).write(span, batches)


def written(state: State, examples: Examples) -> pa.Schema:
    """Return the columns of transformed rows: inputs, label, and what `examples` say of how each row is used."""
    import pyarrow as pa

    return pa.schema([*state.schema, *(field for field in examples.schema if field.name in ADDED)])


def transformed(batch: pa.RecordBatch, state: State, schema: pa.Schema) -> pa.RecordBatch:
    """Return raw rows as the model sees them; after its inputs the label, and what else `schema` names, as it is."""
    import pyarrow as pa

    inputs = [pa.array(values) for values in state.apply_batch(batch).values()]
    label = state.target.encode(batch.column(batch.schema.get_field_index(state.label)))
    rest = [batch.column(batch.schema.get_field_index(name)) for name in schema.names[len(inputs) + 1 :]]
    return pa.RecordBatch.from_arrays([*inputs, label, *rest], schema=schema)


def _pipeline() -> beam.Pipeline:
    # No flags, or Beam would read this process's own command line.
    return beam.Pipeline(runner=RUNNER, options=PipelineOptions(flags=[]))


def _keep(analysis: Analysis, file: str) -> None:
    Path(file).write_bytes(pickle.dumps(analysis))
