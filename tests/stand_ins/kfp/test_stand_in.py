"""The stand-in does what Kubeflow does, as the real client sees it; the package's docstring says what that is worth."""

from datetime import UTC, datetime, timedelta

import pytest

kfp = pytest.importorskip("kfp")

import kfp_server_api as api  # noqa: E402
from kfp import compiler, dsl  # noqa: E402

from tests.stand_ins.kfp import StandIn  # noqa: E402
from tests.stand_ins.kfp.controller import Cron  # noqa: E402


@dsl.component
def say(text: str) -> str:
    return text


@dsl.pipeline(name="saying")
def saying(text: str = "hello"):
    say(text=text)


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def kubeflow():
    with StandIn(now=at("2026-03-02")) as stand_in:
        yield stand_in


@pytest.fixture
def client(kubeflow):
    return kfp.Client(host=kubeflow.url)


@pytest.fixture
def version(client, tmp_path):
    """Experiment, pipeline and version."""
    compiler.Compiler().compile(saying, str(tmp_path / "saying.yaml"))
    made = client.pipelines.pipeline_service_create_pipeline(api.V2beta1Pipeline(display_name="saying"))
    uploaded = client.upload_pipeline_version(str(tmp_path / "saying.yaml"), "one", pipeline_id=made.pipeline_id)
    return client.create_experiment("mine").experiment_id, made.pipeline_id, uploaded.pipeline_version_id


@pytest.fixture
def every(client, version):
    """Make a recurring run."""

    def make(**options):
        experiment, pipeline, one = version
        asked = {"cron_expression": "0 0 6 * * *", "no_catchup": True, "max_concurrency": 1} | options
        if "interval_second" in options:
            del asked["cron_expression"]
        return client.create_recurring_run(
            experiment, "every", pipeline_id=pipeline, version_id=one, **asked
        ).recurring_run_id

    return make


def begun(kubeflow):
    return [f"{run['_due']:%d %H:%M}" for run in kubeflow.runs.values()]


def test_names_are_unique_and_a_second_one_is_a_conflict(client, version):
    with pytest.raises(api.ApiException) as refused:
        client.pipelines.pipeline_service_create_pipeline(api.V2beta1Pipeline(display_name="saying"))
    assert refused.value.status == 409


def test_lists_come_in_pages_with_filters(client, kubeflow, version):
    experiment, pipeline, one = version
    for number in range(25):
        client.run_pipeline(experiment, f"run {number % 2}", pipeline_id=pipeline, version_id=one)
    first = client.list_runs(experiment_id=experiment, page_size=20)
    rest = client.list_runs(experiment_id=experiment, page_size=20, page_token=first.next_page_token)

    assert (len(first.runs), len(rest.runs), rest.next_page_token) == (20, 5, None)
    assert client.get_experiment(experiment_name="mine").experiment_id == experiment


@pytest.mark.parametrize("query", [{"filter": "nonsense"}, {"sort_by": "colour desc"}, {"page_token": "nonsense"}])
def test_what_the_server_does_not_understand_is_refused(client, version, query):
    with pytest.raises(api.ApiException) as refused:
        client.list_runs(experiment_id=version[0], **query)
    assert refused.value.status == 400


@pytest.mark.parametrize("parameters", [{"txet": "a"}, {"text": 1.0}])
def test_arguments_are_held_against_the_pipeline(client, version, parameters):
    experiment, pipeline, one = version
    with pytest.raises(api.ApiException) as refused:
        client.run_pipeline(experiment, "run", pipeline_id=pipeline, version_id=one, params=parameters)
    assert refused.value.status == 400


def test_a_body_of_another_shape_is_a_violation(client, kubeflow, version):
    with pytest.raises(api.ApiException):
        client.recurring_runs.recurring_run_service_create_recurring_run({"name": "v1beta1"})
    assert "V2beta1RecurringRun has no field 'name'" in kubeflow.violations[0]


def test_a_recurring_run_starts_runs_and_ends_with_its_deletion(client, kubeflow, every):
    made = every()
    kubeflow.advance(timedelta(days=3))
    client.delete_recurring_run(made)
    kubeflow.advance(timedelta(days=3))

    assert begun(kubeflow) == ["02 06:00", "03 06:00", "04 06:00"]
    assert {run["state"] for run in kubeflow.runs.values()} == {"SUCCEEDED"}


@pytest.mark.parametrize(("no_catchup", "after"), [(True, ["04 06:00"]), (False, ["02 06:00", "03 06:00", "04 06:00"])])
def test_enabling_replays_what_was_missed_or_the_latest_of_it(client, kubeflow, every, no_catchup, after):
    made = every(no_catchup=no_catchup, enabled=False)
    kubeflow.advance(at("2026-03-04T12:00"))
    client.enable_recurring_run(made)
    kubeflow.advance(timedelta(hours=1))

    assert begun(kubeflow) == after


def test_an_interval_that_catches_up_moves_to_the_time_at_which_it_does(client, kubeflow, every):
    made = every(interval_second=86400, enabled=False)
    kubeflow.advance(at("2026-03-05T12:34"))
    client.enable_recurring_run(made)
    kubeflow.advance(timedelta(days=2))

    assert begun(kubeflow) == ["05 12:34", "06 12:34", "07 12:34"]


def test_no_more_runs_at_a_time_than_allowed(kubeflow, every):
    kubeflow.takes = timedelta(hours=36)
    every(no_catchup=False)
    kubeflow.advance(timedelta(days=4))

    assert [f"{datetime.fromisoformat(run['created_at']):%d %H}" for run in kubeflow.runs.values()] == [
        "02 06", "03 18", "05 06",
    ]  # fmt: skip


def test_cron_without_seconds_is_read_as_if_the_first_field_were_seconds():
    assert Cron("0 6 * * *").next(at("2026-03-02")) == at("2026-03-02T00:06")


def test_a_time_that_the_clocks_leap_over_is_missed_and_one_shown_twice_comes_twice():
    cron = Cron("0 30 2 * * *", "Europe/Berlin")

    assert cron.next(at("2026-03-29T00:00")) == at("2026-03-30T00:30")
    assert cron.next(at("2026-10-25T00:30")) == at("2026-10-25T01:30")
