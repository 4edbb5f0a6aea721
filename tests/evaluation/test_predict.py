"""Predictions are the same however rows are cut into batches, and each row is told by its span."""

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flywheel.artifacts.examples import batch_rows
from flywheel.errors import DataError
from flywheel.evaluation.predict import Wanted, write
from tests.evaluation import worlds

pytestmark = pytest.mark.filterwarnings("ignore:.*input example:UserWarning")
WANTED = Wanted("late", slices=["carrier", "hour"], naive="usual", search=["carrier", "signal"])


class Asked:
    """A model that remembers how many rows it is asked about at a time."""

    def __init__(self, folder):
        self._model = mlflow.pyfunc.load_model(str(folder))
        self.metadata, self.sizes = self._model.metadata, []

    def predict(self, frame):
        self.sizes.append(len(frame))
        return self._model.predict(frame)


@pytest.fixture(scope="module")
def rows():
    return worlds.rows(80_000).assign(usual=0.3)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory):
    return worlds.model(tmp_path_factory.mktemp("model") / "candidate").path


def test_small_spans_are_asked_about_together_and_large_ones_in_parts_and_the_file_is_the_same(
    rows, candidate, tmp_path
):
    flights = worlds.examples(tmp_path / "flights", rows)
    together, alone = Asked(candidate), Asked(candidate)

    write(flights, flights.spans, {"candidate": together}, WANTED, tmp_path / "together.parquet")
    for span in flights.spans:
        write(flights, [span], {"candidate": alone}, WANTED, tmp_path / f"{span}.parquet")

    found = pq.read_table(tmp_path / "together.parquet")
    assert found == pa.concat_tables([pq.read_table(tmp_path / f"{span}.parquet") for span in flights.spans])
    assert found["span"].to_pylist() == rows["span"].to_list()
    assert found["search signal"].to_pylist() == rows["signal"].to_list()
    assert len(together.sizes) == 2
    assert max(together.sizes) <= batch_rows(flights.schema)
    assert len(alone.sizes) == len(flights.spans)


@pytest.mark.parametrize("column", ["late", "usual"])
def test_a_value_that_is_missing_is_said_of_its_span_though_others_are_looked_at_with_it(
    rows, candidate, tmp_path, column
):
    few = rows.iloc[::40].astype({"late": float})
    few.loc[few.index[few["span"] == worlds.DAYS[7]][:3], column] = np.nan
    flights = worlds.examples(tmp_path / "flights", few)

    with pytest.raises(DataError, match=f"'{column}' is missing in 3 rows of span {worlds.DAYS[7]}"):
        write(flights, flights.spans, {"candidate": Asked(candidate)}, WANTED, tmp_path / "predictions.parquet")
