"""What every test runs under: quiet libraries, nothing sent home, and the same random numbers each time."""

import os
import sys

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")
for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(variable, None)  # a developer's own tracking server is not for tests

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

settings.register_profile("flywheel", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("flywheel")

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
