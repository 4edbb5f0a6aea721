"""What a user writes in `flywheel.yaml`, as pydantic models, and how the file is read."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator, model_validator

from flywheel.errors import ConfigError
from flywheel.spans import Every

FILE = "flywheel.yaml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """Where the data comes from, and how much of it a run takes."""

    warehouse: str = Field(description="URL of the warehouse: duckdb:///file.duckdb, relative to this file.")
    query: str = Field(description="SQL file in BigQuery's dialect, with @start and @end.")
    every: Every = Field("day", description="How long a span is.")
    window: int = Field(28, ge=1, description="How many spans a model is trained on.")
    judge: int = Field(14, ge=1, description="How many of the newest spans are held out to judge on.")
    maximum_bytes_billed: ByteSize | None = Field(None, description="A query that would read more is refused.")


_COLUMN = Field(description="A column that the query gives.")


class Numeric(_Strict):
    """A number, scaled to mean 0 and deviation 1; missing values become the mean."""

    column: str = _COLUMN
    kind: Literal["numeric"] = Field(alias="as")


class Category(_Strict):
    """A word, as the index of a vocabulary made from the training window."""

    column: str = _COLUMN
    kind: Literal["category"] = Field(alias="as")
    top: int = Field(1000, ge=1, description="Keep this many of the most frequent values; the rest share an index.")


class Bucket(_Strict):
    """A number, as the index of the quantile range that it falls in."""

    column: str = _COLUMN
    kind: Literal["bucket"] = Field(alias="as")
    quantiles: int = Field(10, ge=2, description="How many ranges of about equally many rows.")


Feature = Annotated[Numeric | Category | Bucket, Field(discriminator="kind")]


class Resources(_Strict):
    """What the training step asks the cluster for; ignored on one machine."""

    cpu: str | None = Field(None, pattern=r"^\d+(\.\d+)?m?$", description="Cores: 2, 0.5 or 500m.")
    memory: str | None = Field(None, pattern=r"^\d+(\.\d+)?([KMGTPE]i?)?$", description="As 16Gi.")
    gpu: int = Field(0, ge=0, description="How many GPUs.")
    gpu_kind: str = Field("nvidia.com/gpu", description="Kubernetes' name of the GPU resource.")


class Train(_Strict):
    """How a model is made."""

    trainer: str = Field("trainer:train", pattern=r"^[\w.]+:\w+$", description="module:function in this folder.")
    parameters: dict[str, Any] = Field({}, description="Hyperparameters, handed to the trainer.")
    seed: int = Field(0, ge=0, description="Seed of everything that is random.")
    resources: Resources = Field(Resources(), description="What the step asks a cluster for.")


class DataGate(_Strict):
    """When new data is too strange to train on."""

    drift: dict[str, float] = Field({}, description="Column: largest distance from the span before (L-infinity or JS).")


class ModelGate(_Strict):
    """One bar that a candidate has to clear."""

    metric: Literal["auc", "accuracy", "log_loss", "brier", "precision", "recall"] = Field(
        description="What is measured."
    )
    at_least: float | None = Field(None, description="Absolute bar, higher is better.")
    at_most: float | None = Field(None, description="Absolute bar, lower is better.")
    no_worse_than: Literal["champion"] | None = Field(None, description="Compare with the model in service.")
    margin: float = Field(0.0, ge=0, description="How much worse is still accepted, in the metric's unit.")
    slices: tuple[str, ...] = Field((), description="Columns; a group of rows shown to be worse blocks.")
    minimum_rows: int = Field(100, ge=1, description="With fewer rows a slice is not judged, and a bar is undecided.")

    @model_validator(mode="after")
    def _one_bar(self) -> ModelGate:
        bars = [bar for bar in ("at_least", "at_most", "no_worse_than") if getattr(self, bar) is not None]
        if len(bars) != 1:
            found = " and ".join(bars) or "none"
            raise ValueError(f"a gate needs one of at_least, at_most, no_worse_than; found {found}")
        if self.no_worse_than and not self.margin:
            raise ValueError("no_worse_than needs a margin above 0: how much worse is still accepted")
        return self


class Gates(_Strict):
    """What keeps bad data and worse models out."""

    data: DataGate = Field(DataGate(), description="Bars for the data.")
    model: tuple[ModelGate, ...] = Field((), description="Bars for the model; none, and nothing is promoted.")


class Deploy(_Strict):
    """Where the champion is served."""

    target: Literal["local"] = Field("local", description="A folder that `flywheel serve` watches.")


class Ledger(_Strict):
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


class Project(_Strict):
    """A flywheel: one folder, one model."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,61}[a-z0-9]$", description="Names the model and all its runs.")
    source: Source = Field(description="Where the data comes from.")
    label: str = Field(description="Column to predict: 0 or 1.")
    features: tuple[Feature, ...] = Field(min_length=1, description="What the model sees of a row.")
    train: Train = Field(Train(), description="How a model is made.")
    gates: Gates = Field(Gates(), description="What keeps bad data and worse models out.")
    deploy: Deploy = Field(Deploy(), description="Where the champion is served.")
    ledger: Ledger = Field(Ledger(), description="Where runs, models and decisions are kept.")

    @property
    def slices(self) -> tuple[str, ...]:
        """Columns that the model's gates slice by, sorted."""
        return tuple(sorted({column for gate in self.gates.model for column in gate.slices}))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the query has to give, each once."""
        return tuple(dict.fromkeys([self.label, *(feature.column for feature in self.features), *self.slices]))

    @model_validator(mode="after")
    def _features_are_distinct(self) -> Project:
        columns = [feature.column for feature in self.features]
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} stands twice in features")
        if self.label in columns:
            raise ValueError(f"the label {self.label!r} stands in features too: the model would know the answer")
        return self


def load(folder: Path, profile: str | None = None, overrides: Iterable[str] = ()) -> Project:
    """Return the project declared in `folder`, with a profile and `key.sub=value` overrides laid over it.

    Raises:
        ConfigError: The file is missing, is no YAML, or a key or value in it is wrong; all faults are named.
    """
    file = folder / FILE
    values = _read(file)
    profiles = values.pop("profiles", None) or {}
    if not isinstance(profiles, dict):
        raise ConfigError(f"{file}: profiles is {profiles!r}", "write `profiles: {name: {key: value}}`.")
    if profile is not None:
        if profile not in profiles:
            known = ", ".join(sorted(profiles)) or "none"
            raise ConfigError(f"{file} has no profile {profile!r}", f"those it has: {known}.")
        values = _merge(values, profiles[profile])
    for override in overrides:
        values = _merge(values, _parse_override(override))
    try:
        return Project.model_validate(values)
    except ValidationError as error:
        faults = [_explain(fault, values) for fault in error.errors()]
        places = "1 place" if len(faults) == 1 else f"{len(faults)} places"
        raise ConfigError(f"{file} is wrong in {places}:\n  " + "\n  ".join(faults)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {FILE} in {str(file.parent)!r}", "give the folder of a flywheel, or write that file."
        ) from None
    except NotADirectoryError:
        raise ConfigError(f"{str(file.parent)!r} is not a folder", "give the folder of a flywheel.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text: {error}", "save it as UTF-8.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not YAML: {error}", "mend it at that line.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {type(values).__name__}, not keys and values", "begin with `name: …`.")
    return values


def _merge(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _merge(below.get(key), value) for key, value in above.items()}


def _parse_override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ConfigError(f"--set {text!r} is not understood", "write it as key.sub=value, as source.window=7.")
    try:
        nested: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"--set {text!r}: {value!r} is not a YAML value", "quote it.") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return dict(nested)


def _explain(fault: Mapping[str, Any], values: dict[str, Any]) -> str:
    """Say in one line which key is wrong and what to write instead."""
    where, found = _locate(fault["loc"], values)
    key = ".".join(str(part) for part in where)
    if fault["type"] == "extra_forbidden":
        known = sorted(_known_keys(fault["loc"][:-1], values))
        near = difflib.get_close_matches(str(where[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
        return f"{key}: unknown key; {hint}"
    if fault["type"] == "missing":
        return f"{key}: is missing; add it."
    message = fault["msg"].removeprefix("Value error, ")
    secret = key == "ledger.tracking_uri"
    return f"{key or FILE}: {message}" + ("" if secret or isinstance(found, dict | list) else f"; found {found!r}")


def _locate(loc: tuple[Any, ...], values: Any) -> tuple[list[Any], Any]:
    """Return the user's own path to a fault, without the union tags that pydantic puts between, and the value there."""
    path: list[Any] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(values, dict) and part not in values and not last:
            continue
        path.append(part)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            values = None
    return path, values


def _known_keys(loc: tuple[Any, ...], values: dict[str, Any]) -> set[str]:
    """Return the keys that the model at `loc` knows."""
    models: list[type[BaseModel]] = [Project]
    for part in _locate((*loc, ""), values)[0][:-1]:
        if not isinstance(part, int):
            fields = [
                field for model in models for name, field in model.model_fields.items() if part in (name, field.alias)
            ]
            models = [model for field in fields for model in _models_in(field.annotation)]
    if loc and len(models) > 1:
        models = [model for model in models if str(loc[-1]) == model.__name__.lower()] or models
    return {field.alias or name for model in models for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and get_origin(annotation) is None:
        return [annotation]
    if get_origin(annotation) in (tuple, Union, types.UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models_in(part)]
    return []
