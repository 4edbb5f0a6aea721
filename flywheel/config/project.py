"""A whole `flywheel.yaml`: one folder, one model."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from flywheel.config.deploy import Deploy, Local, OfRows
from flywheel.config.features import Feature, Transform
from flywheel.config.gates import Analyze, Gates, OwnMetric, Statistics
from flywheel.config.metrics import BETTER, OF_A_CLASS, OF_A_RANKING, check, of_labels
from flywheel.config.monitor import Monitor
from flywheel.config.notify import Notify
from flywheel.config.resources import Pod, Resources
from flywheel.config.retrain import Retrain
from flywheel.config.schedule import Kubeflow, Schedule, Trigger
from flywheel.config.source import Source
from flywheel.config.stages import STAGES, Stages
from flywheel.config.strict import FUNCTION, NAME, Duration, Strict
from flywheel.config.tune import Tune
from flywheel.labels import MULTILABEL, checked, columns_of

_BASELINE = "flywheel.trainers.boosting:train"
_COLUMN = {"type": "string"}
Label = Annotated[
    str,
    BeforeValidator(checked),
    WithJsonSchema({"anyOf": [_COLUMN, {"type": "array", "items": _COLUMN, "minItems": 2}]}),
]
"""One column, or several as one text: `flywheel.labels` takes it apart."""


class Checkpoint(Strict):
    """What a retry of the training step goes on from."""

    every: Duration = Field(timedelta(minutes=5), description="Time from one checkpoint to the next, as 5m.")
    steps: int | None = Field(None, ge=1, description="Steps from one checkpoint to the next, instead of a time.")
    folder: str = Field(
        ".flywheel/checkpoints",
        description="Where they are: a folder that survives a retry, or a URI such as gs://bucket/path on a cluster.",
    )


class ThresholdBar(Strict):
    """What a class's threshold has to reach: one of the two, or neither with `together`."""

    precision: float | None = Field(None, gt=0, lt=1, description="Share of the rows called so that are.")
    recall: float | None = Field(None, gt=0, lt=1, description="Share of the rows of that class that are called so.")

    @model_validator(mode="after")
    def _one(self) -> ThresholdBar:
        if self.precision is not None and self.recall is not None:
            raise ValueError("a threshold has one bar: precision or recall")
        return self

    @property
    def empty(self) -> bool:
        """Whether there is none."""
        return self.precision is None and self.recall is None


class Train(Strict):
    """How a model is made."""

    trainer: str = Field(
        "trainer:train",
        pattern=FUNCTION,
        description="module:function in this folder, or one that comes along, as flywheel.trainers.boosting:train.",
    )
    parameters: dict[str, Any] = Field({}, description="Hyperparameters, handed to the trainer.")
    seed: int = Field(0, ge=0, description="Seed of everything that is random.")
    baseline: bool | Annotated[str, Field(pattern=FUNCTION)] = Field(
        True,
        description="What every model is compared with: true, and it is flywheel.trainers.boosting:train; or "
        "module:function; false leaves it out.",
    )
    weight: str | None = Field(None, description="Column of the query that says how much a row counts in training.")
    thresholds: dict[str, ThresholdBar] = Field(
        {},
        description="Class (1 of a binary task) or label: bar of its threshold, chosen on validation rows, held on "
        "fresh ones, and applied: the packaged model answers a `decision` too.",
    )
    together: ThresholdBar | None = Field(
        None,
        description="Bar of a row being called any of `thresholds`, which are then chosen jointly; each may be {}.",
    )
    warm_start: bool = Field(
        False, description="Hand the champion to the trainer, to start from its weights where they fit."
    )
    tune: Tune | None = Field(None, description="Search hyperparameters; off unless given.")
    checkpoint: Checkpoint = Field(Checkpoint(), description="What a retry goes on from.")
    time_budget: Duration | None = Field(
        None, description="Time to train, as 2h: built-in trainers end in time, any other is stopped a little later."
    )
    processes: int = Field(
        1, ge=1, description="Processes that train together on the CPUs of one machine; with GPUs it is one for each."
    )
    resources: Resources = Field(Resources(), description="What the step asks a cluster for.")

    @model_validator(mode="after")
    def _thresholds_have_bars(self) -> Train:
        if self.together is None and (bare := [name for name, bar in self.thresholds.items() if bar.empty]):
            raise ValueError(f"thresholds.{bare[0]} needs one bar, precision or recall; or together one for all")
        if self.together is not None and (self.together.empty or len(self.thresholds) < 2):
            raise ValueError("together needs a bar, precision or recall, and two classes or more in thresholds")
        return self

    @model_validator(mode="after")
    def _one_search_on_one_machine(self) -> Train:
        if self.tune and self.resources.nodes:
            raise ValueError(
                "tune and resources.nodes do not go together: search on one machine, then train on several"
            )
        return self

    def for_baseline(self) -> Train | None:
        """Return how the baseline is trained, in the form of any other model.

        None when there is to be none, or it would be the same model once more.
        """
        if self.baseline is False:
            return None
        trainer = _BASELINE if self.baseline is True else self.baseline
        if trainer == self.trainer and not (self.parameters or self.tune or self.warm_start):
            return None
        return Train(trainer=trainer, seed=self.seed, weight=self.weight, baseline=False)


class Ranking(Strict):
    """How rows are ranked among each other: `ndcg_<k>` and `map_<k>` are metrics then."""

    group: str = Field(description="Column whose value rows share that are ranked among each other: query, session.")
    at: tuple[Annotated[int, Field(ge=1)], ...] = Field((5, 10), min_length=1, description="Places that count.")

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of its metrics."""
        return tuple(f"{prefix}{k}" for prefix in OF_A_RANKING for k in self.at)


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

    name: str = Field(pattern=NAME, description="Names the model and all its runs.")
    source: Source = Field(description="Where the data comes from.")
    label: Label = Field(
        description="Column to predict. A list of them for `task: multilabel`: each is 0 or 1, or null where that "
        "label of the row is not known."
    )
    task: Literal["binary", "multiclass", "multilabel", "regression"] = Field(
        "binary",
        description="What the label is: 0 or 1; one of several classes, text or integer; several labels of a row, each "
        "0 or 1, as it is with a list of labels; a number.",
    )
    naive: str | None = Field(
        None, description="Column with a forecast that costs nothing, as the value a week ago; for regression."
    )
    metrics: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], OwnMetric] = Field(
        {}, description="Metrics of one's own, by name: cost of errors, revenue."
    )
    ranking: Ranking | None = Field(None, description="Metrics of a ranking, by a score or a chance.")
    statistics: Statistics = Field(Statistics(), description="How the data is counted.")
    features: tuple[Feature, ...] = Field(min_length=1, description="What the model sees of a row.")
    transform: Transform = Field(Transform(), description="How the training window is transformed.")
    retrain: Retrain = Field(Retrain(), description="When a span is worth a training.")
    train: Train = Field(Train(), description="How a model is made.")
    analyze: Analyze = Field(Analyze(), description="How models are asked about the judge's rows, and measured.")
    gates: Gates = Field(Gates(), description="What keeps bad data and worse models out.")
    approval: Literal["none", "required"] = Field(
        "none", description="Whether a person has to approve each promotion, by `flywheel approve`."
    )
    resources: Stages = Field(Stages(), description="What each step asks a cluster for; training: `train.resources`.")
    deploy: Deploy = Field(Local(), description="Where the champion is served.")
    monitor: Monitor = Field(Monitor(), description="What is watched of the model in service.")
    notify: Notify = Field(Notify(), description="Who is told when the state changes.")
    ledger: Ledger = Field(Ledger(), description="Where runs, models and decisions are kept.")
    schedule: Schedule | None = Field(None, description="When it runs by itself on a cluster.")
    trigger: Trigger | None = Field(None, description="When a cluster looks for new data.")
    kubeflow: Kubeflow = Field(Kubeflow(), description="The cluster that it is submitted to.")
    hourly_cost: float | None = Field(
        None,
        ge=0,
        description="What an hour of a run costs, in your currency: `flywheel status` then shows each run's.",
    )

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns to predict."""
        return columns_of(self.label)

    @property
    def slices(self) -> tuple[str, ...]:
        """Columns that the model's gates slice by or compare groups of, sorted."""
        gates = self.gates.model
        gaps = {gate.gap for gate in gates if gate.gap}
        return tuple(sorted({column for gate in gates for column in gate.slices} | gaps))

    @property
    def shown(self) -> Analyze:
        """How models are measured, with all columns that are never shown: a log's redaction holds for reports too."""
        log = getattr(self.deploy, "log", None)
        redact = tuple(dict.fromkeys([*self.analyze.redact, *(log.redact if log else ())]))
        return self.analyze.model_copy(update={"redact": redact})

    @property
    def searched(self) -> tuple[str, ...]:
        """Columns in which slices are searched for, each once."""
        asked = self.gates.worst_slices
        sources = [column for feature in self.features for column in feature.sources]
        return tuple(dict.fromkeys(asked.columns or sources)) if asked else ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the query has to give, each once."""
        gate, source = self.gates.data, self.source
        asked = [*gate.columns, *gate.drift, *gate.skew, *gate.key, *self.statistics.slices]
        asked += [column for choice in (source.sample, source.split) if choice for column in choice.key]
        asked += self.searched
        asked += [column for metric in self.metrics.values() for column in metric.columns]
        cluster = self.gates.cluster if self.gates.cluster != "rows" else None
        listed = self.ranking.group if self.ranking else None
        given = (
            listed,
            gate.fresh and gate.fresh.column,
            cluster,
            self.statistics.weight,
            self.train.weight,
            self.analyze.weight,
            self.naive,
        )
        asked += [column for column in given if column]
        sources = [column for feature in self.features for column in feature.sources]
        return tuple(dict.fromkeys([*self.labels, *sources, *self.slices, *asked]))

    @property
    def is_always_trained(self) -> bool:
        """Whether a run trains whatever has been gained by earlier trainings."""
        return self.retrain.policy == "always" and self.retrain.budget is None

    @property
    def is_trained_ahead(self) -> bool:
        """Whether a backfill trains the models of later spans before these are judged."""
        asked = self.asked("train")
        elsewhere = isinstance(asked, Resources) and asked.nodes
        return self.is_always_trained and not (self.train.warm_start or asked.gpu or elsewhere)

    def asked(self, stage: str) -> Pod:
        """Return what a step asks a cluster for: its own settings over those of all steps."""
        return self.resources.of(stage, self.train.resources)

    @model_validator(mode="before")
    @classmethod
    def _several_labels_are_a_task(cls, values: Any) -> Any:
        """Take a list of labels for what it is."""
        if isinstance(values, dict) and isinstance(values.get("label"), list | tuple) and "task" not in values:
            return values | {"task": MULTILABEL}
        return values

    @model_validator(mode="after")
    def _weights_are_no_part_of_a_row(self) -> Project:
        weight = self.analyze.weight
        if weight and self.ranking:
            raise ValueError("analyze.weight: rows of a ranking count by their list, not each by itself; leave one out")
        if weight and (weight in self.labels or any(weight in feature.sources for feature in self.features)):
            raise ValueError(
                f"analyze.weight: {weight!r} is a label or feature; let the query give it under a name of its own"
            )
        return self

    @model_validator(mode="after")
    def _labels_fit_the_task(self) -> Project:
        if (len(self.labels) > 1) != (self.task == MULTILABEL):
            found = f"{len(self.labels)} labels" if len(self.labels) > 1 else f"the one label {self.label!r}"
            raise ValueError(
                f"label is a list where task is 'multilabel', and only there; found {found}, {self.task!r}"
            )
        if self.task == MULTILABEL and self.monitor.labels:
            raise ValueError(
                "monitor.labels: the live quality of several labels of a row is not measured; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _resources_fit_together(self) -> Project:
        for stage in STAGES:
            self.asked(stage)
        return self

    @model_validator(mode="after")
    def _spans_are_the_sources(self) -> Project:
        if not isinstance(self.deploy, OfRows) or "every" not in self.deploy.model_fields_set:
            return self
        if (said := self.deploy.every) != self.source.every:
            raise ValueError(
                f"deploy.every is {said!r}, and a span is a {self.source.every}, as source.every says: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _features_are_distinct(self) -> Project:
        names = [name for feature in self.features for name in feature.inputs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} stands twice in features: give one of them another `name`")
        for label in self.labels:
            if label in names or any(label in feature.sources for feature in self.features):
                raise ValueError(f"the label {label!r} stands in features too: the model would know the answer")
        return self

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Project:
        if self.naive and self.task != "regression":
            raise ValueError(f"naive is a forecast of a number, and task is {self.task!r}")
        taken = [column for feature in self.features for column in feature.sources if column == "decision"]
        if self.train.thresholds and taken:
            raise ValueError(
                "train.thresholds: the answer gets a column 'decision', which a feature has too: rename it"
            )
        if self.train.thresholds and self.task == "regression":
            raise ValueError("train.thresholds: a number has no classes; task is 'regression'")
        if self.task == "binary" and (wrong := set(self.train.thresholds) - {"1"}):
            raise ValueError(f"train.thresholds: of a binary task there is the class '1' alone; found {min(wrong)!r}")
        if self.task == MULTILABEL and (wrong := set(self.train.thresholds) - set(self.labels)):
            raise ValueError(f"train.thresholds: {min(wrong)!r} is no label; there are {', '.join(self.labels)}")
        if self.ranking and self.task in ("multiclass", MULTILABEL):
            raise ValueError("ranking needs one score a row: task binary (a chance) or regression (a gain)")
        if self.train.tune and self.train.tune.metric:
            try:
                check(self.train.tune.metric, self.task, labels=self.labels)
            except ValueError as error:
                raise ValueError(f"train.tune: {error}") from None
        for name in self.metrics:
            if name in BETTER[self.task] or name.startswith(OF_A_CLASS) or name in of_labels(self.labels):
                raise ValueError(f"metrics.{name}: the task {self.task!r} has a metric of that name")
        for number, gate in enumerate(self.gates.model):
            try:
                own = (*self.metrics, *(self.ranking.metrics if self.ranking else ()))
                gate.fit(self.task, own, self.labels)
            except ValueError as error:
                raise ValueError(f"gates.model.{number}: {error}") from None
            if gate.no_worse_than == "baseline" and self.train.for_baseline() is None:
                why = "is false" if self.train.baseline is False else "is the very trainer"
                raise ValueError(f"gates.model.{number}: needs a baseline, and train.baseline {why}")
            if not self.naive and (gate.no_worse_than == "naive" or gate.metric == "mase"):
                raise ValueError(f"gates.model.{number}: needs `naive`, the column with a naive forecast")
        return self
