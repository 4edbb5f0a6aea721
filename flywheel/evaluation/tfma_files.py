"""TFMA's own files, from either engine: `tfma.load_eval_result(folder)` opens both, and they hold equal numbers.

TFMA is imported here, so only what needs its files imports this module.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_model_analysis import version
from tensorflow_model_analysis.metrics.metric_types import AggregationType, MetricKey, SubKey
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as tfma_writer

from flywheel.config.metrics import MACRO
from flywheel.evaluation import metrics, multilabel
from flywheel.evaluation.metric import Metric
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, WEIGHT, Predictions, groupings
from flywheel.labels import MULTILABEL
from flywheel.transform.tensors import plain

SliceKey = tuple[tuple[str, Any], ...]
_KNOWN = "known"
Result = dict[str, dict[SliceKey, dict[str, float]]]
"""Model, slice, metric: the figure."""


def eval_config(found: Predictions, slices: Sequence[str], listed: str = "") -> config_pb2.EvalConfig:
    """Return what is measured, in TFMA's words: our metrics by our names, the champion as baseline.

    Metrics that TFMA lacks are left out; they stand in the files of the engine in this process all the same. `listed`
    is the column that says which list a row is ranked in.
    """
    names = _names(found.models)
    config = config_pb2.EvalConfig()
    outputs = (*found.classes, multilabel.ALL) if found.task == MULTILABEL else ()
    for model, name in names.items():
        baseline = True if model == CHAMPION else None
        spec = config.model_specs.add(name=name, is_baseline=baseline)
        if not outputs:
            spec.prediction_key, spec.label_key = model, "label"
            spec.example_weight_key = WEIGHT if found.weights is not None else ""
        for output in outputs:
            spec.prediction_keys[output], spec.label_keys[output] = f"{model} {output}", f"label {output}"
            spec.example_weight_keys[output] = f"{_KNOWN} {output}"
    if outputs:
        _of_outputs(config, found)
        return _sliced(config, slices)
    whole = config.metrics_specs.add(model_names=list(names.values()))
    by_class = config_pb2.MetricsSpec(model_names=list(names.values()))
    by_class.binarize.class_ids.values.extend(range(len(found.classes)))
    by_class.aggregate.macro_average = True
    by_list = config_pb2.MetricsSpec(model_names=list(names.values()), query_key=listed)
    for index in range(len(found.classes)):
        by_class.aggregate.class_weights[index] = 1.0
    for name, metric in metrics.of(found).items():
        if metric.tfma:
            spec = by_class if metric.tfma.by_class else by_list if metric.tfma.by_list else whole
            spec.metrics.add(class_name=metric.tfma.name, config=json.dumps({"name": name, **metric.tfma.config}))
    if by_class.metrics:
        config.metrics_specs.append(by_class)
    if by_list.metrics:
        config.metrics_specs.append(by_list)
    return _sliced(config, slices)


def _sliced(config: config_pb2.EvalConfig, slices: Sequence[str]) -> config_pb2.EvalConfig:
    config.slicing_specs.add()
    for column in slices:
        config.slicing_specs.add(feature_keys=[column])
    return config


def _of_outputs(config: config_pb2.EvalConfig, found: Predictions) -> None:
    """Say what is measured of a model with an output for each of several labels, and one for all of them."""
    specs: dict[tuple[str, ...], Any] = {}
    for name, metric in metrics.of(found).items():
        if not metric.tfma:
            continue
        outputs = metric.tfma.mean_of or ((metric.tfma.output,) if metric.tfma.output else ())
        if outputs not in specs:
            specs[outputs] = config.metrics_specs.add(model_names=list(_names(found.models).values()))
            specs[outputs].output_names.extend(outputs)
            if not outputs:
                specs[outputs].example_weights.unweighted = True
            for output in metric.tfma.mean_of:
                specs[outputs].output_weights[output] = 1.0
        specs[outputs].metrics.add(class_name=metric.tfma.name, config=json.dumps({"name": name, **metric.tfma.config}))


def measure(found: Predictions) -> Result:
    """Return every metric of every model, overall (the slice `()`) and by slice, computed in this process."""
    result: Result = {}
    for model in found.models:
        result[model] = {}
        for column, groups in groupings(found):
            for key, values in metrics.table(metrics.by_group(found, model, groups), groups.keys).items():
                result[model][((column, key),) if column else ()] = values
    return result


def write(
    found: Predictions, result: Result, slices: Sequence[str], folder: Path, source: str, listed: str = ""
) -> None:
    """Write what `measure` found as TFMA would.

    Args:
        found: What was measured.
        result: Metrics by model and slice.
        slices: Columns that were sliced by.
        folder: Where to.
        source: Name of the predictions, for TFMA's readers to show.
        listed: Column of the predictions that says which list a row is ranked in; empty for none.
    """
    models = list(result)
    names, known, weighted = _names(models), metrics.of(found), found.weights is not None
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for key in result[CANDIDATE]:
            values = {
                _key(n, known[n], names[m], weighted=weighted): v for m in models for n, v in result[m][key].items()
            }
            if CHAMPION in models:
                for name, other in itertools.product(result[CANDIDATE][key], set(models) - {CHAMPION}):
                    value = result[other][key][name] - result[CHAMPION][key][name]
                    values[_key(name, known[name], other, is_diff=True, weighted=weighted)] = value
            writer.write(tfma_writer.convert_slice_metrics_to_proto((key, values), None).SerializeToString())
    run = config_pb2.EvalRun(
        eval_config=eval_config(found, slices, listed),
        version=version.VERSION,
        data_location=source,
        file_format="parquet",
        model_locations={name: name or CANDIDATE for name in names.values()},
    )
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run))


def _key(name: str, metric: Metric, model: str, is_diff: bool = False, weighted: bool = False) -> MetricKey:
    """Return TFMA's key of a metric: of one class it has a sub-key, over classes it is an average."""
    told = metric.tfma.config if metric.tfma else {}
    sub_key = SubKey(class_id=told["class_id"], top_k=told["top_k"]) if "class_id" in told else None
    sub_key = SubKey(top_k=told["top_k_list"][0]) if "top_k_list" in told else sub_key
    average = AggregationType(macro_average=True) if metric.tfma and metric.tfma.by_class else None
    output = metric.tfma.output if metric.tfma else ""
    weighted |= bool(metric.tfma and (output or metric.tfma.mean_of))
    return MetricKey(
        name,
        model,
        output,
        sub_key=sub_key,
        aggregation_type=average,
        example_weighted=weighted or None,
        is_diff=is_diff,
    )


def measure_on_beam(predictions: Path, slices: Sequence[str], folder: Path, options: Sequence[str] = ()) -> Result:
    """Let TFMA measure the predictions in a Beam pipeline and write its files; return what it found.

    Args:
        predictions: Parquet file, read row group by row group.
        slices: Columns to slice by.
        folder: Where to.
        options: Beam's pipeline options, to choose a runner; the direct runner by default. With `--temp_location` among
            them workers need no file of this machine.
    """
    import apache_beam as beam
    from tensorflow_model_analysis.api import model_eval_lib

    from flywheel.transform import runners

    found = Predictions.described(predictions)
    labels = found.classes if found.task == MULTILABEL else ()
    with runners.job(options, folder, None) as job:
        source, target = (job.put(predictions), job.folder("tfma")) if job.remote else (str(predictions), str(folder))
        with job.pipeline() as pipeline:
            batches = (
                pipeline
                | "Read" >> beam.io.ReadFromParquetBatched(source)
                | "Canonicalize" >> beam.FlatMap(_canonical, labels, found.models)
            )
            _ = batches | "Evaluate" >> model_eval_lib.ExtractEvaluateAndWriteResults(
                eval_config=eval_config(found, slices, Predictions.listed(predictions)),
                output_path=target,
                display_only_data_location=predictions.name,
                display_only_file_format="parquet",
            )
        if job.remote:
            runners.fetch(target, runners.names_in(target), folder)
    return read(folder, found.models)


def read(folder: Path, models: Sequence[str]) -> Result:
    """Return the metrics in TFMA's files in `folder`."""
    from tensorflow_model_analysis.slicer import slicer_lib

    result: Result = {model: {} for model in models}
    for record in tfma_writer.load_and_deserialize_metrics(str(folder)):
        key = slicer_lib.deserialize_slice_key(record.slice_key)
        for pair in record.metric_keys_and_values:
            # What an average over classes is made of has a sub-key as well as the average's name
            part = pair.key.HasField("sub_key") and not pair.key.sub_key.HasField("top_k")
            # and what a mean over outputs is made of has the output's
            part |= bool(pair.key.output_name) and pair.key.name.startswith(MACRO)
            if not pair.key.is_diff and not part:
                model = pair.key.model_name or CANDIDATE
                result[model].setdefault(tuple(key), {})[pair.key.name] = pair.value.double_value.value
    return result


def _names(models: Sequence[str]) -> dict[str, str]:
    """Return what TFMA calls each model: one that is alone has no name, whatever its configuration says."""
    return {model: model if len(models) > 1 else "" for model in models}


def _canonical(table: Any, labels: Sequence[str] = (), models: Sequence[str] = ()) -> Iterator[Any]:
    """Yield the rows of an Arrow table as TFMA wants them: every value a list, missing values empty.

    Of several labels each becomes an output: label, prediction, and as its weight the row's, or 0 if it is not known.
    """
    from tfx_bsl.arrow import table_util

    for each in table.combine_chunks().to_batches():
        batch = _by_output(each, labels, models) if labels else each
        columns = [_listed(column) for column in batch.columns]
        yield table_util.CanonicalizeRecordBatch(pa.RecordBatch.from_arrays(columns, batch.schema.names))


def _by_output(batch: pa.RecordBatch, labels: Sequence[str], models: Sequence[str]) -> pa.RecordBatch:
    truth = plain(batch.column(batch.schema.get_field_index("label")))
    known = truth >= 0
    place = batch.schema.get_field_index(WEIGHT)
    weights = plain(batch.column(place)) if place >= 0 else np.ones(len(truth))
    parts = {"label": np.where(known, truth, 0), _KNOWN: known * weights[:, None]}
    for model in models:  # what is not known must not make a loss infinite either
        parts[model] = np.where(known, plain(batch.column(batch.schema.get_field_index(model))), 0.5)
    kept = [name for name in batch.schema.names if name not in parts]
    columns = {name: batch.column(batch.schema.get_field_index(name)) for name in kept}
    for name, values in parts.items():
        numbers = values.astype(np.float64)
        columns |= {f"{name} {label}": pa.array(numbers[:, index]) for index, label in enumerate(labels)}
        columns[f"{name} {multilabel.ALL}"] = pa.FixedSizeListArray.from_arrays(pa.array(numbers.ravel()), len(labels))
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def _listed(column: pa.Array) -> pa.Array:
    """Return lists of one length as the lists that TFMA knows."""
    if not pa.types.is_fixed_size_list(column.type):
        return column
    offsets = np.arange(len(column) + 1, dtype=np.int32) * column.type.list_size
    return pa.ListArray.from_arrays(pa.array(offsets), column.flatten())
