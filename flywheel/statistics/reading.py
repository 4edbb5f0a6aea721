"""What people and gates want to know of TFDV's statistics."""

from __future__ import annotations

from typing import Any


def features(statistics: Any) -> list[Any]:
    """Return the statistics of each column in order; sparse and weighted features, which the schema makes, are none."""
    return [feature for feature in statistics.datasets[0].features if feature.WhichOneof("stats")]


def common(feature: Any) -> Any:
    """Return what TFDV counts for every kind of feature."""
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def shares(feature: Any) -> dict[str, float]:
    """Return the share of each category among the rows that have one, most frequent first; empty for a number."""
    if feature.WhichOneof("stats") != "string_stats":
        return {}
    total = common(feature).tot_num_values or 1
    buckets = feature.string_stats.rank_histogram.buckets
    return {bucket.label: bucket.sample_count / total for bucket in buckets}


def bins(feature: Any) -> list[tuple[float, float, float]]:
    """Return (lower edge, upper edge, share of rows) of a number's equal-width bins; empty for a category."""
    if feature.WhichOneof("stats") != "num_stats":
        return []
    standard = next((each for each in feature.num_stats.histograms if not each.type), None)
    buckets = standard.buckets if standard else ()
    total = sum(bucket.sample_count for bucket in buckets) or 1
    return [(bucket.low_value, bucket.high_value, bucket.sample_count / total) for bucket in buckets]


def by_column(anomalies: Any) -> dict[str, Any]:
    """Return what TFDV says of each column that has an anomaly; it quotes some names itself, as those with dots."""
    return {info.path.step[0] if info.path.step else name: info for name, info in anomalies.anomaly_info.items()}
