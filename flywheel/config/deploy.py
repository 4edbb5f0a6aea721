"""Where the champion is served: one model a target, told apart by `target`."""

from __future__ import annotations

import glob
import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ByteSize, Field, TypeAdapter, field_validator, model_validator

from flywheel.config.serving import RequestLog
from flywheel.config.source import Source
from flywheel.config.strict import WORD, Duration, Strict
from flywheel.spans import Every

SERVING = ".flywheel/serving"


class _Target(Strict):
    def text(self) -> str:
        """Return the target as the one string that a pipeline and a command hand to `deploy`."""
        return json.dumps(self.model_dump(exclude_none=True), default=_written, sort_keys=True)

    def within(self, project: Path) -> Self:
        """Return the target with its relative folder taken from the folder of flywheel.yaml."""
        folder = getattr(self, "folder", "")
        if not folder or "://" in folder:
            return self
        return self.model_copy(update={"folder": str(project / folder)})


class Local(_Target):
    """A folder that `flywheel serve` watches."""

    target: Literal["local"] = "local"
    folder: str = Field(SERVING, description="The folder, or its file:// URI.")
    log: RequestLog | None = Field(None, description="What `flywheel serve` keeps of requests; none by default.")

    def text(self) -> str:
        """Return the folder: that alone says everything."""
        return self.folder


class Canary(Strict):
    """A new version gets its traffic in steps, each judged beside the former version in the same minutes."""

    steps: tuple[int, ...] = Field((10, 50, 100), description="Percent of the requests, ascending to 100.")
    hold: Duration = Field(timedelta(minutes=5), description="How long a step is watched before it is judged.")
    patience: Duration = Field(
        timedelta(minutes=30), description="A step that has too few requests to be judged by then is taken back."
    )
    min_requests: int = Field(300, ge=1, description="Fewer requests to the new version judge nothing.")
    max_error_rate: float = Field(0.01, ge=0, le=1, description="Largest share of responses with a 5xx status.")
    max_p99_ms: float | None = Field(None, gt=0, description="Largest 99th percentile of the latency.")
    max_latency_ratio: float | None = Field(
        None, gt=0, description="Largest 99th percentile of the latency, as a multiple of the former version's."
    )

    @field_validator("steps")
    @classmethod
    def _ascending_to_all(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1 or steps[-1] != 100:
            raise ValueError("steps are percents that ascend to 100, as [10, 50, 100]")
        return steps

    @model_validator(mode="after")
    def _patience_is_longer(self) -> Canary:
        if self.patience < self.hold:
            raise ValueError("patience is shorter than hold: no step could be judged")
        return self


class KServe(_Target):
    """An InferenceService of KServe, on Knative."""

    target: Literal["kserve"]
    namespace: str = Field("default", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="Of Kubernetes.")
    context: str = Field("", description="Context of the kubeconfig; the current one, or the pod's own, without.")
    runtime: str = Field("kserve-mlserver", description="ServingRuntime that loads MLflow models.")
    service_account: str | None = Field(None, description="Whose rights read the model from its bucket.")
    requests: dict[str, str] = Field({}, description="What a replica asks for, as {cpu: 500m, memory: 1Gi}.")
    limits: dict[str, str] = Field({}, description="What a replica may take, as {memory: 2Gi, nvidia.com/gpu: 1}.")
    min_replicas: int = Field(1, ge=0, description="0 lets it go to sleep without requests.")
    max_replicas: int = Field(3, ge=1, description="As many as the requests want, up to this.")
    ready_within: Duration = Field(timedelta(minutes=10), description="A version not ready by then is taken back.")
    metrics: str | None = Field(
        None, description="Prometheus that scrapes Knative's queue proxies, as http://host:9090."
    )
    canary: Canary | None = Field(None, description="Steps in which a version gets its traffic; all at once without.")

    @field_validator("metrics")
    @classmethod
    def _is_a_server(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the address of a Prometheus is written as http://host:9090")
        if parts.username or parts.password:
            raise ValueError("a user or password does not belong here")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _canary_can_be_judged(self) -> KServe:
        if self.canary and not self.metrics:
            raise ValueError(
                "a canary is judged by its error rate and latency: give `metrics`, the Prometheus that has them"
            )
        if self.max_replicas < self.min_replicas:
            raise ValueError("max_replicas is less than min_replicas")
        return self


class TFServing(_Target):
    """Version folders that TensorFlow Serving polls."""

    target: Literal["tfserving"]
    folder: str = Field(description="Its model base path is <folder>/<name>.")
    keep: int = Field(2, ge=1, description="How many versions stay in the folder; the highest is served.")


class Triton(_Target):
    """A model repository that Triton polls."""

    target: Literal["triton"]
    folder: str = Field(description="The model repository.")
    format: Literal["auto", "onnx", "savedmodel"] = Field(
        "auto", description="How the model is exported; auto takes ONNX where the framework allows."
    )
    max_batch_size: int = Field(1024, ge=1, description="Most rows of a request, and of a batch that Triton gathers.")
    gpu: bool = Field(False, description="Whether instances run on a GPU.")
    keep: int = Field(2, ge=1, description="How many versions stay in the folder; the highest is served.")


class _OfRows(_Target):
    query: str = Field("", description="SQL file that gives the rows, with @start and @end; source.query.")
    warehouse: str = Field("", description="Where its tables are; source.warehouse.")
    every: Every = Field("day", description="How long a span is: as source.every, which it takes by itself.")
    maximum_bytes_billed: ByteSize | None = Field(
        None, description="A query that would read more is refused; source.maximum_bytes_billed."
    )

    def within(self, project: Path) -> Self:
        """Return the target with its relative files taken from the folder of flywheel.yaml."""
        return super().within(project).model_copy(update={"warehouse": absolute(self.warehouse, project)})

    def of(self, source: Source, query: str) -> Self:
        """Return the target with what it leaves to the flywheel's source, and the SQL text in place of its file."""
        given: dict[str, Any] = {"warehouse": self.warehouse or source.warehouse, "every": source.every, "query": query}
        given |= {"maximum_bytes_billed": self.maximum_bytes_billed or source.maximum_bytes_billed}
        return self.model_copy(update=given)


class OnDevice(_OfRows):
    """A LiteRT (TFLite) file for phones and small devices, of a Keras model."""

    target: Literal["ondevice"]
    folder: str = Field(description="The file is <folder>/<name>/<highest number>/model.tflite.")
    quantise: Literal["none", "dynamic", "int8"] = Field(
        "dynamic", description="Weights as 8-bit integers (dynamic), activations too (int8), or neither."
    )
    max_mb: float = Field(10.0, gt=0, description="Largest file, in 10^6 bytes.")
    max_loss: float = Field(0.01, ge=0, description="Largest mean difference from the packaged model's predictions.")
    max_quality_loss: float = Field(
        0.01, ge=0, description="Largest loss of AUC, of accuracy, or as a share of the mean absolute error, by task."
    )
    rows: int = Field(2000, ge=100, description="Rows of the version's span that both are asked about.")


class Index(_OfRows):
    """A Faiss index of what a layer of a Keras model makes of rows, to find those that are near."""

    target: Literal["index"]
    folder: str = Field(description="The index is <folder>/<name>/<highest number>/index.faiss.")
    id: str = Field(description="Column of the query that names a row, each once.")
    layer: str = Field(description="Name of the model's layer whose output is the embedding.")
    metric: Literal["cosine", "inner_product", "l2"] = Field("cosine", description="What near means.")
    kind: str = Field(
        "auto", description="Faiss' index factory, as HNSW32 or IVF256,Flat; auto is Flat, and HNSW32 over 20,000 rows."
    )
    k: int = Field(10, ge=1, le=1000, description="Neighbours by which recall is judged.")
    min_recall: float = Field(0.95, ge=0, le=1, description="Least share of the k nearest that a search has to find.")
    bad_rows_at_most: float = Field(0.01, ge=0, le=1, description="Largest share of rows that cannot be embedded.")
    keep: int = Field(2, ge=1, description="How many versions stay in the folder; the highest is served.")
    beam: tuple[str, ...] = Field((), description="Beam's pipeline options, as --runner=DataflowRunner.")


class Batch(_OfRows):
    """A table of predictions: the rows of a query, scored span by span."""

    target: Literal["batch"]
    columns: tuple[str, ...] = Field(
        (), description="Columns of it that are kept beside the predictions, as an id; all of them by default."
    )
    score: Literal["promoted", "each_span"] = Field(
        "promoted",
        description="Which spans a run scores: one that a version is promoted for, or each, by who is champion.",
    )
    into: str = Field(description="duckdb:///file, bigquery://project/dataset, or a folder for Parquet files.")
    table: str = Field("predictions", pattern=WORD, description="Table in it, or folder.")
    bad_rows_at_most: float = Field(
        0.01, ge=0, le=1, description="Largest share of rows that cannot be scored: they go to <table>_dead_letters."
    )
    beam: tuple[str, ...] = Field((), description="Beam's pipeline options, as --runner=DataflowRunner.")

    @field_validator("into")
    @classmethod
    def _can_be_written(cls, into: str) -> str:
        scheme, separator, _ = into.partition("://")
        if separator and scheme not in ("duckdb", "parquet", "bigquery"):
            raise ValueError(
                "predictions are written to duckdb:///file, bigquery://project/dataset or a folder, for Parquet files"
            )
        return into if separator else f"parquet:///{into}"

    def within(self, project: Path) -> Self:
        """Return the target with its relative files taken from the folder of flywheel.yaml."""
        kind, _, into = self.into.partition(":///")
        where = {"into": f"{kind}:///{project / into}"} if into else {}
        return super().within(project).model_copy(update=where)


OfRows = (OnDevice, Index, Batch)
Deploy = Annotated[Local | KServe | TFServing | Triton | OnDevice | Index | Batch, Field(discriminator="target")]


def absolute(url: str, folder: Path) -> str:
    """Make the path of `scheme:///relative/path` absolute, from `folder`; other URLs stay as they are."""
    scheme, separator, path = url.partition(":///")
    if not separator or path.startswith("/"):
        return url
    if scheme in ("parquet", "csv"):  # their paths are patterns, the folder's own name is not
        return f"{scheme}:///{glob.escape(str(folder))}/{path}"
    return f"{scheme}:///{folder / path}"


def target_of(text: str) -> Deploy:
    """Return what `text()` of a target wrote; a plain path or file:// URI is a local one.

    Raises:
        ValueError: It is JSON of something else (pydantic's ValidationError).
    """
    if not text.lstrip().startswith("{"):
        return Local(folder=text)
    adapter: TypeAdapter[Deploy] = TypeAdapter(Deploy)
    return adapter.validate_json(text)


def _written(value: Any) -> Any:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    raise TypeError(f"{type(value).__name__} has no place in a target")
