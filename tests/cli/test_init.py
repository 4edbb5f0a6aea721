import duckdb
import pytest
import yaml

from flywheel.config import load
from tests.command import flywheel

ROWS = """
SELECT
  TIMESTAMP '2024-05-01 06:00:00' + INTERVAL (i) HOUR AS sold,
  i AS id,
  i % 7 + random() AS price,
  (i % 3)::VARCHAR AS shop,
  'sold as ' || i || ' of a lot' AS remark,
  'no-' || i AS code,
  'EUR' AS currency,
  i % 2 = 0 AS returned,
  i % 5 AS stars,
  i % 4 AS "group",
  [i, i] AS lots,
  CASE WHEN i % 3 > 0 THEN i % 2 END AS kept,
  i * 1.5::DECIMAL(9, 2) AS "paid (EUR)"
FROM range(1990) AS rows (i)
"""


@pytest.fixture
def sales(tmp_path):
    (tmp_path / "data").mkdir()
    duckdb.sql(f"COPY ({ROWS}) TO '{tmp_path / 'data' / 'sales.parquet'}'")
    return tmp_path / "data" / "sales.parquet"


@pytest.mark.parametrize(
    ("label", "task", "metric"),
    [("returned", "binary", "auc"), ("stars", "multiclass", "accuracy"), ("price", "regression", "mae")],
)
def test_what_it_writes_is_a_flywheel(sales, tmp_path, label, task, metric):
    done = flywheel("init", tmp_path / "shop", "--data", sales, "--label", label)

    assert done.returncode == 0, done.stderr
    project = load(tmp_path / "shop")
    assert (project.task, project.gates.model[0].metric) == (task, metric)
    assert f"label {label}: {task}" in done.stdout
    assert f"flywheel run {tmp_path / 'shop'} --span 2024-07-22" in done.stdout  # of the 23rd there are 4 hours


def test_a_column_is_what_it_looks_like_or_is_said_to_be_left_out(sales, tmp_path):
    done = flywheel("init", tmp_path / "shop", "--data", sales, "--label", "returned")

    features = yaml.safe_load((tmp_path / "shop" / "flywheel.yaml").read_text())["features"]
    found = {each["column"]: each["as"] for each in features}
    assert found == {
        "price": "numeric",
        "shop": "category",
        "remark": "text",
        "stars": "numeric",
        "group": "numeric",
        "kept": "numeric",
        "paid_EUR": "numeric",
    }
    for name in ("id", "code", "currency", "lots"):
        assert f"left out: {name}, " in done.stdout


def test_rows_whose_label_is_not_known_are_left_out(sales, tmp_path):
    done = flywheel("init", tmp_path / "shop", "--data", sales, "--label", "kept")

    assert "rows without kept are left out" in done.stdout
    assert (tmp_path / "shop" / "sales.sql").read_text().endswith("sold < @end\n  AND kept IS NOT NULL\n")


def test_several_labels_are_0_and_1_each(sales, tmp_path):
    said = ("--data", sales, "--label", "returned", "--label")
    done, wrong = (
        flywheel("init", tmp_path / "shop", *said, "kept"),
        flywheel("init", tmp_path / "other", *said, "stars"),
    )

    project = load(tmp_path / "shop")
    assert done.returncode == 0, done.stderr
    assert (project.task, project.gates.model[0].metric) == ("multilabel", "macro_auc")
    assert not {"returned", "kept"} & {each.column for each in project.features}
    assert "NOT NULL" not in (tmp_path / "shop" / "sales.sql").read_text()
    assert wrong.returncode == 2
    assert "label 'stars' is multiclass, 5 classes; several labels are 0 and 1 each" in wrong.stderr


def test_data_in_the_folder_is_named_from_there(sales, tmp_path):
    flywheel("init", tmp_path, "--data", sales, "--label", "price", "--name", "sales")

    assert load(tmp_path).source.warehouse == "parquet:///data/sales.parquet"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--label", "price", "--name", "2024"], "a letter first"),
        (["--label", "prise"], "did you mean 'price'"),
        ([], "give --label NAME; there: sold, id, price"),
        (["--label", "price", "--time", "id"], "there: sold."),
        (["--label", "price", "--table", "sale"], "did you mean 'sales'"),
        (["--label", "price", "--every", "year"], "use one of hour, day, week, month"),
        (["--label", "currency"], "choose another --label"),
        (["--label", "price", "--data", "none.csv"], "give a Parquet, CSV or DuckDB file"),
        (["--label", "price", "--data", "bigquery://project/sales"], "begin with a sample"),
    ],
)
def test_what_it_cannot_tell_it_asks(sales, tmp_path, given, said):
    done = flywheel("init", tmp_path / "shop", "--data", sales, *given)

    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "shop").exists()


def test_nothing_is_overwritten(sales, tmp_path):
    (tmp_path / "sales.sql").write_text("mine")

    done = flywheel("init", tmp_path, "--data", sales, "--label", "price")

    assert done.returncode == 2
    assert "has sales.sql already" in done.stderr
    assert (tmp_path / "sales.sql").read_text() == "mine"
    assert not (tmp_path / "flywheel.yaml").exists()
