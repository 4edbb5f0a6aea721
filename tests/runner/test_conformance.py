"""Every construct, as this kfp and as the newest kfp compiles it, comes out as the backend's documentation says."""

import json
from pathlib import Path

import pytest

from flywheel.runner.result import Artifact

from .conformance import CASES

GOLDEN = Path(__file__).parent.parent / "golden" / "runner"
LOCAL = json.loads((GOLDEN / "kfp_local.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_a_construct_that_this_kfp_compiles_comes_out_right(run, name):
    check(run(CASES[name]["pipeline"], CASES[name]["arguments"]), CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_a_construct_that_the_newest_kfp_compiles_comes_out_right(run, name):
    check(run(GOLDEN / f"{name}.yaml", CASES[name]["arguments"]), CASES[name])


def check(result, case):
    assert result.status == case["status"], [str(task.error) for task in result.failed]
    assert {name: value for name, value in result.outputs.items() if not isinstance(value, Artifact)} == case["outputs"]
    for name, state in case["states"].items():
        assert result.tasks[name].state == state


@pytest.mark.parametrize("name", CASES)
def test_where_kfps_own_local_mode_differs_it_is_said_why(name):
    outcome, case = LOCAL["outcomes"][name], CASES[name]
    same = outcome["status"] == case["status"] and (
        outcome["status"] == "FAILED" or outcome["outputs"] == case["outputs"]
    )

    assert same == (case["local"] is None), outcome


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)
