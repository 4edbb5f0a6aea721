import pyarrow as pa
import pytest

from flywheel.statistics import by_column, distances, for_one_span, infer_schema, skew, summarize

ROWS = 200


def rows(label=True, **changed):
    columns = {
        "late": pa.array([row % 4 == 0 for row in range(ROWS)]),
        "carrier": pa.array(["UA" if row % 2 else "AA" for row in range(ROWS)]),
        "place": pa.array([{"distance": float(row)} for row in range(ROWS)]),
    } | changed
    if not label:
        del columns["late"]
    return summarize([pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))])


@pytest.fixture(scope="module")
def schema():
    return infer_schema(rows(), "late")


def test_the_label_is_not_asked_of_what_is_served(schema):
    import tensorflow_data_validation as tfdv

    served = rows(label=False)

    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    assert not tfdv.validate_statistics(served, schema, environment="SERVING").anomaly_info
    assert list(tfdv.validate_statistics(served, schema, environment="TRAINING").anomaly_info) == ["late"]


def test_without_a_label_every_column_is_asked_for():
    assert not any(feature.not_in_environment for feature in infer_schema(rows()).feature)


def test_skew_is_measured_of_what_is_served_and_said_above_its_bar(schema):
    moved = rows(label=False, carrier=pa.array(["AA"] * ROWS))
    anomalies, distances = skew(schema, {"carrier": 0.2}, rows(), moved)

    assert distances == {"carrier": pytest.approx(0.5), "place/distance": pytest.approx(0)}
    assert [reason.short_description for reason in by_column(anomalies)["carrier"].reason] == [
        "High Linfty distance between training and serving"
    ]


def test_skew_below_its_bar_is_no_anomaly(schema):
    anomalies, measured = skew(schema, {"carrier": 0.6}, rows(), rows(label=False, carrier=pa.array(["AA"] * ROWS)))

    assert not anomalies.anomaly_info
    assert measured["carrier"] == pytest.approx(0.5)


def test_the_skew_bars_of_the_schema_hold_where_nothing_else_is_said(schema):
    strict = type(schema).FromString(schema.SerializeToString())
    strict.feature[1].skew_comparator.infinity_norm.threshold = 0.3
    served = rows(label=False, carrier=pa.array(["AA"] * ROWS))

    assert set(by_column(skew(strict, {}, rows(), served)[0])) == {"carrier"}
    assert not skew(strict, {"carrier": 0.6}, rows(), served)[0].anomaly_info


def test_drift_is_measured_of_every_column(schema):
    anomalies, measured = distances(schema, {"carrier": 0.2}, rows(carrier=pa.array(["AA"] * ROWS)), rows())

    assert measured == {"late": 0, "carrier": pytest.approx(0.5), "place/distance": pytest.approx(0)}
    assert set(by_column(anomalies)) == {"carrier"}


def test_anomalies_are_found_by_the_name_of_their_column_whatever_is_in_it():
    import tensorflow_data_validation as tfdv

    dotted = "origin.airport"
    known = infer_schema(rows(**{dotted: pa.array(["EWR"] * ROWS)}))
    found = tfdv.validate_statistics(rows(**{dotted: pa.array(["new"] * ROWS)}), known)

    assert set(by_column(found)) == {dotted}


def test_a_single_span_may_lack_more(schema):
    assert for_one_span(schema).feature[1].presence.min_fraction == schema.feature[1].presence.min_fraction / 2
    assert for_one_span(schema).feature[1].distribution_constraints.min_domain_mass == pytest.approx(0.9)
