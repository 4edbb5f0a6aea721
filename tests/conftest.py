"""What every test runs under: quiet libraries, nothing sent home, and the same random numbers each time."""

import os

os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", TF_CPP_MIN_LOG_LEVEL="3")
for variable in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(variable, None)  # a developer's own tracking server is not for tests

from hypothesis import settings  # noqa: E402

settings.register_profile("flywheel", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("flywheel")
