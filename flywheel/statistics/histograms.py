"""The end of TFDV's accumulators, quickly: its own takes 4 ms a numeric column, nearly all of it for one histogram.

TFDV makes the histogram of equal widths from a thousand quantiles, each a message that Python loops over. Here it is
array arithmetic, with the same additions in the same order, so that the numbers are TFDV's to the last digit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_data_validation.statistics.generators.basic_stats_generator import BasicStatsGenerator
from tensorflow_data_validation.utils import quantiles_util
from tensorflow_metadata.proto.v0 import statistics_pb2

_BUCKETS = 10
_FINER = 100
"""How many quantiles TFDV takes for a bucket."""


def finished(generators: list[Any], counts: list[Any]) -> Any:
    """Return the statistics that the accumulators `counts` of `generators` give; they are used up.

    The sketches of numbers are taken out first, TFDV makes all the rest, and their part is put in.
    """
    basic = next(each for one, each in zip(generators, counts, strict=True) if isinstance(one, BasicStatsGenerator))
    taken = {path.steps(): _take_sketches(stats.numeric_stats) for path, stats in basic.items()}
    found = stats_impl.extract_statistics_output(counts, generators)
    for feature in found.datasets[0].features:
        numbers, plain, weighted = taken.get(tuple(feature.path.step), (None, None, None))
        if feature.WhichOneof("stats") != "num_stats" or numbers is None or not numbers.mean_var_accumulator.count:
            continue
        _put(feature.num_stats, plain, numbers, numbers.pos_inf_count)
        if weighted is not None:
            _put(feature.num_stats.weighted_numeric_stats, weighted, numbers, numbers.pos_inf_weighted_count)
    return found


def _take_sketches(numbers: Any) -> tuple[Any, Any, Any]:
    plain, weighted = numbers.quantiles_summary, None
    numbers.quantiles_summary = None
    if numbers.has_weights:
        weighted, numbers.weighted_quantiles_summary = numbers.weighted_quantiles_summary, None
    return numbers, plain, weighted


def _put(target: Any, sketch: Any, numbers: Any, above: float) -> None:
    """Set median and histograms of `target` from a sketch of quantiles; `above` values are positive infinity."""
    sketch.Compact()
    values, weights = sketch.GetQuantilesAndCumulativeWeights(_FINER * _BUCKETS)
    quantiles = values.flatten().to_numpy(zero_copy_only=False)
    cumulative = weights.flatten().to_numpy(zero_copy_only=False)
    target.median = float(quantiles_util.find_median(quantiles))
    widths = equal_widths(quantiles, cumulative, numbers.finite_min, numbers.finite_max, above)
    ranks = quantiles_util.generate_quantiles_histogram(*quantiles_util.rebin_quantiles(quantiles, cumulative, _FINER))
    for histogram in (widths, ranks):
        histogram.num_nan = numbers.num_nan
        target.histograms.add().CopyFrom(histogram)


def equal_widths(
    quantiles: NDArray[Any], cumulative: NDArray[Any], low: float, high: float, above: float, buckets: int = _BUCKETS
) -> Any:
    """Return TFDV's `generate_equi_width_histogram`: what falls in each of `buckets` equal parts of `low` to `high`.

    Between two quantiles values count as spread evenly; two equal ones stand for that value alone, which belongs to
    the bucket that ends there.
    """
    bounds = np.array([low, high]) if low == high else np.linspace(low, high, buckets + 1)
    ends = np.array([quantiles[0], quantiles[-1], float(quantiles[-1]) - float(quantiles[0])])
    if above or not np.isfinite(ends).all() or not np.isfinite(bounds).all():
        return quantiles_util.generate_equi_width_histogram(quantiles, cumulative, low, high, buckets, above)
    lows, highs, weights = _between(quantiles, cumulative)
    width = highs - lows
    single = width == 0
    shared = np.minimum(highs, bounds[1:, None]) - np.maximum(lows, bounds[:-1, None])
    part = np.where(single, 0.0, np.maximum(shared, 0.0) / np.where(single, 1.0, width))
    at = np.maximum(np.searchsorted(bounds, lows[single], side="left") - 1, 0)
    part[at, np.flatnonzero(single)] = 1.0
    counts = np.cumsum(part * weights, axis=1)[:, -1]  # one after the other, as TFDV adds them
    result = statistics_pb2.Histogram(type=statistics_pb2.Histogram.STANDARD)
    for start, end, count in zip(bounds[:-1].tolist(), bounds[1:].tolist(), counts.tolist(), strict=True):
        result.buckets.add(low_value=start, high_value=end, sample_count=count)
    return result


def _between(quantiles: NDArray[Any], cumulative: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return lower end, upper end and weight of the values between each two quantiles.

    The weight of neighbours with the same upper end is the same; that of the smallest value goes to the first.
    """
    lows, highs = quantiles[:-1].astype(np.float64), quantiles[1:].astype(np.float64)
    weights = np.diff(cumulative.astype(np.float64))
    starts = np.flatnonzero(np.r_[True, highs[1:] != highs[:-1]])
    lengths = np.diff(np.r_[starts, len(highs)])
    weights = np.repeat(np.add.reduceat(weights, starts) / lengths, lengths)
    same = (lows == lows[0]) & (highs == highs[0])
    first = int(np.argmin(same)) if not same.all() else len(same)
    weights[:first] += float(cumulative[0]) / first
    return lows, highs, weights
