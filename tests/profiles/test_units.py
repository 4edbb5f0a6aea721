import numpy as np
import pytest

from flywheel.profiles.units import conversion, step_of

INCHES = np.arange(1, 60) / 100
SPANS = (40 / np.arange(1, 60)).astype(np.int64) + 1  # light rain is common, heavy rain is not


def rain(*hundredths):
    return np.array(hundredths) / 100


def test_steps_are_powers_of_ten_also_where_32_bits_have_rounded_them():
    assert step_of(rain(1, 7, 25)) == step_of(rain(1, 7, 25).astype(np.float32).astype(float)) == 0.01
    assert step_of(np.array([3.0, 1200.0])) == 1
    assert step_of(np.array([1.15078, 2.30156])) is None


def test_millimetres_rounded_to_hundredths_are_told_by_their_steps():
    millimetres = np.round(rain(1, 2, 3, 5) * 25.4, 2)
    found, factor = conversion(millimetres, INCHES, SPANS)

    assert found > 4
    assert factor == 25.4


@pytest.mark.parametrize("inches", [rain(1, 2, 3, 5), rain(25, 31, 44, 58), rain(17), np.array([0.0, 0.01, 0.25])])
def test_light_and_heavy_rain_in_inches_is_ordinary(inches):
    found, _ = conversion(inches, INCHES, SPANS)

    assert found < 1


def test_one_number_alone_proves_nothing():
    found, _ = conversion(np.array([0.25]), INCHES, SPANS)

    assert found < 2


def test_seconds_in_the_place_of_minutes_are_multiples_of_sixty():
    minutes = np.arange(1, 121).astype(float)
    found, factor = conversion(60.0 * np.arange(1, 6), np.union1d(minutes, 60.0 * np.arange(1, 6)), np.ones(123, int))

    assert found > 3
    assert factor == 60


def test_without_numbers_or_a_common_step_nothing_is_said():
    assert conversion(np.array([0.0]), INCHES, SPANS) is None
    assert conversion(rain(1), np.array([1.15078]), np.array([3])) is None
