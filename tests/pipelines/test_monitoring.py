import os
from pathlib import Path

import pytest
import yaml

from flywheel import config
from flywheel.kubeflow.compile import compile_monitoring

kfp = pytest.importorskip("kfp")

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
GOLDEN = Path(__file__).parents[1] / "golden"
FAMILY = ".".join(kfp.__version__.split(".")[:2])


def compiled(tmp_path):
    labels = (FLIGHTS / "labels.sql").read_text()
    return compile_monitoring(config.load(FLIGHTS), tmp_path / "p.yaml", labels).read_text()


def test_the_monitoring_of_the_flights_compiles_to_the_golden_file(tmp_path):
    """Set FLYWHEEL_GOLDEN=write to accept a change."""
    found = compiled(tmp_path)
    golden = GOLDEN / f"flights-monitoring-kfp{FAMILY}.yaml"
    if os.environ.get("FLYWHEEL_GOLDEN") == "write":
        golden.write_text(found)
    if not golden.exists():
        pytest.skip(f"no golden file for kfp {FAMILY}")

    assert found == golden.read_text()


def test_a_look_is_never_taken_from_a_cache(tmp_path):
    spec = yaml.safe_load(compiled(tmp_path))
    (guarded,) = [each["dag"]["tasks"] for each in spec["components"].values() if "dag" in each]

    assert "enableCache" not in guarded["monitor"]["cachingOptions"]


def test_secrets_of_channels_come_from_kubernetes_and_stand_in_no_file(tmp_path):
    notify = "{channels: [{to: slack, secret: alerts}], link: 'https://kfp/#/runs/details/{job}'}"
    project = config.load(FLIGHTS, overrides=[f"notify={notify}"])
    _, platforms = yaml.safe_load_all(compile_monitoring(project, tmp_path / "p.yaml").read_text())

    executor = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-conclude"]
    (secret,) = executor["secretAsEnv"]
    assert secret["keyToEnv"] == [{"envVar": "SLACK_WEBHOOK", "secretKey": "SLACK_WEBHOOK"}]
