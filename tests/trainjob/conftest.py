"""A job of two nodes and the stand-in cluster that it runs on."""

import pytest

from flywheel.config import Resources
from flywheel.trainjob.cluster import Cluster
from flywheel.trainjob.follow import Followed
from flywheel.trainjob.manifest import Plan
from tests.stand_ins.kubernetes import SERVERS


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=SERVERS)
def kubernetes(request):
    with request.param() as server:
        yield server


@pytest.fixture
def cluster(kubernetes, clock):
    from kubernetes.client import ApiClient, Configuration

    settings = Configuration(host=kubernetes.url)
    settings.retries = False  # what is tried again is ours to say
    return Cluster(ApiClient(settings), "team", patience=60, sleep=clock.sleep, clock=clock)


@pytest.fixture
def plan():
    def make(**asked):
        asked = Resources(nodes=2, volume={"claim": "shared"}, **asked)
        return Plan(
            "flights-0a1b2c3d4e", asked, "flywheel/gpu:latest", ("python", "-m", "flywheel.steps.nodes", "spec")
        )

    return make


@pytest.fixture
def follow(cluster, clock):
    """Follow a plan to its end and return what was told."""

    def run(plan):
        told = []
        try:
            Followed(cluster, plan, every=1.0, clock=clock, tell=told.append).run()
        finally:
            run.told = told
        return told

    return run
