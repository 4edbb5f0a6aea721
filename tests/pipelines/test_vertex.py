"""The compiled form and Vertex AI Pipelines: its own client takes it, and what its documentation limits is kept."""

from pathlib import Path

import pytest
import yaml

from flywheel import config
from flywheel.errors import ConfigError
from flywheel.kubeflow.compile import compile_to, for_vertex

pytest.importorskip("kfp")
aiplatform = pytest.importorskip("google.cloud.aiplatform")

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"
_RESOURCES = "train.resources={gpu: 1, gpu_resource: NVIDIA_L4, memory: 16Gi, shared_memory: 8Gi}"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    project = config.load(FLIGHTS, overrides=[_RESOURCES])
    path = tmp_path_factory.mktemp("vertex") / "p.yaml"
    return for_vertex(compile_to(project, (FLIGHTS / "flights.sql").read_text(), path))


def job(pipeline, **parameters):
    from google.auth.credentials import AnonymousCredentials

    return aiplatform.PipelineJob(
        display_name="flight-delays 2013-06-01",
        template_path=str(pipeline),
        pipeline_root="gs://bucket/flywheel",
        parameter_values=parameters,
        project="my-project",
        location="us-central1",
        credentials=AnonymousCredentials(),
    )


def test_vertex_own_client_takes_the_compiled_form(pipeline):
    made = job(pipeline, code="gs://bucket/flywheel/code/0.zip", span="2013-06-01")._gca_resource

    assert made.runtime_config.parameter_values["span"] == "2013-06-01"
    assert made.pipeline_spec["pipelineInfo"]["name"] == "flight-delays"


def test_vertex_own_client_refuses_a_parameter_that_is_not_there(pipeline):
    with pytest.raises(ValueError, match="is not found in the pipeline job input definitions"):
        job(pipeline, code="gs://bucket/0.zip", sapn="2013-06-01")


def test_what_vertex_looks_at_stands_in_the_one_document_that_it_reads(pipeline):
    (spec,) = yaml.safe_load_all(pipeline.read_text())
    container = spec["deploymentSpec"]["executors"]["exec-train"]["container"]

    assert container["resources"]["accelerator"]["resourceType"] == "NVIDIA_L4"
    assert container["resources"]["resourceMemoryLimit"] == "16Gi"


def test_names_and_types_are_such_as_vertex_allows(pipeline):
    spec = next(yaml.safe_load_all(pipeline.read_text()))
    text = pipeline.read_text()
    titles = {line.split("schemaTitle: ")[1] for line in text.splitlines() if "schemaTitle: " in line}

    assert len(spec["pipelineInfo"]["name"]) <= 64  # a schedule's; a job's may have 128
    assert spec["schemaVersion"] == "2.1.0"
    kinds = ("Artifact", "ClassificationMetrics", "Dataset", "Model", "Metrics", "HTML")
    assert titles <= {f"system.{kind}" for kind in kinds}


def test_the_longest_name_that_a_flywheel_may_have_is_short_enough():
    name = "a" * 63

    assert config.load(FLIGHTS, overrides=[f"name={name}"]).name == name
    with pytest.raises(ConfigError, match="name"):
        config.load(FLIGHTS, overrides=[f"name={name}a"])
