import pickle

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.utils import quantiles_util

from flywheel.statistics import Options
from flywheel.statistics.histograms import equal_widths
from flywheel.statistics.partial import ALL, Partial, _generators
from tests.statistics import worlds

CHANCE = np.random.default_rng(7)

NUMBERS = {
    "normal": CHANCE.normal(0, 1, 5000),
    "few values": CHANCE.integers(0, 7, 5000).astype(float),
    "one value": np.full(100, 2.5),
    "one row": np.array([3.0]),
    "two far apart": np.array([-1e300, 1e300]),
    "too far apart to subtract": np.array([-1.7e308, 1.7e308]),
    "half of them zero": np.where(CHANCE.random(3000) < 0.5, 0, CHANCE.lognormal(0, 3, 3000)),
    "bounds are values": np.repeat(np.arange(0, 101, 10.0), 40),
    "large whole numbers": CHANCE.integers(10**15, 10**15 + 50, 3000).astype(float),
    "with infinities": np.concatenate([[np.inf, -np.inf, np.inf], CHANCE.normal(0, 1, 500)]),
    "below without end": np.concatenate([[-np.inf], CHANCE.normal(0, 1, 500)]),
    "only infinite": np.array([np.inf, -np.inf]),
    "not a number": np.concatenate([[np.nan] * 5, CHANCE.normal(0, 1, 500)]),
    "nothing else": np.array([np.nan, np.nan]),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("case", NUMBERS)
def test_statistics_end_as_those_that_tfdv_ends_itself(case, weight):
    values = NUMBERS[case]
    counts = Partial(Options(weight=weight))
    weights = np.random.default_rng(1).choice([0.0, 0.5, 1.0, 3.25], len(values))
    counts.add(pa.RecordBatch.from_arrays([pa.array(values), pa.array(weights)], names=["x", "w"]))
    accumulators = pickle.loads(pickle.dumps(counts._slices[ALL]))

    expected = stats_impl.extract_statistics_output(accumulators, _generators(counts.options))
    assert _text(counts.statistics()) == _text(expected)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_so_do_those_of_every_kind_of_column():
    counts = Partial(Options(weight="weight"))
    for batch in worlds.table(3).to_batches(70):
        counts.add(batch)
    accumulators = pickle.loads(pickle.dumps(counts._slices[ALL]))

    assert _text(counts.statistics()) == _text(
        stats_impl.extract_statistics_output(accumulators, _generators(counts.options))
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_histogram_of_equal_widths_is_tfdvs_to_the_last_digit(seed):
    chance = np.random.default_rng(seed)
    quantiles = np.sort(np.round(chance.normal(0, 50, 1001), seed % 4))
    cumulative = np.cumsum(chance.integers(0, 9, 1001)).astype(float)
    given = (quantiles, cumulative, quantiles[0], quantiles[-1])

    assert _text(equal_widths(*given, 0)) == _text(quantiles_util.generate_equi_width_histogram(*given, 10, 0))


def _text(message):
    """Return the message as text: two that hold the same NaN are not equal as messages."""
    return str(message)
