import json

import pytest

from flywheel.config import Canary, KServe
from flywheel.errors import ServingError
from flywheel.ledger import Champion
from flywheel.serving.targets import Order
from flywheel.serving.targets.inference_service import InferenceService, readable
from flywheel.serving.targets.kserve import Target
from flywheel.serving.targets.prometheus import Prometheus
from tests.stand_ins.kubernetes import SERVERS, PrometheusStandIn

BUCKET = "gs://models/flights"


class Time:
    """A clock that goes on only when somebody sleeps, with `at` as alarms."""

    def __init__(self):
        self.now, self.alarms = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for when, act in [alarm for alarm in self.alarms if alarm[0] <= self.now]:
            self.alarms.remove((when, act))
            act()


class Killed(BaseException):
    """What a SIGKILL is to the process that gets it."""


class World:
    """A cluster with KServe, a Prometheus, and a registry that says who is champion."""

    def __init__(self, kubernetes, prometheus):
        self.kubernetes, self.cluster = kubernetes, kubernetes.kserve
        self.prometheus, self.time = prometheus, Time()
        self.champion = None
        self.served = {}  # version: (requests in a minute at 100%, share of errors, milliseconds)
        prometheus.served = self._served

    def settings(self, **given):
        bars = {
            "hold": "60s",
            "patience": "6m",
            "max_error_rate": 0.02,
            "max_p99_ms": 500,
            "max_latency_ratio": 2.0,
        } | given.pop("canary", {})
        return KServe(target="kserve", metrics=self.prometheus.url, canary=Canary(**bars), **given)

    def target(self, settings=None):
        settings = settings or self.settings()
        service = InferenceService(settings, "flights", self.kubernetes.api(), self.time.sleep)
        metrics = Prometheus(self.prometheus.url, self.time.sleep)
        return Target(settings, "flights", service, metrics, self.time, self.time.sleep)

    def promote(self, version):
        self.champion = Champion(
            "flights", str(version), f"2013-06-{version:02d}", f"run{version}", f"sha256:{version}"
        )
        return self.order(self.champion)

    def order(self, champion):
        return Order(champion, f"{BUCKET}/{champion.version}", None, lambda: self.champion)

    def deploy(self, version, settings=None):
        return self.target(settings).put(self.promote(version))

    @property
    def live(self):
        return self.cluster.get("flights")

    @property
    def percent(self):
        return self.live["spec"]["predictor"].get("canaryTrafficPercent")

    @property
    def traffic(self):
        """Version to its percent of the requests."""
        self.cluster.get("flights")
        found = self.live["status"]["components"]["predictor"]["traffic"]
        uris = self.cluster.controller.revisions("default", "flights")
        shares = {uris[each["revisionName"]].rsplit("/", 1)[1]: each["percent"] for each in found}
        return {version: share for version, share in shares.items() if share}

    def _served(self, revision, seconds):
        version = self.cluster.controller.revisions("default", "flights")[revision].rsplit("/", 1)[1]
        requests, errors, milliseconds = self.served.get(version, (100_000, 0.0, 30))
        share = self.traffic.get(version, 0) / 100
        count = round(requests * share * seconds / 60)
        return count, round(count * errors), milliseconds


@pytest.fixture(params=SERVERS)
def world(request):
    with request.param() as kubernetes, PrometheusStandIn() as prometheus:
        yield World(kubernetes, prometheus)


def test_the_first_version_gets_all_traffic_once_it_is_ready(world):
    placed = world.deploy(1)

    assert placed.endpoint == "http://flights.default.example.com"
    assert placed.verdict.ok
    assert world.traffic == {"1": 100}
    predictor = world.live["spec"]["predictor"]
    assert predictor["model"] == {
        "modelFormat": {"name": "mlflow"},
        "protocolVersion": "v2",
        "runtime": "kserve-mlserver",
        "storageUri": "gs://models/flights/1",
    }
    notes = world.live["metadata"]["annotations"]
    assert {key: notes[f"ai-flywheel/{key}"] for key in ("version", "span", "digest", "run")} == {
        "version": "1",
        "span": "2013-06-01",
        "digest": "sha256:1",
        "run": "run1",
    }
    managed = world.live["metadata"]["managedFields"]
    assert [entry["manager"] for entry in managed if "f:spec" in entry["fieldsV1"]] == ["flywheel"]


def test_what_it_needs_stands_in_the_inference_service(world):
    settings = world.settings(
        service_account="reader", requests={"cpu": "500m"}, limits={"memory": "2Gi"}, min_replicas=2, max_replicas=5
    )

    world.deploy(1, settings)

    predictor = world.live["spec"]["predictor"]
    assert predictor["serviceAccountName"] == "reader"
    assert predictor["model"]["resources"] == {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi"}}
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 5)


def test_a_later_version_gets_its_traffic_in_steps_each_judged_in_the_same_minutes(world):
    world.deploy(1)

    placed = world.deploy(2)

    assert placed.verdict.ok
    assert [step["step"] for step in placed.tables["Steps"]] == ["10%", "50%", "100%"]
    assert [(step["requests"], step["requests of the former"]) for step in placed.tables["Steps"]] == [
        (10_001, 90_009),
        (50_005, 50_005),
        (100_010, 0),
    ]
    assert world.traffic == {"2": 100}
    assert world.percent is None
    assert world.time.now >= 3 * 60


def test_one_version_makes_one_revision_however_many_steps_it_takes(world):
    world.deploy(1)
    world.deploy(2)

    assert list(world.cluster.controller.revisions("default", "flights").values()) == [f"{BUCKET}/1", f"{BUCKET}/2"]


def test_deploying_twice_changes_nothing(world):
    world.deploy(1)
    world.deploy(2)
    before = world.live

    placed = world.deploy(2)

    assert not placed.changed
    assert world.live == before


def test_a_version_that_fails_more_requests_is_taken_back(world):
    world.deploy(1)
    world.served["2"] = (100_000, 0.05, 30)

    placed = world.deploy(2)

    assert not placed.verdict.ok
    assert placed.verdict.why.startswith("500 of 10,001 requests failed")
    assert world.traffic == {"1": 100}
    assert world.target().current().version == "1"
    assert placed.facts["in service"] == "1"
    assert len(placed.tables["Steps"]) == 1


def test_more_errors_than_the_former_version_take_it_back_though_both_keep_the_bar(world):
    world.served = {"1": (100_000, 0.001, 30), "2": (100_000, 0.015, 30)}
    world.deploy(1)

    placed = world.deploy(2)

    assert [check.name for check in placed.verdict.failed] == ["no more errors than the former version"]
    assert world.traffic == {"1": 100}


def test_errors_that_both_versions_have_are_not_the_new_ones_fault(world):
    world.served = {"1": (100_000, 0.01, 30), "2": (100_000, 0.01, 30)}
    world.deploy(1)

    assert world.deploy(2).verdict.ok


@pytest.mark.parametrize(("milliseconds", "said"), [(900, "at most 500 ms"), (140, "times the former's")])
def test_a_slow_version_is_taken_back(world, milliseconds, said):
    world.deploy(1)
    world.served["2"] = (100_000, 0.0, milliseconds)

    placed = world.deploy(2)

    assert any(said in check.name for check in placed.verdict.failed)
    assert world.traffic == {"1": 100}


def test_errors_that_come_only_with_all_the_traffic_take_it_back_too(world):
    world.deploy(1)
    world.served["2"] = (100_000, 0.0, 30)
    world.prometheus.served = lambda revision, seconds: (5000, 500, 30) if world.percent == 100 else (5000, 0, 30)

    placed = world.deploy(2)

    assert [step["result"] for step in placed.tables["Steps"]] == ["pass", "pass", "fail"]
    assert world.traffic == {"1": 100}
    assert world.target().current().version == "1"


def test_too_few_requests_judge_nothing_and_hold_the_step(world):
    world.deploy(1)
    world.served["2"] = (200, 0.0, 30)
    world.time.alarms.append((world.time.now + 140, lambda: world.served.update({"2": (100_000, 0.0, 30)})))

    placed = world.deploy(2)

    assert placed.verdict.ok
    steps = placed.tables["Steps"]
    assert [step["result"] for step in steps] == ["undecided", "undecided", "pass", "pass", "pass"]
    assert steps[0]["why"] == "20 requests in 1 min judge nothing, 300 would"


def test_a_step_that_is_never_decided_is_taken_back_when_patience_ends(world):
    world.deploy(1)
    world.served["2"] = (200, 0.0, 30)
    began = world.time.now

    placed = world.deploy(2)

    assert [check.result for check in placed.checks] == ["undecided"]
    assert not placed.verdict.ok
    assert "hold longer" in placed.checks[0].remedy
    assert 360 <= world.time.now - began < 500
    assert world.traffic == {"1": 100}


def test_a_few_requests_that_all_fail_are_enough(world):
    world.deploy(1)
    world.served["2"] = (200, 1.0, 30)

    placed = world.deploy(2)

    assert placed.verdict.why.startswith("20 of 20 requests failed")


def test_a_version_that_never_gets_ready_is_taken_back_and_what_kserve_says_is_said(world):
    world.deploy(1)
    world.cluster.controller.broken.add(f"{BUCKET}/2")

    placed = world.deploy(2)

    assert "not ready within 10 min: RevisionFailed: pods are not ready" in placed.verdict.why
    assert world.traffic == {"1": 100}


def test_a_model_that_does_not_load_is_not_waited_for(world):
    world.deploy(1)
    world.cluster.controller.unloadable.add(f"{BUCKET}/2")
    began = world.time.now

    placed = world.deploy(2)

    assert "does not load: ModelLoadFailed: No module named 'flywheel'" in placed.verdict.why
    assert world.time.now - began < 60 + 100  # the wait until the former has all traffic again included
    assert world.traffic == {"1": 100}


def test_a_first_version_that_never_gets_ready_leaves_nothing_behind(world):
    world.cluster.controller.broken.add(f"{BUCKET}/1")

    placed = world.deploy(1)

    assert not placed.verdict.ok
    assert world.live is None


def test_after_a_version_was_taken_back_the_next_one_is_compared_with_the_one_in_service(world):
    world.deploy(1)
    world.served["2"] = (100_000, 0.05, 30)
    world.deploy(2)

    placed = world.deploy(3)

    assert placed.verdict.ok
    assert placed.tables["Steps"][0]["requests of the former"] == 90_009
    assert world.traffic == {"3": 100}


def test_what_was_taken_back_is_tried_again_when_it_is_run_again(world):
    world.deploy(1)
    world.served["2"] = (100_000, 0.05, 30)
    world.deploy(2)
    world.served["2"] = (100_000, 0.0, 30)

    assert world.deploy(2).verdict.ok
    assert world.traffic == {"2": 100}


def test_the_way_back_to_an_earlier_version_has_no_steps(world):
    world.deploy(1)
    world.deploy(2)
    began = world.time.now

    placed = world.deploy(1)

    assert placed.verdict.ok
    assert world.traffic == {"1": 100}
    assert world.time.now - began < 60


def test_a_rollback_while_a_canary_runs_ends_it(world):
    world.deploy(1)

    def roll_back():
        world.deploy(1)

    world.time.alarms.append((world.time.now + 30, roll_back))
    with pytest.raises(ServingError, match="the champion is version 1"):
        world.deploy(2)

    assert world.traffic == {"1": 100}
    assert world.target().current().version == "1"


def test_a_newer_champion_takes_over_while_a_canary_runs(world):
    world.deploy(1)
    world.time.alarms.append((world.time.now + 30, lambda: world.deploy(3)))

    with pytest.raises(ServingError, match="the champion is version 3"):
        world.deploy(2)

    assert world.traffic == {"3": 100}


def test_of_two_first_deployments_at_once_the_champion_stays(world):
    """There is no resource version to be fenced by: the one that came late overwrites, and is overwritten."""
    late = world.promote(1).deployment
    world.cluster.controller.delay = 6
    service = InferenceService(world.settings(), "flights", world.kubernetes.api())
    world.time.alarms.append((8, lambda: service.apply(late, f"{BUCKET}/1", None, None, "", None)))

    assert world.deploy(2).verdict.ok
    assert world.traffic == {"2": 100}


def test_a_version_that_is_not_the_champion_any_more_is_refused(world):
    old = world.promote(1)
    world.deploy(2)

    with pytest.raises(ServingError, match="the champion is version 2 of '2013-06-02' by now"):
        world.target().put(old)
    assert world.traffic == {"2": 100}


def test_a_change_underneath_is_a_conflict_and_the_registry_is_asked_again(world):
    world.deploy(1)
    late = world.promote(2)

    def quicker():
        world.promote(3)
        world.cluster.edit("flights", ("metadata", "labels", "team"), "data")

    world.cluster.before_write = quicker

    with pytest.raises(ServingError, match="the champion is version 3"):
        world.target().put(late)
    assert world.live["spec"]["predictor"]["model"]["storageUri"] == f"{BUCKET}/1"


def test_a_change_that_has_nothing_to_do_with_it_is_read_and_left_as_it_is(world):
    world.deploy(1)
    world.cluster.before_write = lambda: world.cluster.edit("flights", ("metadata", "labels", "team"), "data")

    assert world.deploy(2).verdict.ok
    assert world.live["metadata"]["labels"] == {"team": "data"}


def test_a_field_that_somebody_else_took_over_is_not_taken_back_silently(world):
    world.deploy(1)
    world.cluster.edit("flights", ("spec", "predictor", "minReplicas"), 7)

    with pytest.raises(
        ServingError, match=r"kubectl-edit.*minReplicas[\s\S]*--field-manager=flywheel --force-conflicts"
    ):
        world.deploy(2)
    assert world.traffic == {"1": 100}


@pytest.mark.parametrize("bad", [False, True])
def test_killed_at_any_write_and_run_again_it_ends_in_the_same_state(world, bad):
    """Every call to the API server is a place to die, before it and after it."""
    world.deploy(1)
    if bad:
        world.served["2"] = (100_000, 0.05, 30)
    deaths, call = 0, InferenceService._call
    for after in (False, True):
        for die_at in range(200):
            calls = iter(range(10**6))

            def deadly(self, method, *given, calls=calls, die_at=die_at, after=after):
                if method == "GET":
                    return call(self, method, *given)
                mine = next(calls) == die_at
                if mine and not after:
                    raise Killed
                answer = call(self, method, *given)
                if mine:
                    raise Killed
                return answer

            target = world.target()
            target._service._call = deadly.__get__(target._service)
            try:
                target.put(world.promote(2))
            except Killed:
                deaths += 1
            else:
                break
            world.target().put(world.order(world.champion))

            assert world.traffic == ({"1": 100} if bad else {"2": 100})
            world.cluster.clear()
            world.deploy(1)
    assert deaths >= 4


def test_a_prometheus_that_is_down_is_said_before_anything_is_changed(world):
    world.deploy(1)
    world.prometheus.down = True

    with pytest.raises(ServingError, match=r"answers 503[\s\S]*check `deploy\.metrics`"):
        world.deploy(2)
    assert world.percent is None
    assert world.traffic == {"1": 100}


def test_a_prometheus_that_dies_meanwhile_holds_the_step_until_patience_ends(world):
    world.deploy(1)
    world.time.alarms.append((world.time.now + 30, lambda: setattr(world.prometheus, "down", True)))

    placed = world.deploy(2)

    assert [check.name for check in placed.verdict.undecided] == ["metrics"]
    assert world.traffic == {"1": 100}


def test_an_api_server_that_stumbles_is_asked_again(world):
    world.kubernetes.refuse(503, times=2)

    assert world.deploy(1).verdict.ok


@pytest.mark.parametrize(
    ("code", "times", "message", "remedy"),
    [
        (503, 99, "etcd is down", "mend what the API server names"),
        (403, 1, "cannot patch resource", "get, patch and delete on inferenceservices"),
        (422, 1, "admission webhook denied", "mend what the API server names"),
    ],
)
def test_an_api_server_that_refuses_is_a_clear_error(world, code, times, message, remedy):
    world.kubernetes.refuse(code, times, message)

    with pytest.raises(ServingError, match=rf"{message}[\s\S]*{remedy}"):
        world.deploy(1)


def test_a_cluster_without_kserve_says_so(world, monkeypatch):
    monkeypatch.setattr("flywheel.serving.targets.inference_service.GROUP", "serving.example.com")

    with pytest.raises(ServingError, match="install KServe"):
        world.deploy(1)


def test_a_cluster_that_is_not_there_says_so(world):
    world.kubernetes.__exit__()

    with pytest.raises(ServingError, match="does not answer"):
        world.deploy(1)


def test_the_cluster_is_found_by_the_kubeconfig(world, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
        str(world.kubernetes.kubeconfig(tmp_path / "config")),
    )
    world.deploy(1)

    assert Target(world.settings(context="here"), "flights").current().version == "1"
    with pytest.raises(ServingError, match=r"deploy\.context"):
        Target(world.settings(context="elsewhere"), "flights")


@pytest.mark.parametrize("uri", ["/srv/mlartifacts/1", "file:///srv/mlartifacts/1", "mlflow-artifacts:/1/models/m-1"])
def test_a_model_that_a_cluster_cannot_read_is_a_clear_error(world, uri):
    with pytest.raises(ServingError, match="keep MLflow's artifacts where a cluster can: gs://, s3://"):
        readable(uri)


def test_what_is_applied_is_of_kserves_schema(world):
    """The stand-in refuses what is not: here is what it says."""
    world.kubernetes.plays("strict validation before Kubernetes 1.25")
    settings = world.settings(limits={"memory": "1Gi"})
    service = InferenceService(settings, "flights", world.kubernetes.api())
    service._spec = lambda uri, percent: {"predictor": {"model": {"storageURI": uri}}}

    with pytest.raises(ServingError, match="storageURI"):
        Target(settings, "flights", service, None, world.time, world.time.sleep).put(world.promote(1))
    assert json.dumps(world.live) == "null"
