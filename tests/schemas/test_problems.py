import pytest

from flywheel.invariants import Unique
from flywheel.schemas import parse, problems

GOOD = """
feature { name: "late" type: INT not_in_environment: "SERVING" }
feature { name: "carrier" type: BYTES domain: "carrier" }
feature { name: "distance" type: INT int_domain { min: 0 max: 5000 } }
string_domain { name: "carrier" value: "AA" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
GIVEN = ["late", "carrier", "distance"]


def found(text=GOOD, used=("late", "carrier"), given=GIVEN, rules=(), label="late"):
    return problems(parse(text), label, used, given, rules)


def test_a_schema_that_fits_has_no_problems():
    assert found(rules=[Unique(("carrier", "distance"))]) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"late"', '"late_"', "does not have the label 'late', which flywheel.yaml names"),
        (
            'name: "carrier" type',
            'name: "carier" type',
            "does not have the column 'carrier', which flywheel.yaml names",
        ),
        ('"distance"', '"carrier"', "has 2 features named 'carrier'"),
        ('domain: "carrier"', 'domain: "carier"', "did you mean 'carrier'"),
        ('domain: "carrier"', 'domain: "x"', "write a string_domain named 'x'"),
        ("max: 5000", "max: -1", "distance is to be from 0 to -1: nothing is"),
        ('"distance"', '"distance" presence { min_fraction: 90 }', "min_fraction of distance is 90"),
        ('"late" type: INT', '"late" type: BYTES', "the label 'late' is BYTES"),
        (' not_in_environment: "SERVING"', "", "the label 'late' is expected in SERVING"),
        ('"distance"', '"distanse"', "did you mean 'distance'? have the query give it"),
    ],
)
def test_what_does_not_fit_is_named_with_its_cure(old, new, said):
    assert old in GOOD
    told = [problem for problem in found(GOOD.replace(old, new, 1)) if said in str(problem)]

    assert len(told) == 1
    assert told[0].blocks
    assert told[0].remedy


def test_a_column_that_nobody_asks_for_is_said_and_does_not_block():
    (problem,) = found(given=[*GIVEN, "gate"])

    assert "does not have the column 'gate', which the query gives" in problem.what
    assert not problem.blocks


def test_an_invariant_about_a_column_that_is_not_there_is_a_problem():
    (problem,) = found(rules=[Unique(("carier",))])

    assert str(problem).startswith("invariants.yaml: unique carier names the column 'carier'")
    assert "did you mean 'carrier'" in problem.remedy


def test_a_field_of_a_struct_belongs_to_its_column():
    text = GOOD + 'feature { name: "address/city" type: BYTES }'

    assert found(text, given=[*GIVEN, "address"]) == []
