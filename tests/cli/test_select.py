"""`flywheel select` over a log of 200 requests, with two packaged versions to ask."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from flywheel.serving import pyfunc
from flywheel.steps.promote import promote
from flywheel.training.sklearn import matrix
from tests.cli.test_batch import NAME, champion, project  # noqa: F401 - fixtures
from tests.serving.targets.conftest import forest, packaged, state  # noqa: F401 - fixtures
from tests.training.worlds import batch_of

ROWS = 200


@pytest.fixture
def shop(project, champion, forest):  # noqa: F811
    """The folder of a flywheel whose champion has answered 200 requests of a day."""
    about = yaml.safe_load((project / "flywheel.yaml").read_text())
    about["deploy"] = {"target": "local", "log": {"sample": 1.0}}
    (project / "flywheel.yaml").write_text(yaml.safe_dump(about))
    rows = batch_of(ROWS, seed=7)
    logged = {
        "flywheel_request": pa.array([f"r{number}" for number in range(ROWS)]),
        "flywheel_row": pa.array(np.zeros(ROWS, np.int32)),
        "flywheel_time": pa.array(np.full(ROWS, np.datetime64("2013-06-02T12:00", "us"))).cast(
            pa.timestamp("us", "UTC")
        ),
        "flywheel_version": pa.array(["1"] * ROWS),
        **{name: rows.column(name) for name in ("size", "hour", "word")},
        "prediction": pa.array(pyfunc.load(forest.path).outputs(rows)),
    }
    folder = project / ".flywheel" / "requests" / NAME / "day=2013-06-02"
    folder.mkdir(parents=True)
    pq.write_table(pa.table(logged), folder / "part-0.parquet")
    return project


@pytest.fixture
def second(champion, state, tmp_path):  # noqa: F811
    """Another version, which became champion."""
    rows = batch_of(300, seed=3)
    model = LogisticRegression().fit(matrix(state.apply_batch(rows)), rows.column(3).to_numpy())
    model = packaged(model, "sklearn", state, tmp_path / "other")
    ledger = champion[2]
    promote(model, NAME, "2013-06-02", ledger, ledger.open(NAME, "2013-06-02", "job 2"))
    return model


@pytest.fixture
def chosen(command, shop, tmp_path):
    def select(*arguments):
        output = tmp_path / "to-label.csv"
        done = command("select", shop, "--budget", "20", "-o", output, *arguments)
        assert done.code == 0, done.err
        return done.out, pa.csv.read_csv(output)

    return select


def test_the_answers_in_the_log_are_enough_for_a_margin(chosen):
    out, rows = chosen()

    assert "20 of 200 rows to label" in out
    assert "16 by margin, 4 by lot" in out
    assert rows.column_names[:2] == ["flywheel_request", "flywheel_row"]
    assert rows["inclusion"].to_pylist() == pytest.approx([4 / ROWS] * 20)


def test_rows_on_which_champion_and_the_version_before_disagree_come_first(chosen, second, forest, shop):  # noqa: F811
    out, rows = chosen("--by", "disagreement")

    asked = batch_of(ROWS, seed=7)
    apart = np.abs(pyfunc.load(second.path).outputs(asked) - pyfunc.load(forest.path).outputs(asked))
    picked = [int(name[1:]) for name, why in zip(rows["flywheel_request"].to_pylist(), rows["why"].to_pylist(),
                                                strict=True) if why == "informative"]  # fmt: skip
    assert "16 by disagreement of versions 2 and 1, 4 by lot" in out
    assert min(apart[picked]) >= np.sort(apart)[-20]


def test_rows_of_which_the_last_versions_were_unsure_are_chosen_by_slice(chosen, second):
    out, rows = chosen("--by", "dynamics", "--versions", "2", "--slice", "word")

    assert "by the dynamics of versions 1, 2" in out
    assert len(set(rows["word"].to_pylist())) > 1


def test_diverse_rows_are_farther_apart_than_the_most_unsure_ones(chosen):
    _, unsure = chosen()
    out, diverse = chosen("--diverse")

    assert "by margin, far apart" in out
    assert np.nanstd(diverse["size"].to_numpy()) > np.nanstd(unsure["size"].to_numpy())


def test_what_was_chosen_before_is_not_chosen_again_unless_it_is_asked_for(chosen, command, shop, tmp_path):
    def ids(rows):
        return set(rows["flywheel_request"].to_pylist())

    _, first = chosen()
    out, second = chosen()
    _, again = chosen("--again")
    chosen("--budget", "500")
    done = command("select", shop, "--budget", "5")

    assert "20 of 180 rows to label" in out
    assert out.rstrip().endswith("left out: 20 were chosen before")
    assert not ids(first) & ids(second)
    assert second["inclusion"].to_pylist() == pytest.approx([4 / 180] * 20)
    assert ids(again) == ids(first)
    assert done.code == 2
    assert "no requests of 2013-06-02 are left: 200 were chosen before\n  choose another span by" in done.err


def test_a_selection_made_elsewhere_and_what_has_a_label_are_left_out(chosen, command, shop, tmp_path):
    (tmp_path / "theirs.csv").write_text("flywheel_request,flywheel_row,why\nr1,0,random\nr2,0,random\nx,0,random\n")
    (shop / "labels.sql").write_text(
        "SELECT flywheel_request, 1 AS late, TIMESTAMP '2013-06-05 09:00:00' AS arrived "
        "FROM UNNEST(['r2', 'r3', 'r4']) AS flywheel_request "
        "WHERE TIMESTAMP '2013-06-05 09:00:00' >= @start AND TIMESTAMP '2013-06-05 09:00:00' < @end"
    )
    about = yaml.safe_load((shop / "flywheel.yaml").read_text())
    (shop / "flywheel.yaml").write_text(yaml.safe_dump(about | {"monitor": {"labels": "labels.sql"}}))

    out, rows = chosen("--exclude", tmp_path / "theirs.csv", "--budget", "500")
    (tmp_path / "theirs.csv").write_text("name\nada\n")
    wrong = command("select", shop, "--exclude", tmp_path / "theirs.csv")

    assert out.rstrip().endswith("left out: 2 were chosen before and 2 have a label")
    assert set(rows["flywheel_request"].to_pylist()) == {f"r{number}" for number in (0, *range(5, ROWS))}
    assert wrong.code == 2
    assert "theirs.csv do not have, only name" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "magic"), "use margin, entropy, disagreement or dynamics"),
        (("--by", "disagreement"), "visits has version 1 alone"),
        (("--by", "disagreement", "--against", "7"), "has no version '7'"),
        (("--slice", "colour"), "'colour', which is not logged"),
    ],
)
def test_what_is_wrong_is_told(command, shop, arguments, message):
    done = command("select", shop, *arguments)

    assert done.code != 0
    assert message in done.err
