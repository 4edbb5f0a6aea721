"""What every test runs under: quiet libraries, nothing sent home, and the same random numbers each time."""

import os
import sys

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")
# OpenMP's threads spin while they wait: beside another busy worker a fit of 0.2 s took up to a minute.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(variable, None)  # a developer's own tracking server is not for tests

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("flywheel", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("flywheel")


def pytest_collection_modifyitems(config, items):
    """Put the files that take longest first: xdist hands files out in order, and all wait for the last one."""
    weight = {}
    for item in items:
        timeout = item.get_closest_marker("timeout")
        most = float(timeout.args[0] if timeout else config.getini("timeout"))
        is_slow = item.get_closest_marker("slow") is not None
        weight[item.path] = max(weight.get(item.path, (0.0, False)), (most, is_slow))
    items.sort(key=lambda item: weight[item.path], reverse=True)


_status = 0


def pytest_sessionfinish(exitstatus):
    global _status
    _status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Leave at once: with TensorFlow and DuckDB loaded an exit takes seconds and prints what nobody can mend."""
    if not hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_status)
