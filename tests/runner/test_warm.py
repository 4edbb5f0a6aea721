"""What the warm server loads before it forks, and what it does with modules that do not take to that."""

import os
import time

import pytest
from kfp import dsl

from flywheel.runner.program import imports_of
from flywheel.runner.server import load
from flywheel.runner.warm import borrow

from .components import SMALL


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Write modules into a folder that steps import from."""

    def write(**sources):
        for name, source in sources.items():
            (tmp_path / f"{name}.py").write_text(source)

    monkeypatch.chdir(tmp_path)
    return write


def ask(module):
    """Make a pipeline whose step tells what the module says, and in which process it was loaded."""
    source = f"""
from kfp import dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def told() -> str:
    import {module}
    import os
    return f"{{{module}.SAYS}} {{'here' if {module}.PID == os.getpid() else 'before'}}"

@dsl.pipeline
def asking() -> str:
    return told().output
"""
    return source


def compiled(module, tmp_path):
    from kfp import compiler

    (tmp_path / f"asking_{module}.py").write_text(ask(module))
    import importlib.util

    spec = importlib.util.spec_from_file_location(f"asking_{module}", tmp_path / f"asking_{module}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    compiler.Compiler().compile(found.asking, str(tmp_path / f"{module}.yaml"))
    return tmp_path / f"{module}.yaml"


def test_what_a_step_imports_is_loaded_once_before_it_is_forked(run, modules, tmp_path):
    modules(plain_one="import os\nSAYS, PID = 'hello', os.getpid()\n")

    assert run(compiled("plain_one", tmp_path)).outputs == {"Output": "hello before"}


def test_a_module_that_starts_threads_is_left_to_the_step(run, modules, tmp_path):
    modules(
        threaded_one="""
import os, threading, time
SAYS, PID = 'threads', os.getpid()
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
    )

    assert run(compiled("threaded_one", tmp_path)).outputs == {"Output": "threads here"}


@pytest.mark.parametrize("how", ["os._exit(3)", "__import__('ctypes').string_at(0)"])
def test_a_module_that_crashes_on_import_fails_its_step_alone(run, modules, tmp_path, how):
    name = f"crashing_{len(how)}"
    modules(**{name: f"import os\nSAYS, PID = '', os.getpid()\n{how}\n"})

    result = run(compiled(name, tmp_path))

    assert result.tasks["told"].state == "FAILED"
    assert "exit code 3" in str(result.tasks["told"].error) or "SIGSEGV" in str(result.tasks["told"].error)


def test_a_module_that_is_missing_or_raises_is_the_steps_own_error(run, modules, tmp_path):
    modules(raising_one="raise OSError('not today')")

    error = run(compiled("raising_one", tmp_path)).tasks["told"].error

    assert str(error) == "OSError: not today"
    assert str(run(compiled("missing_one", tmp_path)).tasks["told"].error).startswith("ModuleNotFoundError")


def test_a_module_that_was_edited_is_loaded_again(run, modules, tmp_path):
    path = tmp_path / "edited_one.py"
    modules(edited_one="import os\nSAYS, PID = 'old', os.getpid()\n")
    pipeline = compiled("edited_one", tmp_path)
    old = run(pipeline, cache=False)
    modules(edited_one="import os\nSAYS, PID = 'new!', os.getpid()\n")
    os.utime(path, (time.time() + 5, time.time() + 5))

    assert (old.outputs, run(pipeline, cache=False).outputs) == ({"Output": "old before"}, {"Output": "new! before"})


def test_modules_declare_what_else_to_load(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "declaring_one.py").write_text("PRELOAD = ('declared_one', 'not_there')\n")
    (tmp_path / "declared_one.py").write_text("")
    told = []

    load([["declaring_one"]], lambda **message: told.append(message))

    loaded = {message["module"]: message["error"] for message in told if message["event"] == "loaded"}
    assert loaded["declaring_one"] == loaded["declared_one"] == ""
    assert loaded["not_there"].startswith("ModuleNotFoundError")
    assert told[-1]["event"] == "ready"


def test_imports_are_found_wherever_they_stand():
    source = "import os, numpy\nfrom kfp import dsl\ndef f():\n    from a.b import c\n    import d.e as x\n"

    assert set(imports_of(source)) == {"numpy", "a.b", "d.e"}
    assert imports_of("def f(:") == ()


def test_a_lost_server_fails_the_step_that_ran_in_it_and_the_next_run_starts_another(run, tmp_path):
    @dsl.component(**SMALL)
    def kill_the_server():
        import os
        import signal
        import time

        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(5)

    @dsl.pipeline
    def killing():
        kill_the_server()

    @dsl.component(**SMALL)
    def fine() -> int:
        return 1

    @dsl.pipeline
    def living() -> int:
        return fine().output

    result = run(killing)

    assert "lost" in str(result.tasks["kill-the-server"].error)
    assert run(living).outputs == {"Output": 1}


def test_a_server_outlives_a_run():
    with borrow() as first:
        pass
    with borrow() as second:
        assert second is first
