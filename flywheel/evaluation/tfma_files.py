"""TFMA's own files, from either engine: `tfma.load_eval_result(folder)` opens both, and they hold equal numbers.

TFMA is imported here, so only what needs its files imports this module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis import version
from tensorflow_model_analysis.metrics.metric_types import MetricKey
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as tfma_writer

from flywheel.evaluation import metrics
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions, groupings

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

SliceKey = tuple[tuple[str, Any], ...]
Result = dict[str, dict[SliceKey, dict[str, float]]]
"""Model, slice, metric: the figure."""


def eval_config(models: Sequence[str], slices: Sequence[str]) -> config_pb2.EvalConfig:
    """Return what is measured, in TFMA's words: our metrics by our names, the champion as baseline."""
    names = _names(models)
    config = config_pb2.EvalConfig()
    for model, name in names.items():
        baseline = True if model == CHAMPION else None
        config.model_specs.add(name=name, prediction_key=model, label_key="label", is_baseline=baseline)
    spec = config.metrics_specs.add(model_names=list(names.values()))
    for name, metric in metrics.METRICS.items():
        spec.metrics.add(class_name=metric.tfma, config=json.dumps({"name": name}))
    config.slicing_specs.add()
    for column in slices:
        config.slicing_specs.add(feature_keys=[column])
    return config


def measure(found: Predictions) -> Result:
    """Return every metric of every model, overall (the slice `()`) and by slice, computed in this process."""
    result: Result = {}
    for model, scores in found.scores.items():
        result[model] = {}
        for column, groups in groupings(found):
            for key, values in metrics.table(metrics.by_group(found.labels, scores, groups), groups.keys).items():
                result[model][((column, key),) if column else ()] = values
    return result


def write(result: Result, slices: Sequence[str], folder: Path, source: str) -> None:
    """Write what `measure` found as TFMA would.

    Args:
        result: Metrics by model and slice.
        slices: Columns that were sliced by.
        folder: Where to.
        source: Name of the predictions, for TFMA's readers to show.
    """
    models = list(result)
    names = _names(models)
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for key in result[CANDIDATE]:
            values = {MetricKey(n, names[m]): v for m in models for n, v in result[m][key].items()}
            if CHAMPION in models:
                for name, value in result[CANDIDATE][key].items():
                    values[MetricKey(name, CANDIDATE, is_diff=True)] = value - result[CHAMPION][key][name]
            writer.write(tfma_writer.convert_slice_metrics_to_proto((key, values), None).SerializeToString())
    run = config_pb2.EvalRun(
        eval_config=eval_config(models, slices),
        version=version.VERSION,
        data_location=source,
        file_format="parquet",
        model_locations={name: name or CANDIDATE for name in names.values()},
    )
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run))


def measure_on_beam(
    predictions: Path,
    models: Sequence[str],
    slices: Sequence[str],
    folder: Path,
    options: PipelineOptions | None = None,
) -> Result:
    """Let TFMA measure the predictions in a Beam pipeline and write its files; return what it found.

    Args:
        predictions: Parquet file, read row group by row group.
        models: Columns that hold predictions.
        slices: Columns to slice by.
        folder: Where to.
        options: Of the pipeline, to choose a runner; the direct runner by default.
    """
    import apache_beam as beam
    from tensorflow_model_analysis.api import model_eval_lib

    with beam.Pipeline(options=options) as pipeline:
        batches = (
            pipeline
            | "Read" >> beam.io.ReadFromParquetBatched(str(predictions))
            | "Canonicalize" >> beam.FlatMap(_canonical)
        )
        _ = batches | "Evaluate" >> model_eval_lib.ExtractEvaluateAndWriteResults(
            eval_config=eval_config(models, slices),
            output_path=str(folder),
            display_only_data_location=predictions.name,
            display_only_file_format="parquet",
        )
    return read(folder, models)


def read(folder: Path, models: Sequence[str]) -> Result:
    """Return the metrics in TFMA's files in `folder`."""
    from tensorflow_model_analysis.slicer import slicer_lib

    result: Result = {model: {} for model in models}
    for record in tfma_writer.load_and_deserialize_metrics(str(folder)):
        key = slicer_lib.deserialize_slice_key(record.slice_key)
        for pair in record.metric_keys_and_values:
            if not pair.key.is_diff:
                model = pair.key.model_name or CANDIDATE
                result[model].setdefault(tuple(key), {})[pair.key.name] = pair.value.double_value.value
    return result


def _names(models: Sequence[str]) -> dict[str, str]:
    """Return what TFMA calls each model: one that is alone has no name, whatever its configuration says."""
    return {model: model if len(models) > 1 else "" for model in models}


def _canonical(table: Any) -> Iterator[Any]:
    """Yield the rows of an Arrow table as TFMA wants them: every value a list, missing values empty."""
    from tfx_bsl.arrow import table_util

    for batch in table.combine_chunks().to_batches():
        yield table_util.CanonicalizeRecordBatch(batch)
