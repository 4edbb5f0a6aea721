"""A compiled pipeline is input from anywhere: what is wrong in it is named, and never does harm."""

import contextlib
import copy
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.errors import FlywheelError
from flywheel.runner.errors import EngineError, PipelineError
from flywheel.runner.graph import MOST_ITEMS
from flywheel.runner.parse import parse

GOLDEN = Path(__file__).parent.parent / "golden" / "runner"
SPEC = yaml.safe_load((GOLDEN / "a_loop_over_an_argument.yaml").read_text())


def edited(change):
    spec = copy.deepcopy(SPEC)
    change(spec)
    return yaml.safe_dump(spec)


def rename_task(name):
    def change(spec):
        tasks = spec["root"]["dag"]["tasks"]
        tasks[name] = tasks.pop("for-loop-1")

    return change


def rename_output(name):
    def change(spec):
        definitions = spec["components"]["comp-int-of"]["outputDefinitions"]
        definitions["artifacts"] = {name: {"artifactType": {"schemaTitle": "system.Artifact"}}}

    return change


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("a: [", "no YAML"),
        ("just text", "expected a mapping"),
        ("- 1\n- 2", "expected a mapping"),
        ("a: 1", "has no `root`"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow", "has no `root`"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: !!python/object/apply:os.system ['true']", "no YAML"),
        ("[" * 5000, "nested too deep|no YAML"),
        ("\x00", "no YAML"),
    ],
)
def test_what_is_no_compiled_pipeline_is_refused(text, problem):
    with pytest.raises(PipelineError, match=problem):
        parse(text)


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/b", "..", "", ".hidden", "a\x00b", "x" * 300, "-"])
def test_names_that_lead_out_of_the_run_folder_are_refused(name):
    for change in (rename_task(name), rename_output(name)):
        with pytest.raises(PipelineError, match=r"not a name that a file can have|no YAML"):
            parse(edited(change))


def set_in(path, value):
    def change(spec):
        for key in path[:-1]:
            spec = spec[key]
        spec[path[-1]] = value

    return change


TASK = ["root", "dag", "tasks", "total"]
VALUES = ["components", "comp-total", "inputDefinitions", "parameters", "values"]
CONTAINER = ["deploymentSpec", "executors", "exec-total", "container"]


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (["surprise"], 1, "pipeline: 'surprise' is not something this runner knows"),
        ([*TASK, "quantum"], {}, r"tasks.total: 'quantum' is not something"),
        ([*TASK, "triggerPolicy"], {"strategy": "SOMETIMES"}, "strategy 'SOMETIMES' is not known"),
        ([*TASK, "componentRef"], {"name": "comp-missing"}, "no component 'comp-missing'"),
        ([*TASK, "dependentTasks"], ["nobody"], "depends on 'nobody'"),
        ([*TASK, "dependentTasks"], ["total"], "tasks wait for each other: total → total"),
        ([*TASK, "dependentTasks"], "for-loop-1", "expected a list"),
        ([*TASK, "retryPolicy"], {"maxRetryCount": -1}, "at least 0"),
        ([*TASK, "retryPolicy"], {"backoffDuration": "soon"}, "a duration like '60s'"),
        ([*TASK, "inputs", "parameters", "values"], {}, "comes from nowhere"),
        ([*TASK, "inputs", "parameters", "values"], {"componentInputParameter": "zz"}, "'zz', which is no input"),
        (["components", "comp-total", "executorLabel"], "exec-missing", "no executor is named 'exec-missing'"),
        ([*VALUES, "parameterType"], "COMPLEX", "'COMPLEX' is not a parameter type"),
        (["deploymentSpec", "executors", "exec-total"], {"customJob": {}}, "only containers and importers"),
        ([*CONTAINER, "command"], [1], "expected strings"),
        ([*CONTAINER, "image"], "--privileged", "not the name of an image"),
        (["schemaVersion"], "9.0", "schemaVersion '9.0' is not known"),
        (["root", "dag", "tasks"], {}, "no tasks"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_named_with_its_place(path, value, problem):
    with pytest.raises(PipelineError, match=problem):
        parse(edited(set_in(path, value)))


def tower(levels, *, closed=False):
    """Return a pipeline of components that each use the next one twice, and the last one the first if `closed`."""
    components = {}
    for depth in range(levels):
        uses = {"componentRef": {"name": f"comp-{depth + 1}"}}
        components[f"comp-{depth}"] = {"dag": {"tasks": {"a": uses, "b": copy.deepcopy(uses)}}}
    back = {"dag": {"tasks": {"a": {"componentRef": {"name": "comp-0"}}}}}
    components[f"comp-{levels}"] = back if closed else {"executorLabel": "exec-int-of"}
    root = {"dag": {"tasks": {"top": {"componentRef": {"name": "comp-0"}}}}}
    return yaml.safe_dump({**SPEC, "components": components, "root": root})


@pytest.mark.parametrize(
    ("levels", "closed", "problem"),
    [(3, True, "contain each other"), (60, False, "more than 50 deep"), (40, False, "more than 100000 tasks")],
)
def test_pipelines_without_end_are_refused_before_they_are_built(levels, closed, problem):
    with pytest.raises(PipelineError, match=problem):
        parse(tower(levels, closed=closed))


def test_a_list_without_end_fails_its_task_in_a_moment(run):
    started = time.monotonic()
    result = run(GOLDEN / "a_loop_over_an_argument.yaml", {"items": [1] * (MOST_ITEMS + 1)})

    assert result.status == "FAILED"
    assert "items, more than" in str(result.tasks["for-loop-1"].error)
    assert time.monotonic() - started < 20


def test_a_condition_is_an_expression_and_never_python(run, tmp_path):
    trap = tmp_path / "trap"
    text = (GOLDEN / "one_of_two_branches.yaml").read_text()
    spec = yaml.safe_load(text)
    branch = spec["components"]["comp-condition-branches-1"]["dag"]["tasks"]["condition-2"]
    branch["triggerPolicy"]["condition"] = f"__import__('pathlib').Path({str(trap)!r}).touch()"
    (tmp_path / "trap.yaml").write_text(yaml.safe_dump(spec))

    result = run(tmp_path / "trap.yaml", {"n": 1})

    assert result.status == "FAILED"
    assert "cannot be evaluated" in str(result.tasks["condition-2"].error)
    assert not trap.exists()


def test_what_a_step_gives_is_data_even_if_it_looks_like_a_placeholder(run):
    text = "{{$.pipeline_job_uuid}} {{$.inputs.parameters['value']}}"

    result = run(GOLDEN / "text_with_values_in_it.yaml", {"n": 5}) and run(_echoing(), {"text": text})

    assert result.outputs == {"Output": f"<{text}>"}


def _echoing():
    from kfp import dsl

    from .components import say

    @dsl.pipeline
    def echoing(text: str) -> str:
        return say(text=f"<{say(text=text).output}>").output

    return echoing


def test_a_container_without_an_engine_is_refused_before_anything_runs(run, tmp_path, monkeypatch):
    from flywheel.runner import plan

    monkeypatch.setattr(plan, "find_engine", lambda: "")
    spec = copy.deepcopy(SPEC)
    spec["deploymentSpec"]["executors"]["exec-total"]["container"]["command"] = ["sh", "-c", "true"]
    (tmp_path / "container.yaml").write_text(yaml.safe_dump(spec))

    with pytest.raises(EngineError, match=r"component 'total' runs in the container 'python:3\.11'"):
        run(tmp_path / "container.yaml", {"items": [1]})
    assert not (tmp_path / "root").exists()


def _paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _paths(inner, (*path, at))


PATHS = [path for path in _paths(SPEC) if path]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=3),
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(PATHS), JUNK)
def test_a_damaged_pipeline_is_read_or_refused_but_never_breaks_the_reader(path, junk):
    spec = copy.deepcopy(SPEC)
    set_in(list(path), junk)(spec)
    try:
        text = yaml.safe_dump(spec)
    except yaml.YAMLError:
        return
    with contextlib.suppress(FlywheelError):
        parse(text)
