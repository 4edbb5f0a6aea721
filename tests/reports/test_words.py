import math

import pytest

from flywheel.artifacts import Check
from flywheel.profiles import bars
from flywheel.reports.words import meaning, usual


@pytest.mark.parametrize("name", sorted(bars._FLOORS))
def test_what_every_measure_looks_at_is_said_in_a_sentence(name):
    said = meaning(Check(f"{name} of price", "fail", observed=3.0, usual=(0.0, 1.0), column="price"))

    assert said
    assert "{" not in said


def test_a_bar_on_new_keys_is_no_rule_and_a_share():
    check = Check("new keys at most 0.3", "fail", observed=0.5, bound=0.3)

    assert meaning(check).startswith("the rows are about others")
    assert usual(Check("new keys", "fail", observed=0.5, usual=(-math.inf, 0.2))) == "up to 20.0%"
