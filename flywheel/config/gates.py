"""`statistics` and `gates`: how data and models are measured, and what keeps bad ones out."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from flywheel.config import metrics
from flywheel.config.metrics import MACRO
from flywheel.config.serving import ServingGate
from flywheel.config.strict import FUNCTION, Duration, Strict
from flywheel.spans import LEAVE_OUT


class Statistics(Strict):
    """How the data is counted."""

    engine: Literal["auto", "local", "beam"] = Field("auto", description="In process, or by Beam; auto by size.")
    weight: str | None = Field(None, description="Column with the weight of a row.")
    slices: tuple[str, ...] = Field((), description="Columns; statistics for each of their values too.")
    beam: tuple[str, ...] = Field((), description="Beam's pipeline options, as --runner=DataflowRunner.")


class Analyze(Strict):
    """How models are asked about the judge's rows, and measured."""

    engine: Literal["auto", "local", "beam"] = Field(
        "auto",
        description="In process, or by Beam's workers and TFMA; auto predicts in process unless a runner is named.",
    )
    beam: tuple[str, ...] = Field((), description="Beam's pipeline options, as --runner=DataflowRunner.")
    mistakes: int = Field(20, ge=0, le=200, description="How many of the worst mistakes the report shows, whole rows.")
    redact: tuple[str, ...] = Field((), description="Columns that it never shows, beside those of deploy.log.redact.")
    weight: str | None = Field(
        None, description="Column of the query that says how often a row counts in every metric, not in rankings."
    )


class ColumnGate(Strict):
    """What is asked of one column, in place of what its history says."""

    severity: Literal["block", "warn", "off"] = Field("block", description="What an alarm of this column does.")
    nulls_at_most: float | None = Field(None, ge=0, le=1, description="Largest share of rows without a value.")
    distance_at_most: float | None = Field(None, gt=0, description="Largest distance from comparable spans, 0 to 1.")


class Fresh(Strict):
    """How old the newest row of a span may be."""

    column: str = Field(description="Column with the time of a row.")
    within: Duration = Field(description="How long before the end of its span the newest row may be, as 2h.")


class DataGate(Strict):
    """When new data is too strange to train on."""

    false_alarms: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="How often a normal span may be blocked by bars from history.",
    )
    drift: dict[str, float] = Field({}, description="Column: largest distance from the span before (L-infinity or JS).")
    skew: dict[str, float] = Field({}, description="Column: largest distance from logged requests (as drift).")
    columns: dict[str, ColumnGate] = Field({}, description="Column: what is asked of it.")
    key: tuple[str, ...] = Field((), description="Columns that together name a row: no two rows share them.")
    new_keys_at_most: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Largest share of keys, less the times in them, that no span of the last four weeks had.",
    )
    fresh: Fresh | None = Field(None, description="How old the newest row may be.")
    rows_at_least: int = Field(1, ge=1, description="Fewest rows of a span.")
    calendar: tuple[str, ...] = Field(
        (), description="Unusual spans, as 2013-07-04 or 2013-12-20 to 2014-01-02: bars from history only warn there."
    )
    leave_out: float = Field(
        LEAVE_OUT,
        ge=0,
        le=0.9,
        description="Largest share of bad spans among those that a run looks at: good ones from before stand in for "
        "them, from so far back and no further. It blocks when a larger share of the window is missing then.",
    )

    @field_validator("calendar", mode="before")
    @classmethod
    def _days(cls, lines: Any) -> Any:
        """Take days as YAML reads them."""
        return [str(line) if isinstance(line, date) else line for line in lines] if isinstance(lines, list) else lines

    @model_validator(mode="after")
    def _keyed(self) -> DataGate:
        if self.new_keys_at_most is not None and not self.key:
            raise ValueError("new_keys_at_most is a share of keys: say which columns are one in gates.data.key")
        return self


class OwnMetric(Strict):
    """A metric of one's own: what a prediction is worth, row by row, and in the mean."""

    function: str = Field(
        pattern=FUNCTION,
        description="`module:function`: takes a record batch of label, prediction and `columns`; gives a number a row.",
    )
    better: Literal["higher", "lower"] = Field(
        description="Whether more is better, as of revenue, or less, as of cost."
    )
    columns: tuple[str, ...] = Field((), description="Columns of the query that it needs besides.")


class ModelGate(Strict):
    """One bar that a candidate has to clear."""

    metric: str = Field(
        description="What is measured. Binary: auc, accuracy, log_loss, brier, precision, recall, f1, calibration, "
        "false_positive_rate, selection_rate. "
        "Multiclass: accuracy, macro_f1, weighted_f1, auc, log_loss, top_2, top_3, top_5, precision_<class>, "
        "recall_<class>. "
        "Multilabel: macro_auc, macro_precision, macro_recall, macro_f1, macro_log_loss, macro_brier, the same with "
        "micro_, and each with the label behind it in place of macro_ before it, as auc_<label>. "
        "Regression: mae, rmse, mse, mape, smape, r2, pinball, mase, bias, calibration. "
        "Any: one of `metrics`; with `ranking` ndcg_<k>, map_<k>."
    )
    at_least: float | None = Field(None, description="Absolute bar, higher is better.")
    at_most: float | None = Field(None, description="Absolute bar, lower is better.")
    no_worse_than: Literal["champion", "baseline", "naive"] | None = Field(
        None, description="Compare with the model in service, the baseline of `train.baseline`, or the column `naive`."
    )
    margin: float = Field(0.0, ge=0, description="How much worse is still accepted, in the metric's unit.")
    slices: tuple[str, ...] = Field((), description="Columns; a group of rows shown to be worse blocks.")
    labels: bool | None = Field(
        None, description="Of a macro_ metric: each label by itself too; one that is shown to be worse blocks."
    )
    gap: str | None = Field(
        None, description="Column; the metric must not differ between two of its values by more than at_most."
    )
    minimum_rows: int = Field(100, ge=1, description="With fewer rows a slice is not judged, and a bar is undecided.")

    @model_validator(mode="after")
    def _one_bar(self) -> ModelGate:
        bars = [bar for bar in ("at_least", "at_most", "no_worse_than") if getattr(self, bar) is not None]
        if len(bars) != 1:
            found = " and ".join(bars) or "none"
            raise ValueError(f"a gate needs one of at_least, at_most, no_worse_than; found {found}")
        if self.gap and (self.at_most is None or self.slices or self.labels):
            raise ValueError("gap needs at_most, the largest difference between groups that is accepted, and no slices")
        if self.labels and not self.metric.startswith(MACRO):
            raise ValueError(f"labels is of a metric that is a mean over labels, as macro_auc; found {self.metric!r}")
        if self.no_worse_than and not self.margin:
            raise ValueError("no_worse_than needs a margin above 0: how much worse is still accepted")
        return self

    def fit(self, task: str, own: Collection[str] = (), labels: Collection[str] = ()) -> None:
        """Raise a ValueError unless this gate judges what a model of `task` has, or a metric of the user's own."""
        if self.metric in own:
            return
        metrics.check(self.metric, task, own, labels)
        if self.no_worse_than and not metrics.better(self.metric, task):
            raise ValueError(f"metric {self.metric} has no better or worse; give it at_least or at_most")
        if self.no_worse_than == "naive" and self.metric == "mase":
            raise ValueError("metric mase compares with naive already; give it at_most: 1")


class LeakGate(Strict):
    """When a judgement is not to be believed, because the judge was let in on the answer."""

    rows_at_most: float = Field(
        0.01, ge=0, le=1, description="Largest share of the judge's rows that stand in the training window too."
    )
    jump: float = Field(
        1.5, gt=0, description="Largest gain over the champion in one step: log odds of auc or accuracy, log of mae."
    )


class WorstSlices(Strict):
    """Slices in which the candidate is worse, found without being asked for."""

    columns: tuple[str, ...] = Field((), description="Columns to search, alone and in pairs; none: those of features.")
    minimum_rows: int = Field(200, ge=20, description="Smallest slice.")
    severity: Literal["warn", "block"] = Field("warn", description="What a slice does that both halves of spans show.")


class Gates(Strict):
    """What keeps bad data and worse models out."""

    data: DataGate = Field(DataGate(), description="Bars for the data.")
    model: tuple[ModelGate, ...] = Field((), description="Bars for the model; none, and nothing is promoted.")
    cluster: str | None = Field(
        None,
        description="Column whose value rows share that are not independent, as user_id; `rows` when all of them are "
        "independent. Without it, rows of one span count as one piece of evidence.",
    )
    test: Literal["auto", "bootstrap"] = Field(
        "auto",
        description="How differences are tested: a jackknife over clusters (of AUC it is DeLong's where rows are "
        "independent, of accuracy McNemar's); or a BCa bootstrap, for skewed figures over forty clusters or more.",
    )
    looks: int = Field(
        4,
        ge=1,
        le=20,
        description="How often one candidate may be judged. One that is left undecided stays challenger, and the same "
        "model is judged again on later spans, all looks together at the error of one; 1: it is dropped.",
    )
    leak: LeakGate | Literal[False] = Field(LeakGate(), description="Guards against a judge that knows the answer.")
    worst_slices: WorstSlices | Literal[False] = Field(
        WorstSlices(), description="Search for slices in which the candidate is worse."
    )
    serving: ServingGate | None = Field(None, description="Bars for the packaged model; none, and it is not tried.")
