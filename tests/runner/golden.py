# ruff: noqa: T201
"""Compile the conformance pipelines by the kfp that runs this, and note what its local mode makes of them.

Run it by hand in an environment with the newest kfp supported; `test_conformance` runs what it writes:

    python tests/runner/golden.py tests/golden/runner
"""

import contextlib
import json
import re
import sys
import tempfile
from pathlib import Path

import conformance
import kfp
from kfp import compiler, local


def outcome(case, folder):
    """Return what kfp's own local mode gives for a case: its outputs, or the error."""
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=folder, raise_on_error=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            task = case["pipeline"](**case["arguments"])
        outputs = {name: value for name, value in task.outputs.items() if isinstance(value, str | int | float | bool)}
    except BaseException as error:
        text = re.sub(r"\x1b\[\d+m", "", str(error))
        return {"status": "FAILED", "error": f"{type(error).__name__}: {text[:200]}"}
    return {"status": "SUCCEEDED", "outputs": outputs}


def main(target):
    target.mkdir(parents=True, exist_ok=True)
    outcomes = {}
    for name, case in conformance.CASES.items():
        compiler.Compiler().compile(case["pipeline"], str(target / f"{name}.yaml"))
        with tempfile.TemporaryDirectory() as folder:
            outcomes[name] = outcome(case, folder)
        print(name, outcomes[name])
    told = {"kfp": kfp.__version__, "outcomes": outcomes}
    (target / "kfp_local.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
