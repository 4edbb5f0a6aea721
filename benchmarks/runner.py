# ruff: noqa: D103
"""What a step costs in the runner, beside kfp's own local mode in the same run.

KFP_PYTHON may name a Python with another kfp: then that one's local mode is a peer too.
"""
# kfp cannot read postponed annotations, so there are none here.

import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from kfp import dsl

from benchmarks import Figure, figure
from flywheel.runner import run

SMALL = {"base_image": "python:3.11", "install_kfp_package": False}
STEPS = 100


@dsl.component(**SMALL)
def trivial(value: int) -> int:
    return value


@dsl.component(**SMALL)
def one_second(number: int) -> int:
    from time import sleep

    sleep(1)
    return number


@dsl.component(**SMALL)
def heavy(number: int) -> int:
    import tensorflow  # noqa: F401
    import tensorflow_data_validation  # noqa: F401
    import tensorflow_model_analysis  # noqa: F401

    return number


@dsl.component(**SMALL)
def large(out: dsl.Output[dsl.Dataset]):
    import os

    with open(out.path, "wb") as file:
        for _ in range(1024):
            file.write(os.urandom(1 << 20))


@dsl.component(**SMALL)
def measure(data: dsl.Input[dsl.Dataset]) -> int:
    import os

    return os.path.getsize(data.path)


@dsl.pipeline
def chain():
    last = trivial(value=0)
    for _ in range(STEPS - 1):
        last = trivial(value=last.output)


@dsl.pipeline
def fan():
    for number in range(STEPS):
        trivial(value=number)


@dsl.pipeline
def four():
    for number in range(4):
        one_second(number=number)


@dsl.pipeline
def imports(number: int):
    heavy(number=number)


@dsl.pipeline
def sized():
    measure(data=large().output)


PEER = textwrap.dedent('''
    import json, sys, time, contextlib
    from kfp import dsl, local
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[1])

    @dsl.component(base_image="python:3.11", install_kfp_package=sys.argv[2] == "default")
    def trivial(value: int) -> int:
        return value

    @dsl.component(base_image="python:3.11", install_kfp_package=False)
    def heavy(value: int) -> int:
        import tensorflow, tensorflow_data_validation, tensorflow_model_analysis
        return value

    step, count = (heavy if sys.argv[2] == "heavy" else trivial), int(sys.argv[3])
    seconds = []
    for number in range(count):
        started = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):
            step(value=number)
        seconds.append(time.perf_counter() - started)
    print(json.dumps(seconds))
''')  # fmt: skip


def peer(kind: str, count: int, python: str = sys.executable) -> float:
    """Return the median seconds that a step takes in kfp's local mode.

    Args:
        kind: `best` (nothing to install), `default` (as kfp compiles by default) or `heavy` (imports TensorFlow).
        count: How many steps to run.
        python: The Python whose kfp it is.
    """
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "peer.py").write_text(PEER)
        command = [python, f"{folder}/peer.py", folder, kind, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path}, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return statistics.median(json.loads(done.stdout.splitlines()[-1]))


def figures() -> list[Figure]:
    """Return all figures of the runner."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        return [*_steps(root), *_parallel(root), *_heavy(root), *_lookup(root)]


def _timed(pipeline, root, **options):
    result = run(pipeline, options.pop("arguments", {}), root=root, **options).raise_if_failed()
    return result, result.seconds * 1000


def _steps(root: Path) -> list[Figure]:
    """Time trivial steps one after another, and beside each other."""
    _timed(chain, root, cache=False)
    in_chain = statistics.median(_timed(chain, root, cache=False)[1] / STEPS for _ in range(3))
    in_fan = statistics.median(_timed(fan, root, cache=False)[1] / STEPS for _ in range(3))
    best, default = peer("best", 15) * 1000, peer("default", 5) * 1000
    bare, stock = "kfp.local, nothing to install", "kfp.local as it comes"
    found = [
        figure("step in a chain", in_chain, "ms", at_most=min(40, best), peer=bare, peer_value=best),
        figure("step in a chain, by default", in_chain, "ms", at_most=default / 15, peer=stock, peer_value=default),
        figure("step in a fan", in_fan, "ms", at_most=min(40, best), peer=bare, peer_value=best),
    ]
    newest = os.environ.get("KFP_PYTHON")
    if newest:
        best, default = peer("best", 10, newest) * 1000, peer("default", 5, newest) * 1000
        name = "step in a chain, beside the newest kfp"
        found += [
            figure(name, in_chain, "ms", at_most=min(40, best), peer=bare, peer_value=best),
            figure(f"{name}, by default", in_chain, "ms", at_most=default / 15, peer=stock, peer_value=default),
        ]
    return found


def _parallel(root: Path) -> list[Figure]:
    """Time steps that only wait."""
    value = statistics.median(_timed(four, root, jobs=4, cache=False)[1] / 1000 for _ in range(3))
    return [figure("four one-second steps, 4 jobs", value, "s", at_most=1.4)]


def _heavy(root: Path) -> list[Figure]:
    """Time a step that imports the TensorFlow family, once it is loaded."""
    _timed(imports, root, arguments={"number": 0}, cache=False)
    value = statistics.median(
        _timed(imports, root, arguments={"number": number}, cache=False)[0].tasks["heavy"].seconds * 1000
        for number in range(5)
    )
    name, theirs = "step that imports the TensorFlow family", peer("heavy", 1) * 1000
    return [figure(name, value, "ms", at_most=theirs / 30, peer="kfp.local, nothing to install", peer_value=theirs)]


def _lookup(root: Path) -> list[Figure]:
    """Time how long a step takes that is in the cache and whose input is 1 GB, digested in an earlier run."""
    _timed(sized, root)
    found = [_timed(sized, root)[0].tasks["measure"] for _ in range(5)]
    assert all(task.state == "CACHED" for task in found)
    value = statistics.median(task.seconds * 1000 for task in found)
    return [figure("cache lookup, 1 GB input", value, "ms", at_most=20)]
