import json
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.artifacts import MANIFEST, Check, Examples, Statistics, TransformState, Verdict
from flywheel.artifacts.examples import gathered, joined
from flywheel.errors import ArtifactError, DataError

SCHEMA = pa.schema([("distance", pa.int64()), ("carrier", pa.string())])


def batch(*distances):
    return pa.record_batch([pa.array(distances, pa.int64()), pa.array(["AA"] * len(distances))], schema=SCHEMA)


@pytest.fixture
def examples(tmp_path):
    with Examples.writer(tmp_path / "examples", SCHEMA, producer="extract") as writer:
        writer.write("2013-06-01", [batch(1, 2)], part=0)
        writer.write("2013-06-01", [batch(3)], part=1)
        writer.write("2013-06-02", [])
        writer.write("2013-06-03", [batch(4)])
    return Examples.open(tmp_path / "examples")


def test_rows_come_back_by_span_as_they_were_written(examples):
    assert examples.spans == ("2013-06-01", "2013-06-02", "2013-06-03")
    assert [(span, rows.num_rows) for span, rows in examples.batches()] == [
        ("2013-06-01", 2),
        ("2013-06-01", 1),
        ("2013-06-03", 1),
    ]
    assert examples.table(["2013-06-01"], ["distance"]).to_pydict() == {"distance": [1, 2, 3]}
    assert examples.schema == SCHEMA


@pytest.mark.parametrize(("kind", "most"), [(pa.string(), 64 * 1024), (pa.binary(), 2 * 1024)])
def test_small_batches_are_gathered_up_to_what_fits_in_memory_and_bytes_may_be_large(kind, most):
    batches = [
        (f"span {number}", pa.record_batch([pa.array(["x"] * rows, kind), pa.array([number] * rows)], ["x", "of"]))
        for number, rows in enumerate([900, 0, 900, 900, 60_000, 900, 3000, 1])
    ]

    parts = list(gathered(batches))

    assert [part for each in parts for part in each] == [each for each in batches if each[1].num_rows]
    sizes = [[batch.num_rows for _, batch in each] for each in parts]
    assert all(len(each) == 1 or sum(each) <= most for each in sizes)
    assert all(sum(one) + other[0] > most for one, other in pairwise(sizes))
    for each in parts:
        rows = [row for _, batch in each for row in batch.column(1).to_pylist()]
        assert joined([batch for _, batch in each]).column(1).to_pylist() == rows


def test_a_span_without_rows_is_known_and_empty(examples):
    assert (examples.rows, examples.rows_of(["2013-06-02"])) == (4, 0)
    assert examples.table(["2013-06-02"]).num_rows == 0


def test_a_span_that_was_not_extracted_is_an_error(examples):
    with pytest.raises(DataError, match="only 2013-06-01, 2013-06-02, 2013-06-03"):
        examples.shards(["2013-07-01"])


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), min_size=1, max_size=4))
def test_no_row_is_lost_or_made(tmp_path_factory, spans):
    folder = tmp_path_factory.mktemp("examples") / "e"
    with Examples.writer(folder, SCHEMA, producer="test") as writer:
        for day, distances in enumerate(spans):
            writer.write(f"2013-06-{day:02}", [batch(*distances)])

    assert Examples.open(folder).table().column("distance").to_pylist() == [row for rows in spans for row in rows]


def test_equal_content_has_an_equal_digest_wherever_it_stands(tmp_path):
    def write(name, text):
        with TransformState.create(tmp_path / name, producer="test") as draft:
            (draft.path / "schema.pbtxt").write_text(text)
        return TransformState.open(tmp_path / name).digest

    assert write("a", "x") == write("b", "x") != write("c", "y")


def test_a_folder_of_another_type_is_refused(examples):
    with pytest.raises(ArtifactError, match=r"holds 'examples', not 'statistics'"):
        Statistics.open(examples.path)


def test_a_folder_that_no_step_wrote_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="give the folder that a step wrote"):
        Examples.open(tmp_path)


def test_a_manifest_of_another_format_version_is_refused(examples):
    file = examples.path / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 99}))
    with pytest.raises(ArtifactError, match="version 99"):
        Examples.open(examples.path)


@pytest.mark.parametrize(("damage", "message"), [(b"", "has 0 bytes"), (None, "is missing"), (b"y", "its digest")])
def test_damage_is_found_when_it_is_opened(tmp_path, damage, message):
    with TransformState.create(tmp_path / "s", producer="test") as draft:
        (draft.path / "schema.pbtxt").write_text("x")
    file = tmp_path / "s" / "schema.pbtxt"
    file.unlink() if damage is None else file.write_bytes(damage)

    with pytest.raises(ArtifactError, match=message):
        TransformState.open(tmp_path / "s")


def test_a_damaged_shard_is_found_when_it_is_read(examples):
    shard = examples.path / "span=2013-06-03" / "part-00000.parquet"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)

    with pytest.raises(ArtifactError, match="run the step that made it again"):
        list(Examples.open(examples.path).batches(["2013-06-03"]))


def test_a_step_that_fails_leaves_nothing_and_keeps_what_was_there(tmp_path, examples):
    def write_and_fail():
        with Examples.writer(examples.path, SCHEMA, producer="extract") as writer:
            writer.write("2013-06-01", [batch(9)])
            raise RuntimeError("killed in the middle")

    with pytest.raises(RuntimeError, match="killed"):
        write_and_fail()

    assert Examples.open(examples.path).rows == 4
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


def test_writing_again_replaces_what_was_there(tmp_path, examples):
    with Examples.writer(examples.path, SCHEMA, producer="extract") as writer:
        writer.write("2013-06-01", [batch(9)])

    assert Examples.open(examples.path).rows == 1
    assert [path.name for path in tmp_path.iterdir()] == ["examples"]


def test_a_verdict_survives_json():
    verdict = Verdict("model", (Check("auc", "fail", 0.5, 0.6, interval=(0.4, 0.6), reason="too low"),), {"auc": 0.5})

    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_undecided_is_not_passed_and_a_warning_is():
    assert not Verdict("model", (Check("a", "undecided", reason="too little"),)).ok
    assert Verdict("model", (Check("a", "warn", reason="odd"),)).ok
    assert Verdict("model", (Check("a", "fail", reason="bad"), Check("b", "fail"))).why == "bad (and 1 more)"
