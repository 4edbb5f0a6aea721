import ast
import inspect
import textwrap

import pytest

kfp = pytest.importorskip("kfp")

from kfp import compiler, dsl  # noqa: E402

from flywheel import components, images  # noqa: E402

ALL = [getattr(components, name) for name in components.__all__]
KINDS = {"String": "STRING", "Integer": "NUMBER_INTEGER", "List": "LIST", "Dict": "STRUCT", "Boolean": "BOOLEAN"}
by_name = pytest.mark.parametrize("component", ALL, ids=components.__all__)


@by_name
def test_a_component_needs_at_most_eight_parameters_and_all_are_explained(component):
    spec = component.component_spec
    parameters = inspect.signature(component.python_func).parameters
    described = {name for name in parameters if f"{name}:" in (inspect.getdoc(component.python_func) or "")}

    assert sum(each.default is each.empty for each in parameters.values()) <= 8
    assert described == set(parameters)
    assert spec.implementation.container.image == images.CPU


@by_name
def test_a_component_is_a_few_lines_over_the_step_of_its_name(component):
    function = ast.parse(textwrap.dedent(inspect.getsource(component.python_func))).body[0]
    imported = [node.module for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]

    assert f"flywheel.steps.{component.python_func.__name__}" in imported
    assert len(function.body) <= 10


@by_name
def test_a_component_stands_in_anybodys_pipeline(component, tmp_path):
    """Each input of a pipeline that has nothing else can be given from outside."""
    inputs = component.component_spec.inputs or {}
    values = {"STRING": "x", "NUMBER_INTEGER": 1, "LIST": [], "STRUCT": {}, "BOOLEAN": True}

    @dsl.pipeline(name="anybodys")
    def pipeline():
        given = {}
        for name, spec in inputs.items():
            if spec.type == "PipelineTaskFinalStatus":
                continue
            kind = KINDS.get(spec.type)
            if kind:
                given[name] = values[kind]
            else:
                imported = dsl.importer(artifact_uri="gs://bucket/x", artifact_class=_artifact_class(spec.type))
                given[name] = imported.output
        if any(spec.type == "PipelineTaskFinalStatus" for spec in inputs.values()):
            with dsl.ExitHandler(component(**given)):
                dsl.importer(artifact_uri="gs://bucket/x", artifact_class=dsl.Artifact)
        else:
            component(**given)

    compiler.Compiler().compile(pipeline, str(tmp_path / "pipeline.yaml"))


def _artifact_class(title):
    name = title.split("@")[0].removeprefix("system.")
    return getattr(dsl, name)
