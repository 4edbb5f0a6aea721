"""The pipeline on the cluster: one version for each content, so none is uploaded twice."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError
from flywheel.kubeflow.cluster import Cluster, named
from flywheel.kubeflow.code import check_for_a_cluster, code_uri, put
from flywheel.kubeflow.compile import compiled, compiled_monitoring

if TYPE_CHECKING:
    from flywheel.workspace import Workspace

_LENGTH = 20
_ONE_AT_A_TIME = threading.Lock()  # Python 3.11 does not parse sources, as kfp does, in two threads at once


@dataclass(frozen=True)
class Package:
    """What a cluster is given of a flywheel.

    Attributes:
        workspace: Of which it is.
        pipeline: The compiled pipeline.
        version: Its name on the cluster: a digest of its content.
        archive: The user's code.
        code: Where that is put.
        monitoring: Whether it is the pipeline that looks at the model in service, instead of that which trains.
    """

    workspace: Workspace
    pipeline: Path
    version: str
    archive: Path
    code: str
    monitoring: bool = False

    @classmethod
    def of(cls, workspace: Workspace, *, monitoring: bool = False) -> Package:
        """Return what a cluster would be given of a workspace as it is now; nothing is sent.

        Args:
            workspace: Of which.
            monitoring: Whether of its monitoring.

        Raises:
            ConfigError: The declaration is wrong, or only this machine could run it.
        """
        check_for_a_cluster(workspace)
        project, serving = workspace.project, workspace.serving_query()
        if monitoring and not serving:
            raise ConfigError(
                "source.serving is not set, and no step on a cluster sees the requests that this machine has logged",
                "name the SQL file that gives logged requests.",
            )
        with _ONE_AT_A_TIME:
            workspace.check_trainer()
            cache = workspace.state / "compiled"
            if monitoring:
                pipeline = compiled_monitoring(project, cache, workspace.labels_query(), serving)
            else:
                pipeline = compiled(project, workspace.query(), cache, serving)
            archive, code = code_uri(workspace)
        version = hashlib.sha256(pipeline.read_bytes()).hexdigest()[:_LENGTH]
        return cls(workspace, pipeline, version, archive, code, monitoring)

    @property
    def name(self) -> str:
        """Of its pipeline."""
        return name_of(self.workspace.project.name, monitoring=self.monitoring)

    @property
    def about(self) -> dict[str, str]:
        """What it is made of, by digests."""
        return {"version": self.version} | ({} if self.monitoring else {"code": self.archive.stem})

    def parameters(self, span: str) -> dict[str, Any]:
        """Return what a run for a span is given; empty for the newest."""
        return ({} if self.monitoring else {"code": self.code}) | {"span": span}

    def send(self, cluster: Cluster) -> tuple[str, str]:
        """Put code and pipeline where the cluster finds them; return the ids of pipeline and version."""
        if not self.monitoring:
            put(self.archive, self.code)
        pipeline = _pipeline(cluster, self.name)
        return pipeline, self._version(cluster, pipeline)

    def _version(self, cluster: Cluster, pipeline: str) -> str:
        def find() -> str | None:
            listed = cluster.all(
                "pipeline_versions",
                lambda kfp: kfp.list_pipeline_versions,
                pipeline_id=pipeline,
                filter=named(self.version),
            )
            return next((each.pipeline_version_id for each in listed), None)

        def make() -> str:
            made = cluster.once(
                lambda kfp: kfp.upload_pipeline_version, str(self.pipeline), self.version, pipeline_id=pipeline
            )
            return str(made.pipeline_version_id)

        return cluster.find_or_make(find, make)


def name_of(flywheel: str, *, monitoring: bool) -> str:
    """Return the name of a flywheel's pipeline."""
    return f"{flywheel}-monitoring" if monitoring else flywheel


def _pipeline(cluster: Cluster, name: str) -> str:
    """Return the id of the pipeline of that name; one that is not there is made, without a version of its name."""
    import kfp_server_api

    def find() -> str | None:
        listed = cluster.all(
            "pipelines", lambda kfp: kfp.list_pipelines, filter=named(name), namespace=cluster.namespace
        )
        return next((each.pipeline_id for each in listed), None)

    def make() -> str:
        body: Any = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=cluster.namespace)
        made: Any = cluster.once(lambda kfp: kfp.pipelines.pipeline_service_create_pipeline, body)
        return str(made.pipeline_id)

    return cluster.find_or_make(find, make)
