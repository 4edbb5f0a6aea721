import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from flywheel.artifacts import Examples
from flywheel.errors import ArtifactError, DataError
from flywheel.statistics import Options, features, gather, infer_schema, summarize, summarize_spans, workers
from flywheel.statistics.beam import RUNNER
from flywheel.statistics.columns import canonical
from flywheel.statistics.units import units
from tests.statistics import worlds
from tests.statistics.compare import assert_same

ENGINES = ("local", "beam")
SCALARS = ["weight", "origin", "bool", "int64", "float32", "text", "bytes", "decimal", "timestamp"]
KINDS = {"plain": {}, "weighted": {"weight": "weight"}, "sliced": {"slices": ("origin", "bool")}}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    found = worlds.examples(tmp_path_factory.mktemp("worlds") / "examples")
    assert len(found.shards()) > len(worlds.SPANS)
    return found


def by_tfdv(batches, options, file):
    """Return what TFDV's own transform says, run by Beam."""
    slicing = tfdv.experimental_get_feature_value_slicer
    stated = tfdv.StatsOptions(
        weight_feature=options.weight,
        experimental_slice_functions=[slicing({column: None}) for column in options.slices] or None,
        use_sketch_based_topk_uniques=True,
    )
    with np.errstate(all="ignore"), beam.Pipeline(runner=RUNNER) as pipeline:
        rows = pipeline | beam.Create([canonical(batch) for batch in batches])
        rows | tfdv.GenerateStatistics(stated) | tfdv.WriteStatisticsToBinaryFile(str(file))
    return tfdv.load_stats_binary(str(file))


@pytest.mark.parametrize("kind", KINDS)
def test_both_engines_say_the_same_of_every_kind_of_column(examples, kind):
    ours = {engine: gather(examples, examples.spans, Options(engine, **KINDS[kind])) for engine in ENGINES}

    for chosen in ([worlds.SPANS[0]], worlds.SPANS[:2], worlds.SPANS):
        assert_same(*(found.of(chosen, "window") for found in ours.values()))


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_the_transform_that_tfdv_has(examples, kind, tmp_path):
    options = Options(**KINDS[kind])
    if kind == "sliced":  # TFDV's slicer crashes where a column is null in a whole batch
        tables = {span: examples.table([span], SCALARS) for span in examples.spans}
        examples = worlds.examples(tmp_path / "scalars", tables)
    expected = by_tfdv([batch for _, batch in examples.batches()], options, tmp_path / "all.pb")
    found = gather(examples, examples.spans, options).of(examples.spans)
    expected.datasets.sort(key=lambda each: (each.name != "All Examples", each.name))

    assert len(found.datasets) == (1 if kind != "sliced" else len(expected.datasets))
    assert_same(found, expected)


def test_together_is_what_reading_all_rows_at_once_gives(examples):
    found = gather(examples, examples.spans)

    assert_same(found.of(examples.spans, "all"), summarize((batch for _, batch in examples.batches()), "all"))
    assert found.rows(examples.spans) == examples.rows


def test_asking_for_some_spans_together_changes_no_other_answer(examples):
    found = gather(examples, examples.spans)
    alone = found.of(worlds.SPANS[:1])
    first = found.of(examples.spans, "all")

    assert found.of(worlds.SPANS[:1]).SerializeToString() == alone.SerializeToString()
    assert found.of(examples.spans, "all").SerializeToString() == first.SerializeToString()
    assert alone.datasets[0].name == worlds.SPANS[0]


def test_each_span_has_its_own(examples):
    found = summarize_spans(examples, worlds.SPANS[:2])

    assert list(found) == list(worlds.SPANS[:2])
    for span, statistics in found.items():
        assert_same(statistics, summarize((batch for _, batch in examples.batches([span])), span))


def test_a_span_without_rows_is_passed_over(tmp_path):
    tables = {"2024-03-01": worlds.table(), "2024-03-02": worlds.table(rows=0)}
    given = worlds.examples(tmp_path / "examples", tables)

    assert list(summarize_spans(given, given.spans)) == ["2024-03-01"]
    assert gather(given, given.spans).of(given.spans, "all").datasets[0].num_examples == worlds.ROWS
    with pytest.raises(DataError, match="2024-03-02 has no rows"):
        gather(given, given.spans).of(["2024-03-02"])


def test_the_files_are_those_that_tfdv_reads(examples, tmp_path):
    options = Options(slices=("origin",))
    (tmp_path / "all.pb").write_bytes(gather(examples, examples.spans, options).of(examples.spans).SerializeToString())
    found = tfdv.load_stats_binary(str(tmp_path / "all.pb"))

    assert [each.name for each in found.datasets] == ["All Examples", "origin_EWR", "origin_JFK", "origin_LGA"]
    assert tfdv.get_slice_stats(found, "origin_JFK").datasets[0].num_examples < examples.rows
    assert not tfdv.validate_statistics(found, tfdv.infer_schema(found)).anomaly_info


def test_spans_that_are_counted_when_they_are_asked_for_hold_the_same(examples):
    first, *others = examples.spans
    at_once, late = gather(examples, examples.spans), gather(examples, examples.spans, late=True)

    assert late.rows(examples.spans) == at_once.rows(examples.spans) == examples.rows
    for spans in ([first], [first], examples.spans, others):  # what was counted is not counted again with the others
        one, other = late.of(spans).datasets[0], at_once.of(spans).datasets[0]
        assert one.num_examples == other.num_examples == examples.rows_of(spans)
        for mine, theirs in zip(one.features, other.features, strict=True):
            assert mine.path == theirs.path
            assert mine.num_stats.mean == pytest.approx(theirs.num_stats.mean, rel=1e-9, nan_ok=True)
            assert mine.string_stats.unique == theirs.string_stats.unique
    assert late.rows(examples.spans) == examples.rows


def test_any_number_of_processes_gives_the_same_to_the_last_digit(examples, monkeypatch):
    one = gather(examples, examples.spans).of(examples.spans, "all").SerializeToString()
    forked = []
    fork = workers.os.fork
    monkeypatch.setattr(workers, "WORTH_A_FORK", 1)
    monkeypatch.setattr(workers, "cores", lambda: 3)
    monkeypatch.setattr(workers, "_may_fork", lambda: True)  # the threads of pytest's own plug-ins hold nothing of ours
    monkeypatch.setattr(workers.os, "fork", lambda: forked.append(fork()) or forked[-1])

    assert gather(examples, examples.spans).of(examples.spans, "all").SerializeToString() == one
    assert len(forked) == 3


@pytest.mark.parametrize("engine", ENGINES)
def test_a_weight_that_is_missing_is_said_with_the_number_of_rows(tmp_path, engine):
    rows = worlds.table().set_column(0, "weight", worlds.table().column("int8"))
    given = worlds.examples(tmp_path / "examples", {"2024-03-01": rows})
    column = given.table().column("weight")

    with pytest.raises(DataError, match="rows have no single weight 'weight'") as error:
        gather(given, given.spans, Options(engine, weight="weight"))
    assert "COALESCE(weight, 1)" in error.value.remedy
    assert column.null_count


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("options", "key"), [({"weight": "wieght"}, "weight"), ({"slices": ("orgin",)}, "slices")])
def test_a_column_that_is_not_there_is_named_with_the_setting(examples, engine, options, key):
    with pytest.raises(DataError, match=f"statistics.{key} names the column '(wieght|orgin)', which the rows do not"):
        gather(examples, examples.spans, Options(engine, **options))


def test_a_weight_that_is_no_number_is_refused(examples):
    with pytest.raises(DataError, match="the weight 'text' is no number"):
        gather(examples, examples.spans, Options(weight="text"))


def test_too_many_slices_are_refused_before_they_cost_hours(examples, monkeypatch):
    monkeypatch.setattr("flywheel.statistics.partial.MOST_SLICES", 10)

    with pytest.raises(DataError, match=r"more than 10 slices .*large_text_name"):
        gather(examples, examples.spans, Options(slices=("large_text",)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("at", [0.5, 1.0])
def test_a_shard_that_changed_is_refused(tmp_path, engine, at):
    given = worlds.examples(tmp_path / "examples")
    _, shard = given.shards()[0]
    content = bytearray(shard.read_bytes())
    content[int(at * (len(content) - 1))] ^= 1
    shard.write_bytes(content)

    with pytest.raises(ArtifactError, match="does not match its digest"):
        gather(Examples.open(given.path), given.spans, Options(engine))


def test_units_hold_all_row_groups_once(examples):
    found = units(examples, examples.spans)

    assert sum(unit.rows for unit in found) == examples.rows
    assert [unit.span for unit in found] == sorted(unit.span for unit in found)


@pytest.mark.parametrize(
    ("engine", "flags", "values", "beam"),
    [
        ("auto", (), 10**12, False),
        ("auto", ("--runner=DataflowRunner",), 10**6, False),
        ("auto", ("--runner=DataflowRunner",), 10**12, True),
        ("auto", ("--temp_location=gs://b",), 10**12, False),
        ("local", ("--runner=DataflowRunner",), 10**12, False),
        ("beam", (), 1, True),
    ],
)
def test_beam_counts_what_is_large_when_it_has_a_runner(engine, flags, values, beam):
    assert Options.of({"engine": engine, "beam": list(flags)}).by_beam(values) is beam


@pytest.mark.parametrize("engine", ENGINES)
def test_sparse_and_weighted_features_of_the_schema_are_counted(tmp_path, engine):
    schema = text_format.Parse(
        'feature { name: "value" type: FLOAT } feature { name: "index" type: INT }'
        'sparse_feature { name: "pairs" index_feature { name: "index" } value_feature { name: "value" } }'
        'weighted_feature { name: "heavy" feature { step: "index" } weight_feature { step: "value" } }',
        schema_pb2.Schema(),
    )
    whole, broken = [[1.0, 2.0], [3.0]], [[1.0, 2.0], []]
    tables = {
        span: pa.table({"value": pa.array(values), "index": pa.array([[4, 5], [6]])})
        for span, values in (("2024-03-01", whole), ("2024-03-02", broken))
    }
    given = worlds.examples(tmp_path / "examples", tables)
    found = gather(given, given.spans, Options.of({"engine": engine}, schema))

    assert not tfdv.validate_statistics(found.of(["2024-03-01"]), schema).anomaly_info
    assert set(tfdv.validate_statistics(found.of(given.spans), schema).anomaly_info) == {"pairs", "heavy"}
    assert [each.path.step[0] for each in features(found.of(given.spans))] == ["value", "index"]
    assert [each.name for each in infer_schema(found.of(given.spans)).feature] == ["value", "index"]
