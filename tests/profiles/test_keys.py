from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from flywheel.profiles.keys import new_keys
from flywheel.profiles.measure import profile_of

DAY = datetime(2024, 1, 1)


def profile(numbers, key=("at", "number")):
    numbers = np.asarray(numbers)
    at = pa.array(np.datetime64(DAY, "us") + np.arange(len(numbers)).astype("timedelta64[s]"))
    return profile_of(pa.table({"at": at, "number": numbers}).to_batches(1000), DAY, key=key)[0]


def test_keys_are_new_that_no_earlier_span_had_whatever_their_times():
    found = new_keys(profile([1, 1, 2, 3, 4]), [profile([2, 9]), profile([1])])

    assert found.observed == pytest.approx(0.5)


def test_of_many_keys_the_share_is_estimated_from_a_few():
    found = new_keys(profile(np.arange(30_000, 130_000)), [profile(np.arange(50_000)), profile(np.arange(70_000))])

    assert len(profile(np.arange(100_000)).keys) == 2048
    assert found.observed == pytest.approx(0.6, abs=0.04)


def test_without_a_key_or_with_times_alone_nothing_is_said():
    assert new_keys(profile([1], key=()), [profile([1], key=())]) is None
    assert new_keys(profile([1], key=("at",)), [profile([1], key=("at",))]) is None


def test_earlier_spans_whose_key_was_another_are_not_asked():
    before = [profile([1, 2], key=()), profile([1, 2], key=("number",)), profile([1, 2])]

    assert new_keys(profile([1, 3]), before) is None
    assert new_keys(profile([1, 3]), before[1:]).observed == pytest.approx(0.5)


def test_keys_come_back_from_json():
    one = profile(["a", "b"])

    assert type(one).from_json(one.to_json()).keys.tolist() == one.keys.tolist()
    assert type(one).from_json(one.to_json()).keyed == ("at", "number")
