"""A whole `flywheel.yaml`: one folder, one model."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from flywheel.config.deploy import Deploy, Local
from flywheel.config.gates import Gates, Statistics
from flywheel.config.source import Source
from flywheel.config.strict import Strict

_COLUMN = Field(description="A column that the query gives.")


class Numeric(Strict):
    """A number, scaled to mean 0 and deviation 1; missing values become the mean."""

    column: str = _COLUMN
    kind: Literal["numeric"] = Field(alias="as")


class Category(Strict):
    """A word, as the index of a vocabulary made from the training window."""

    column: str = _COLUMN
    kind: Literal["category"] = Field(alias="as")
    top: int = Field(1000, ge=1, description="Keep this many of the most frequent values; the rest share an index.")


class Bucket(Strict):
    """A number, as the index of the quantile range that it falls in."""

    column: str = _COLUMN
    kind: Literal["bucket"] = Field(alias="as")
    quantiles: int = Field(10, ge=2, description="How many ranges of about equally many rows.")


Feature = Annotated[Numeric | Category | Bucket, Field(discriminator="kind")]


class Resources(Strict):
    """What the training step asks the cluster for; ignored on one machine."""

    cpu: str | None = Field(None, pattern=r"^\d+(\.\d+)?m?$", description="Cores: 2, 0.5 or 500m.")
    memory: str | None = Field(None, pattern=r"^\d+(\.\d+)?([KMGTPE]i?)?$", description="As 16Gi.")
    gpu: int = Field(0, ge=0, description="How many GPUs.")
    gpu_kind: str = Field("nvidia.com/gpu", description="Kubernetes' name of the GPU resource.")


class Train(Strict):
    """How a model is made."""

    trainer: str = Field("trainer:train", pattern=r"^[\w.]+:\w+$", description="module:function in this folder.")
    parameters: dict[str, Any] = Field({}, description="Hyperparameters, handed to the trainer.")
    seed: int = Field(0, ge=0, description="Seed of everything that is random.")
    resources: Resources = Field(Resources(), description="What the step asks a cluster for.")


class Ledger(Strict):
    """Where MLflow keeps runs, models and decisions."""

    tracking_uri: str = Field(
        "sqlite:///.flywheel/mlflow.db", description="MLflow server, or a SQLite file relative to this file."
    )

    @field_validator("tracking_uri")
    @classmethod
    def _no_secrets(cls, uri: str) -> str:
        """Refuse a password here: what stands in this file goes into compiled pipelines and logs."""
        parts = urlsplit(uri)
        if parts.password or parts.username:
            raise ValueError("a user or password does not belong here; set MLFLOW_TRACKING_USERNAME and _PASSWORD")
        return uri


class Project(Strict):
    """A flywheel: one folder, one model."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,61}[a-z0-9]$", description="Names the model and all its runs.")
    source: Source = Field(description="Where the data comes from.")
    label: str = Field(description="Column to predict: 0 or 1.")
    statistics: Statistics = Field(Statistics(), description="How the data is counted.")
    features: tuple[Feature, ...] = Field(min_length=1, description="What the model sees of a row.")
    train: Train = Field(Train(), description="How a model is made.")
    gates: Gates = Field(Gates(), description="What keeps bad data and worse models out.")
    deploy: Deploy = Field(Local(), description="Where the champion is served.")
    ledger: Ledger = Field(Ledger(), description="Where runs, models and decisions are kept.")

    @property
    def slices(self) -> tuple[str, ...]:
        """Columns that the model's gates slice by, sorted."""
        return tuple(sorted({column for gate in self.gates.model for column in gate.slices}))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the query has to give, each once."""
        gate, source = self.gates.data, self.source
        asked = [*gate.columns, *gate.drift, *gate.skew, *gate.key, *self.statistics.slices]
        asked += [column for choice in (source.sample, source.split) if choice for column in choice.key]
        asked += [column for column in (gate.fresh and gate.fresh.column, self.statistics.weight) if column]
        return tuple(dict.fromkeys([self.label, *(feature.column for feature in self.features), *self.slices, *asked]))

    @model_validator(mode="after")
    def _features_are_distinct(self) -> Project:
        columns = [feature.column for feature in self.features]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} stands twice in features")
        if self.label in columns:
            raise ValueError(f"the label {self.label!r} stands in features too: the model would know the answer")
        return self
