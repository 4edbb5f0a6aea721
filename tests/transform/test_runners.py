"""The transform on another Beam runner, by several processes: the same state and the same rows, bit for bit."""

import numpy as np
import pyarrow as pa
import pytest

from flywheel.artifacts import Examples
from flywheel.steps.transform import transform
from tests.transform.worlds import EVERY_KIND, WIDE, WINDOW, functions_in

pytestmark = pytest.mark.slow
SPANS = [f"2013-05-0{day}" for day in range(1, 5)]


@pytest.fixture(scope="module")
def cluster():
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Four spans of every type of column, two shards each, some rows of which cannot be transformed."""
    folder = tmp_path_factory.mktemp("examples") / "examples"
    random = np.random.default_rng(0)
    with Examples.writer(folder, WIDE, producer="extract") as writer:
        for span in SPANS:
            for part in range(2):
                rows = WINDOW.take(pa.array(random.integers(0, WINDOW.num_rows, 300)))
                broken = rows.schema.get_field_index("vector")
                vectors = rows.column(broken).to_pylist()
                vectors[7] = [1.0]
                columns = [*rows.columns]
                columns[broken] = pa.array(vectors, WIDE.field("vector").type)
                writer.write(span, [pa.RecordBatch.from_arrays(columns, schema=WIDE)], part)
    return Examples.open(folder)


def test_two_processes_of_dask_give_the_state_and_the_rows_of_this_one(cluster, examples, tmp_path):
    code = functions_in(tmp_path / "project")
    beam = [
        "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
        f"--dask_client_address={cluster.scheduler_address}",
        "--dask_npartitions=4",
    ]
    here = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s1", tmp_path / "r1", code)
    there = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s2", tmp_path / "r2", code, {"beam": beam})

    assert [each.digest for each in there] == [each.digest for each in here]
    assert there[1].manifest.counts == {"rows": 2392, "dead_letters": 8}
    assert [shard.name for _, shard in there[1].shards(SPANS[:1])] == ["part-00000.parquet", "part-00001.parquet"]


def test_with_a_temporary_location_workers_need_nothing_else_of_this_machine(examples, tmp_path):
    code = functions_in(tmp_path / "project")
    beam = [f"--temp_location={tmp_path / 'shared'}"]
    here = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s1", tmp_path / "r1", code)
    there = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s2", tmp_path / "r2", code, {"beam": beam})

    assert [each.digest for each in there] == [each.digest for each in here]
    assert list((tmp_path / "shared").iterdir()) == []


def test_several_workers_of_beams_own_runner_give_the_state_and_the_rows_of_one(examples, tmp_path):
    code = functions_in(tmp_path / "project")
    beam = ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    here = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s1", tmp_path / "r1", code)
    there = transform(examples, EVERY_KIND, "label", SPANS, tmp_path / "s2", tmp_path / "r2", code, {"beam": beam})

    assert [each.digest for each in there] == [each.digest for each in here]
