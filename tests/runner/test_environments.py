"""Steps that want more than is here: packages, containers, cores, GPUs, a debugger."""

import json
import os
import sys

import pytest
from kfp import dsl

from flywheel.runner import containers, plan, program
from flywheel.runner.debug import debug_job
from flywheel.runner.environments import is_satisfied
from flywheel.runner.errors import ArgumentError
from flywheel.runner.machine import Cost, Machine
from flywheel.runner.spec import Container

from .components import SMALL, write


@pytest.fixture
def wheel(tmp_path):
    """Make a wheel of a tiny package, so that no index is asked."""
    import zipfile

    folder = tmp_path / "wheels"
    folder.mkdir()
    name = "flywheel_test_toy-1.0"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as file:
        file.writestr("flywheel_test_toy.py", "ANSWER = 42\n")
        file.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: flywheel-test-toy\nVersion: 1.0\n")
        file.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}.dist-info/RECORD", "")
    return folder


def test_packages_that_are_missing_are_put_into_an_environment_made_once(run, wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel))

    @dsl.component(packages_to_install=["flywheel-test-toy==1.0"], **SMALL)
    def answer(number: int) -> str:
        import sys

        import flywheel_test_toy

        return f"{flywheel_test_toy.ANSWER + number} {sys.prefix}"

    @dsl.pipeline
    def answering(number: int) -> str:
        return answer(number=number).output

    first, second = (run(answering, {"number": number}) for number in (0, 1))

    assert first.ok, first.tasks["answer"].error
    assert [result.outputs["Output"].split()[0] for result in (first, second)] == ["42", "43"]
    [venv] = [path for path in (tmp_path / "root" / "venvs").iterdir() if path.is_dir()]
    assert second.outputs["Output"].endswith(str(venv))


def test_packages_that_cannot_be_had_fail_the_step_with_what_pip_said(run, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")

    @dsl.component(packages_to_install=["flywheel-test-none"], **SMALL)
    def never():
        pass

    @dsl.pipeline
    def trying():
        never()

    error = run(trying).tasks["never"].error

    assert error.type == "EnvironmentFailed"
    assert "No matching distribution found for flywheel-test-none" in str(error)


@pytest.mark.parametrize(
    ("requirement", "satisfied"),
    [
        ("kfp", True),
        ("kfp>=2", True),
        ("kfp==1.0", False),
        ("none-such", False),
        ("kfp @ file:///x", False),
        ("?", False),
    ],
)
def test_what_is_installed_here_needs_no_environment(requirement, satisfied):
    assert is_satisfied(requirement) is satisfied


def test_packages_and_pip_options_are_read_from_the_compiled_command():
    @dsl.component(
        base_image="python:3.11",
        packages_to_install=["numpy", "pandas>=1,<3"],
        pip_index_urls=["https://one.example/simple", "https://two.example/simple"],
    )
    def with_packages():
        pass

    spec = with_packages.pipeline_spec
    from flywheel.runner.parse import load

    [(_, container)] = plan.steps_of(load(with_packages))
    found = program.program_of(container)

    assert spec is not None
    assert found.packages == ("numpy", "pandas>=1,<3")
    assert found.pip_options[:2] == ("--index-url", "https://one.example/simple")


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Put a container engine on the path that runs commands without a container, and notes what it was asked."""
    (tmp_path / "docker").write_text(f"#!/bin/sh\nexec '{sys.executable}' '{tmp_path}/engine.py' \"$@\"\n")
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "engine.py").write_text(
        f"""import json, os, subprocess, sys
words = sys.argv[1:]
with open({str(tmp_path / "asked")!r}, "a") as file:
    file.write(json.dumps(words) + "\\n")
if words[0] == "run":
    entry = words[words.index("--entrypoint") + 1]
    rest = words[words.index("toy-image") + 1:]
    sys.exit(subprocess.call([entry, *rest]))
print("{{}}")
"""
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    containers.find_engine.cache_clear()
    yield lambda: [json.loads(line) for line in (tmp_path / "asked").read_text().splitlines()]
    containers.find_engine.cache_clear()


@dsl.container_component
def shout(word: str, data: dsl.Input[dsl.Dataset], loud: dsl.OutputPath(str), copy: dsl.Output[dsl.Dataset]):
    return dsl.ContainerSpec(
        image="toy-image",
        command=["sh", "-c", 'mkdir -p "$(dirname "$1")"; printf "%s%s%s" "$0" "$3" "$SECRET" > "$1"; cp "$4" "$2"'],
        args=[
            dsl.ConcatPlaceholder([word, "!"]),
            loud,
            copy.path,
            dsl.IfPresentPlaceholder("word", "?", "-"),
            data.path,
        ],
    )


@dsl.pipeline
def shouting(word: str) -> str:
    task = shout(word=word, data=write(text="x").output)
    task.set_env_variable("SECRET", "s3cret")
    return task.outputs["loud"]


def test_a_container_component_runs_through_the_engine(run, engine):
    result = run(shouting, {"word": "hey"})

    assert result.ok, result.tasks["shout"].error
    assert result.outputs == {"Output": "hey!?s3cret"}
    assert result.tasks["shout"].artifacts["copy"].path.read_text() == "x"
    [asked] = [words for words in engine() if words[0] == "run"]
    assert "s3cret" not in " ".join(asked)
    assert f"{result.folder}:{result.folder}" in asked


def test_a_container_that_fails_is_cleaned_up_and_leaves_nothing(run, engine):
    @dsl.container_component
    def broken():
        return dsl.ContainerSpec(image="toy-image", command=["sh", "-c", "echo oh no; exit 3"])

    @dsl.pipeline
    def breaking():
        broken()

    result = run(breaking)

    assert "exit code 3" in str(result.tasks["broken"].error)
    assert "oh no" in result.tasks["broken"].error.log
    assert [words[0] for words in engine()][-1] == "rm"


def test_cores_and_gpus_are_taken_and_given_back_and_never_oversubscribed():
    machine = Machine(4, ("0", "1"), shares_gpus=False)
    wide = machine.take(Container("a", "image", cores=3, gpus=1))

    assert wide == Cost(3, ("0",))
    assert machine.take(Container("b", "image", cores=2)) == "cores"
    assert machine.take(Container("c", "image", cores=1, gpus=2)) == "gpus"
    assert machine.environment(wide) == {"CUDA_VISIBLE_DEVICES": "0"}
    machine.give_back(wide)
    assert machine.take(Container("d", "image", cores=64, gpus=9)) == Cost(4, ("1", "0"))
    assert Machine(4, ("0",)).environment(Cost(1)) == {}
    assert machine.environment(Cost(1)) == {"CUDA_VISIBLE_DEVICES": ""}


def test_a_step_under_the_debugger_runs_in_this_process(run, capsys):
    @dsl.component(**SMALL)
    def where() -> int:
        import os

        return os.getpid()

    @dsl.pipeline
    def looking() -> int:
        return where().output

    assert run(looking, debug="where").outputs == {"Output": os.getpid()}
    with pytest.raises(ArgumentError, match=r"no task 'were' to debug; did you mean 'where'\?"):
        run(looking, debug="were")


def test_the_debugger_opens_where_a_step_fails(tmp_path):
    (tmp_path / "ephemeral_component.py").write_text("def wrong(x: int):\n    y = x - 1\n    return 1 / y\n")
    outputs = {"outputFile": str(tmp_path / "out.json")}
    job = {
        "id": "run/wrong#1", "program": str(tmp_path), "function": "wrong", "cwd": str(tmp_path), "env": {},
        "digests": "", "executor_input": {"inputs": {"parameterValues": {"x": 1}}, "outputs": outputs},
    }  # fmt: skip
    seen = []

    ended = debug_job(job, post_mortem=seen.append)

    assert ended.status == 1
    assert seen[0].tb_frame.f_locals["y"] == 0
    assert ended.error["type"] == "ZeroDivisionError"


def test_a_step_that_takes_longer_than_its_timeout_is_stopped(run, tmp_path):
    from kfp import compiler, kubernetes

    from .components import nap

    @dsl.pipeline
    def sleeping():
        kubernetes.set_timeout(nap(seconds=30.0), 1)

    compiler.Compiler().compile(sleeping, str(tmp_path / "sleeping.yaml"))

    for pipeline in (tmp_path / "sleeping.yaml", sleeping):
        result = run(pipeline)
        assert result.seconds < 10
        assert "longer than the 1 s" in str(result.tasks["nap"].error)
