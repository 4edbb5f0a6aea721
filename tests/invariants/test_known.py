import datetime as dt
import decimal
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.errors import ConfigError
from flywheel.invariants import Determines, Known, Ordered, Sum, Unique
from flywheel.invariants.hashing import hashed

ROUTE = Determines(("origin", "dest"), "distance")
ROUTES = {("JFK", "LAX"): 2475, ("JFK", "SFO"): 2586, ("LGA", "ATL"): 762}


def flights(*routes, **columns):
    given = [route if len(route) == 3 else (*route, ROUTES[route]) for route in routes]
    origin, dest, distance = zip(*given, strict=True) if given else ((), (), ())
    return pa.RecordBatch.from_pydict(
        {
            "origin": pa.array(origin, pa.string()),
            "dest": pa.array(dest, pa.string()),
            "distance": pa.array(distance, pa.int64()),
            "flight": pa.array(range(len(given)), pa.int64()),
            **columns,
        }
    )


def one(known, *batches):
    (violation,) = known.violations(batches)
    return violation


def test_a_row_whose_key_had_another_value_before_violates():
    known = Known.of([ROUTE]).learn([flights(*ROUTES)])

    found = one(known, flights(("JFK", "LAX", 3983), ("JFK", "SFO"), ("LGA", "ATL"), ("JFK", "LAX")))

    assert (found.rows, found.violating, found.share, found.broken) == (4, 1, 0.25, True)
    assert found.columns == ("distance", "origin", "dest")
    assert str(found) == (
        "origin, dest determines distance does not hold in 1 of 4 rows, "
        "as in origin=JFK, dest=LAX, distance=3983 (was 2475)"
    )


def test_a_key_that_was_never_seen_does_not_violate_by_itself():
    known = Known.of([ROUTE]).learn([flights(*ROUTES)])

    assert one(known, flights(("JFK", "HNL", 4983), ("JFK", "HNL", 4983))).violating == 0


def test_of_a_new_key_the_rows_in_the_minority_violate():
    batch = flights(("JFK", "HNL", 4983), ("JFK", "HNL", 4983), ("JFK", "HNL", 8019), ("JFK", "LAX"))

    found = one(Known.of([ROUTE]), batch)

    assert (found.rows, found.violating) == (4, 1)
    assert "distance=8019" in found.example


def test_what_was_rare_before_is_not_usual_now():
    odd = [("JFK", "LAX", 9999)]
    known = Known.of([ROUTE]).learn([flights(*[("JFK", "LAX")] * 9, *odd)])

    assert one(known, flights(*odd, ("JFK", "LAX"))).violating == 1


def test_rows_with_a_null_do_not_count():
    known = Known.of([ROUTE]).learn([flights(*ROUTES)])

    found = one(known, flights(("JFK", "LAX", None), ("JFK", None, 1), (None, "LAX", 1), ("JFK", "SFO")))

    assert (found.rows, found.violating) == (1, 0)


def test_a_key_is_unique_within_a_span_and_with_the_span_before():
    known = Known.of([Unique(("flight",))]).learn([numbers(flight=[1, 2, 3])]).learn([numbers(flight=[4, 5])])

    found = one(known, numbers(flight=[6, 6, 7]), numbers(flight=[7, 5, None, 1]))

    assert (found.rows, found.violating) == (6, 3)
    assert one(known, numbers(flight=[9, 5])).example == "flight=5 (also in the span before)"
    assert one(known, numbers(flight=[1, 2, 3])).violating == 0


def test_the_span_before_may_have_had_no_rows():
    known = Known.of([Unique(("flight",))]).learn([numbers(flight=[1, 2, 3])]).learn([])

    assert one(known, numbers(flight=[1, 2])).violating == 0


def test_a_times_order_holds_where_both_are_there():
    start, end = dt.datetime(2013, 6, 1, 9), dt.datetime(2013, 6, 1, 10)
    batch = pa.RecordBatch.from_pydict(
        {
            "departs": pa.array([start, end, start, None], pa.timestamp("us", "UTC")),
            "arrives": pa.array([end, start, start, end], pa.timestamp("ms", "UTC")),
        }
    )

    found = one(Known.of([Ordered(("departs", "arrives"))]), batch)

    assert (found.rows, found.violating) == (3, 1)
    assert found.example.startswith("departs=2013-06-01 10:00:00")


def test_a_date_compares_with_a_time():
    batch = pa.RecordBatch.from_pydict(
        {
            "day": pa.array([dt.date(2013, 6, 1), dt.date(2013, 6, 2)]),
            "at": pa.array([dt.datetime(2013, 6, 1, 9)] * 2, pa.timestamp("us")),
        }
    )

    assert one(Known.of([Ordered(("day", "at"))]), batch).violating == 1


def test_a_sum_holds_to_within_rounding_and_whole_numbers_exactly():
    batch = numbers(a=[0.1, 0.1, None, 2.0], b=[0.2, 0.2, 1.0, 2.0], c=[0.3, 0.31, 1.0, 4.0])
    whole = numbers(a=[2**60, 1], b=[1, 1], c=[2**60, 2])
    rule = Sum(("a", "b"), "c")

    assert (one(Known.of([rule]), batch).rows, one(Known.of([rule]), batch).violating) == (3, 1)
    assert one(Known.of([rule]), whole).violating == 1


def test_a_tolerance_is_the_largest_share_that_may_violate():
    batch = numbers(flight=[1, 1, *range(2, 100)])

    assert not one(Known.of([Unique(("flight",), tolerance=0.01)]), batch).broken
    assert one(Known.of([Unique(("flight",), tolerance=0.009)]), batch).broken


def test_nothing_is_violated_by_no_rows():
    known = Known.of([ROUTE, Unique(("flight",)), Ordered(("flight", "distance"))]).learn([flights(*ROUTES)])

    assert [(found.rows, found.share, found.broken) for found in known.violations([])] == [(0, 0.0, False)] * 3


def test_a_number_is_itself_whether_whole_or_floating():
    known = Known.of([ROUTE]).learn([flights(*ROUTES)])
    floating = flights(("JFK", "LAX")).to_pydict() | {"distance": [2475.0]}

    assert one(known, pa.RecordBatch.from_pydict(floating)).violating == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (Unique(("flihgt",)), "did you mean 'flight'"),
        (Ordered(("origin", "dest")), "compares 'origin', which is of type string"),
        (Sum(("distance", "dest"), "flight"), "compares 'dest'"),
    ],
)
def test_an_invariant_about_what_is_not_there_is_a_clear_error(rule, message):
    for ask in (Known.of([rule]).learn, Known.of([rule]).violations):
        with pytest.raises(ConfigError, match=message):
            ask([flights(*ROUTES)])


VALUES = {
    "null": pa.array([None, None, None]),
    "bool": pa.array([True, False, None]),
    "int8": pa.array([-1, 2, None], pa.int8()),
    "uint64": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "float": pa.array([0.5, -1.0, float("nan")]),
    "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-2"), None], pa.decimal128(20, 2)),
    "large decimal": pa.array([decimal.Decimal(10**40), decimal.Decimal(-1), None], pa.decimal256(50, 2)),
    "date": pa.array([dt.date(2013, 6, 1), dt.date(1960, 1, 1), None]),
    "time": pa.array([dt.time(9), dt.time(10), None], pa.time64("us")),
    "time32": pa.array([dt.time(9), dt.time(10), None], pa.time32("s")),
    "timestamp": pa.array([dt.datetime(2013, 6, 1), dt.datetime(1960, 1, 1), None], pa.timestamp("us", "UTC")),
    "nanoseconds": pa.array([1, 2, None], pa.timestamp("ns")),
    "string": pa.array(["é", "", None]),
    "large string": pa.array(["é", "", None], pa.large_string()),
    "bytes": pa.array([b"\xff", b"", None]),
    "dictionary": pa.array(["é", "", None]).dictionary_encode(),
    "list": pa.array([[1, 2], [], None]),
    "struct": pa.array([{"a": 1}, {"a": None}, None]),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_type_is_hashed_by_value_wherever_it_stands_in_a_batch(name):
    array = VALUES[name]

    hashes, valid = hashed(array)
    again, _ = hashed(array.slice(1, 2))

    assert valid.tolist() == [name != "null", name != "null", False]
    assert name == "null" or again[0] == hashes[1]
    assert name == "null" or hashes[0] != hashes[1]


def test_hashes_are_the_same_in_every_process_and_version():
    code = (
        "import pyarrow as pa; from flywheel.invariants.hashing import hashed;"
        "print([int(hashed(pa.array([v]))[0][0]) for v in ('JFK', 2475, 0.5, True)])"
    )
    runs = {subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)}

    assert [json.loads(run) for run in runs] == [
        [195223386312801468, 14544118197825388841, 3922431402420843470, 6238072747940578789]
    ]


def numbers(**columns):
    return pa.RecordBatch.from_pydict(columns)


RULES = [Determines(("a",), "b"), Determines(("a", "b"), "c"), Unique(("a", "c")), Ordered(("a", "b"))]
SMALL = st.one_of(st.none(), st.integers(0, 5))
SPAN = st.lists(st.tuples(SMALL, SMALL, SMALL), max_size=40)
MOST = st.sampled_from([1, 3, 1000])


def rows(span, parts=1):
    table = {name: pa.array([row[i] for row in span], pa.int64()) for i, name in enumerate("abc")}
    batch = pa.RecordBatch.from_pydict(table)
    size = max(1, -(-batch.num_rows // parts))
    return [batch.slice(start, size) for start in range(0, batch.num_rows, size)]


@given(SPAN, SPAN, MOST)
def test_learning_two_spans_is_learning_each_and_merging(first, second, most):
    nothing = Known.of(RULES, most)

    one_by_one = nothing.learn(rows(first)).learn(rows(second))
    merged = nothing.learn(rows(first)).merge(nothing.learn(rows(second)))
    together = nothing.learn([*rows(first), *rows(second)])

    assert one_by_one == merged
    assert together.seen == merged.seen
    assert together.texts == merged.texts
    assert together.rows == merged.rows


@given(SPAN, SPAN, SPAN, MOST)
def test_merging_is_associative_and_nothing_is_neutral(first, second, third, most):
    nothing = Known.of(RULES, most)
    a, b, c = (nothing.learn(rows(span)) for span in (first, second, third))

    assert a.merge(b).merge(c) == a.merge(b.merge(c))
    assert a.merge(nothing) == nothing.merge(a) == a
    assert a.merge(b).seen == b.merge(a).seen


@given(SPAN, SPAN, st.integers(1, 7), MOST, st.randoms())
def test_neither_the_order_of_rows_nor_their_batches_matter(before, span, parts, most, random):
    shuffled = random.sample(span, len(span))
    nothing = Known.of(RULES, most)

    assert nothing.learn(rows(span)) == nothing.learn(rows(shuffled, parts))
    found = nothing.learn(rows(before)).violations(rows(span))
    again = nothing.learn(rows(before)).violations(rows(shuffled, parts))
    assert [(v.rows, v.violating) for v in found] == [(v.rows, v.violating) for v in again]


@given(SPAN, SPAN)
def test_violations_are_those_that_a_plain_count_gives(before, span):
    known = Known.of(RULES).learn(rows(before))

    by_rule = {str(violation.invariant): violation for violation in known.violations(rows(span))}

    both = [(a, b) for a, b, _ in span if a is not None and b is not None]
    usual = _counts([(a, b) for a, b, _ in before if a is not None and b is not None])
    wrong = sum(1 for a, b in both if a in usual and usual[a].get(b, 0) < max(usual[a].values()))
    new = _counts([(a, b) for a, b in both if a not in usual])
    wrong += sum(sum(values.values()) - max(values.values()) for values in new.values())
    assert (by_rule["a determines b"].rows, by_rule["a determines b"].violating) == (len(both), wrong)
    keys = [(a, c) for a, _, c in span if a is not None and c is not None]
    old = {(a, c) for a, _, c in before}
    assert by_rule["unique a, c"].violating == len(keys) - len(set(keys) - old)
    assert by_rule["a <= b"].violating == sum(a > b for a, b in both)


def _counts(pairs):
    found = {}
    for key, value in pairs:
        found.setdefault(key, {})
        found[key][value] = found[key].get(value, 0) + 1
    return found


def test_of_very_many_keys_a_part_is_remembered_and_a_part_is_looked_at():
    many = np.arange(20_000)
    known = Known.of([Determines(("a",), "b"), Unique(("a",))], most=1_000).learn([numbers(a=many, b=many % 7)])

    same, moved = known.violations([numbers(a=many, b=many % 7)]), known.violations([numbers(a=many, b=many % 7 + 1)])

    assert [len(pairs) for pairs in (*known.seen.values(), *known.previous.values())] == [1_000, 1_000]
    assert [violation.share for violation in same] == [0.0, 1.0]
    assert [violation.share for violation in moved] == [1.0, 1.0]
    assert all(900 <= violation.rows < 1_000 for violation in same)


def test_an_invariant_that_is_new_in_the_file_goes_without_what_is_known_and_others_keep_it():
    known = Known.of([ROUTE, Unique(("flight",))]).learn([flights(*ROUTES)])

    now = Known.of([ROUTE, Determines(("flight",), "dest")]).merge(known)

    assert now.seen == {str(ROUTE): known.seen[str(ROUTE)]}
    assert now.previous == {}
    assert [violation.violating for violation in now.violations([flights(("JFK", "LAX", 1))])] == [1, 0]
