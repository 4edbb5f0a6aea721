"""Proposals against schemas written as text; what TFDV suggests is written as text too, so nothing slow is imported."""

import pyarrow as pa
import pytest

from flywheel.schemas import apply, dump, look, parse, propose

GIVEN = """
feature { name: "late" type: INT presence { min_fraction: 1.0 } not_in_environment: "SERVING" }
feature { name: "carrier" type: BYTES domain: "carrier" presence { min_fraction: 0.9 } }
feature { name: "distance" type: INT int_domain { min: 0 max: 5000 } presence { min_fraction: 0.9 } }
feature { name: "temp" type: FLOAT presence { min_fraction: 0.8 } }
string_domain { name: "carrier" value: "AA" value: "UA" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""
DAYS = ("2013-06-01", "2013-06-02", "2013-06-03")


def day(**changes):
    columns = {
        "late": pa.array([0, 1] * 10),
        "carrier": pa.array(["AA", "UA"] * 10),
        "distance": pa.array([100, 2000] * 10),
        "temp": pa.array([60.0, 70.5] * 10),
    }
    return pa.RecordBatch.from_pydict({name: value for name, value in (columns | changes).items() if value is not None})


def proposed(newest, suggested=GIVEN, given=GIVEN, before=None):
    batches = [before or day(), before or day(), newest]
    past = look(zip(DAYS, batches, strict=True), newest.schema.names)
    return propose(parse(given), parse(suggested), past, "late")


def needed(*args, **kwargs):
    return [change for change in proposed(*args, **kwargs) if change.needed]


def test_data_that_passes_needs_nothing():
    assert needed(day()) == []


def test_new_words_come_with_their_rows_and_the_first_span_that_has_them():
    (change,) = needed(day(carrier=pa.array(["XX"] * 3 + ["AA"] * 16 + ["YY"])))

    assert (
        str(change)
        == "carrier: 2 new values in 6.67% of the rows: XX (3 rows, first 2013-06-03), YY (1 rows, first 2013-06-03)"
    )
    assert list(apply(parse(GIVEN), [change]).string_domain[0].value) == ["AA", "UA", "XX", "YY"]


def test_words_within_a_feature_are_added_there():
    given = GIVEN.replace('domain: "carrier"', 'string_domain { value: "AA" value: "UA" }', 1)

    (change,) = needed(day(carrier=pa.array(["XX"] * 20)), given=given)

    assert list(apply(parse(given), [change]).feature[1].string_domain.value) == ["AA", "UA", "XX"]


def test_of_many_new_words_the_most_frequent_are_shown():
    (change,) = needed(day(carrier=pa.array([f"X{i}" for i in range(20)])))

    assert change.evidence.endswith("X15 (1 rows, first 2013-06-03) and 12 more")
    assert len(apply(parse(GIVEN), [change]).string_domain[0].value) == 22


def test_free_text_has_no_new_words():
    text = GIVEN.replace('domain: "carrier"', "", 1)

    assert needed(day(carrier=pa.array([f"sentence {i}" for i in range(20)])), given=text, suggested=text) == []


def test_missing_values_come_with_the_worst_span():
    (change,) = needed(day(temp=pa.array([60.0] * 5 + [None] * 15)))

    assert change.evidence == ("there in 75.0% of the rows, in 25.0% of 2013-06-03; the schema asks for 0.8: 0.45")
    assert apply(parse(GIVEN), [change]).feature[3].presence.min_fraction == pytest.approx(0.45)


def test_a_column_that_is_empty_in_one_span_need_not_be_there():
    given = GIVEN.replace("presence { min_fraction: 0.8 }", "presence { min_fraction: 0.8 min_count: 1 }")

    (change,) = needed(day(temp=pa.array([None] * 20, pa.float64())), given=given)

    presence = apply(parse(given), [change]).feature[3].presence
    assert presence.min_fraction == 0
    assert not presence.HasField("min_count")


def test_numbers_beyond_their_range_widen_that_end_alone():
    (change,) = needed(day(distance=pa.array([100, 8000] * 10)))

    assert change.evidence == "100 to 8000 in 3 spans, beyond 0 to 5000 on 2013-06-03: 0 to 10000"
    domain = apply(parse(GIVEN), [change]).feature[2].int_domain
    assert (domain.min, domain.max) == (0, 10_000)


def test_a_range_that_is_missing_is_offered_and_not_needed():
    (offer,) = [change for change in proposed(day()) if not change.needed]

    assert str(offer) == "temp: 60 to 70.5 in 3 spans, and no range in the schema: 57 to 74"
    domain = apply(parse(GIVEN), [offer]).feature[3].float_domain
    assert (domain.min, domain.max) == (57, 74)


def test_words_that_came_up_in_the_past_suggest_how_many_may_be_new():
    newest = day(carrier=pa.array(["AA"] * 19 + ["UA"]))

    offers = proposed(newest, before=day(carrier=pa.array(["AA"] * 20)))

    (offer,) = [change for change in offers if change.what == "new values"]
    assert offer.evidence == "values never seen before were 5.00% of 2013-06-03: min_domain_mass 0.9"
    assert apply(parse(GIVEN), [offer]).feature[1].distribution_constraints.min_domain_mass == pytest.approx(0.9)


NEW = """feature { name: "gate" type: BYTES domain: "gate" presence { min_fraction: 0.9 } }
string_domain { name: "gate" value: "A1" value: "B2" }"""


def test_a_new_column_brings_its_words():
    (change,) = needed(day(gate=pa.array(["A1", "B2"] * 10)), suggested=GIVEN + NEW)

    assert str(change) == "gate: new column, BYTES, 2 different values: A1, B2; in 100.0% of 20 rows"
    schema = apply(parse(GIVEN), [change])
    assert [feature.name for feature in schema.feature][-1] == "gate"
    assert [domain.name for domain in schema.string_domain] == ["carrier", "gate"]


def test_a_column_that_is_gone_takes_its_words_with_it():
    suggested = GIVEN.replace(
        'feature { name: "carrier" type: BYTES domain: "carrier" presence { min_fraction: 0.9 } }', ""
    )

    (change,) = needed(day(carrier=None), suggested=suggested)

    assert str(change) == "carrier: the query does not give it any more"
    schema = apply(parse(GIVEN), [change])
    assert [feature.name for feature in schema.feature] == ["late", "distance", "temp"]
    assert list(schema.string_domain) == []


def test_a_type_that_changed_is_taken_from_the_data():
    suggested = GIVEN.replace('"distance" type: INT int_domain { min: 0 max: 5000 }', '"distance" type: FLOAT')

    (change,) = needed(day(distance=pa.array([0.5, 1.5] * 10)), suggested=suggested)

    assert str(change) == "distance: is FLOAT now; the schema says INT"
    assert apply(parse(GIVEN), [change]).feature[2].type == 3


def test_a_label_that_is_expected_of_requests_is_taken_out_of_serving():
    given = GIVEN.replace('not_in_environment: "SERVING"', "").replace('default_environment: "SERVING"', "")

    (change,) = needed(day(), given=given)

    schema = apply(parse(given), [change])
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    assert list(schema.feature[0].not_in_environment) == ["SERVING"]


def test_without_a_schema_everything_is_new_and_in_the_order_of_the_data():
    changes = proposed(day(), given="")

    schema = apply(parse(""), changes)
    assert {change.what for change in changes} == {"new"}
    assert [feature.name for feature in schema.feature] == ["late", "carrier", "distance", "temp"]
    assert parse(dump(schema)) == parse(GIVEN)


def test_what_was_accepted_is_not_proposed_again():
    newest = day(carrier=pa.array(["XX"] * 20), temp=pa.array([None] * 20, pa.float64()), distance=pa.array([-9] * 20))
    changes = proposed(newest)

    again = proposed(newest, given=dump(apply(parse(GIVEN), changes)))

    assert [change.what for change in changes] == ["values", "new values", "range", "presence", "range"]
    assert [change for change in again if change.needed] == []


def test_applying_leaves_the_schema_that_was_given_alone():
    schema = parse(GIVEN)

    apply(schema, proposed(day(carrier=pa.array(["XX"] * 20))))

    assert schema == parse(GIVEN)
