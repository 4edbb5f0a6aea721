"""Statistics held against each other, field by field."""

from __future__ import annotations

import pytest

EPSILON = 0.01
"""TFDV's own error of quantiles, and more than that of its sketch of distinct values."""


def assert_same(found, expected):
    """Fail unless both say the same: counts exactly, means to nine digits, sketches within TFDV's own error."""
    assert [each.name for each in found.datasets] == [each.name for each in expected.datasets]
    for ours, theirs in zip(found.datasets, expected.datasets, strict=True):
        assert ours.num_examples == theirs.num_examples
        assert ours.weighted_num_examples == pytest.approx(theirs.weighted_num_examples)
        others = {tuple(each.path.step): each for each in theirs.features}
        assert {tuple(each.path.step) for each in ours.features} == set(others)
        for feature in ours.features:
            _message(feature, others[tuple(feature.path.step)], f"{ours.name} {feature.path.step[0]}")


def _message(ours, theirs, where, scale=1.0):
    kind = type(ours).__name__
    if kind == "Histogram":
        return _histogram(ours, theirs, where)
    if kind == "RankHistogram":
        return _ranks(ours, theirs, where)
    scale = max(scale, abs(getattr(theirs, "mean", 0.0)))  # a deviation is as exact as the mean's digits allow
    for field in ours.DESCRIPTOR.fields:
        value, other, name = getattr(ours, field.name), getattr(theirs, field.name), f"{where}.{field.name}"
        if _repeated(field):
            assert len(value) == len(other), name
            for one, two in zip(value, other, strict=True):
                _value(field, one, two, name, scale)
        elif not field.message_type or ours.HasField(field.name) or theirs.HasField(field.name):
            _value(field, value, other, name, scale)


def _value(field, ours, theirs, where, scale):
    if field.message_type:
        _message(ours, theirs, where, scale)
    elif field.name in ("unique", "median", "frequency"):
        assert ours == pytest.approx(theirs, rel=EPSILON, abs=1e-9), where
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12 * scale, nan_ok=True), where
    else:
        assert ours == theirs, where


def _histogram(ours, theirs, where):
    total = sum(bucket.sample_count for bucket in theirs.buckets)
    assert (ours.type, ours.num_nan, len(ours.buckets)) == (theirs.type, theirs.num_nan, len(theirs.buckets)), where
    for one, two in zip(ours.buckets, theirs.buckets, strict=True):
        assert one.sample_count == pytest.approx(two.sample_count, abs=EPSILON * total), where


def _ranks(ours, theirs, where):
    """Equal counts stand in no order, so the labels are compared by their counts."""
    counts = [{bucket.label: bucket.sample_count for bucket in each.buckets} for each in (ours, theirs)]
    assert counts[0] == pytest.approx(counts[1], rel=EPSILON), where


def _repeated(field):
    """Return whether a field of either protobuf family holds many values."""
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
