import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.invariants import Determines, Ordered, Sum, Unique, dump, load, parse, read

TEXT = """\
# what is true of every flight
- unique: [flight, carrier, departs]
  why: an airline gives a number to one departure an hour
- determines: {by: [origin, dest], column: distance}
  tolerance: 0.001
- ordered: [dewp, temp]
- sum: {of: [a, b], is: c}
"""
RULES = (
    Unique(("flight", "carrier", "departs"), why="an airline gives a number to one departure an hour"),
    Determines(("origin", "dest"), "distance", 0.001),
    Ordered(("dewp", "temp")),
    Sum(("a", "b"), "c"),
)


def test_each_kind_is_read_as_it_is_written(tmp_path):
    (tmp_path / "invariants.yaml").write_text(TEXT)
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("invariants.yaml", TEXT)

    found = parse(TEXT)

    assert found == read(tmp_path / "code.zip") == load(tmp_path) == RULES
    assert [rule.why for rule in found] == [rule.why for rule in RULES]


def test_a_project_need_not_have_any(tmp_path):
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("flywheel.yaml", "")

    assert read(tmp_path / "code.zip") == load(tmp_path) == parse("") == parse("# none yet\n") == ()


NAME = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=20)
NAMES = st.lists(NAME, min_size=3, max_size=5, unique=True)


@given(NAMES, st.floats(0, 1, exclude_max=True), st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_what_is_dumped_is_read_back(names, tolerance, why):
    rules = (
        Unique(tuple(names), tolerance, why),
        Determines(tuple(names[1:]), names[0], tolerance, why),
        Ordered((names[0], names[1]), tolerance, why),
        Sum(tuple(names[1:]), names[0], tolerance, why),
    )

    found = parse(dump(rules))

    assert found == rules
    assert [rule.why for rule in found] == [why] * 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("unique: [flight]", "holds dict, not a list"),
        ("- [flight]", "line 1: ['flight'] is no invariant"),
        ("- unike: [flight]", "is no invariant\n  write one of {unique: [flight"),
        ("- {unique: [a], ordered: [a, b]}", "is no invariant"),
        ("- unique: flight", "'flight' does not name its columns"),
        ("- unique: []", "does not name its columns"),
        ("- unique: [a, 1]", "does not name its columns"),
        ("- unique: [a, a]", "the column 'a' stands twice"),
        ("- {unique: [a], tolerence: 0.1}", "tolerence: unknown key"),
        ("- {unique: [a], tolerance: 1}", "tolerance is 1"),
        ("- {unique: [a], tolerance: yes}", "tolerance is True"),
        ("- {unique: [a], why: [x]}", "why is ['x']"),
        ("- determines: {by: [a]}", "needs `by` and `column`"),
        ("- determines: {by: [a, b], column: a}", "'a' stands in `by` too"),
        ("- ordered: [a, b, c]", "3 columns"),
        ("- sum: {of: [a], is: b}", "does not name its columns"),
        ("- sum: {of: [a, b], is: b}", "'b' stands in `of` too"),
        ("- unique: [a\n- unique: b]", "is not YAML"),
        ("- {unique: [a], why: 2013-02-30}", "is not YAML"),
        ("\n- unique: [a]\n- {unique: [a], tolerance: 0.1}", "line 3: unique a stands in line 2 too"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_to_write(line, said):
    with pytest.raises(ConfigError) as raised:
        parse(line)
    assert said in str(raised.value)
    assert raised.value.remedy
