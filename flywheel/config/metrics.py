"""The metrics that gates may name, by task, and which way each is better."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flywheel.errors import meant

BETTER: Mapping[str, Mapping[str, int]] = {
    "binary": {
        "auc": 1, "accuracy": 1, "log_loss": -1, "brier": -1, "precision": 1, "recall": 1, "f1": 1, "calibration": 0,
        "false_positive_rate": -1, "selection_rate": 0, "label_rate": 0, "example_count": 0,
    },
    "multiclass": {
        "accuracy": 1, "macro_f1": 1, "weighted_f1": 1, "auc": 1, "log_loss": -1, "top_2": 1, "top_3": 1, "top_5": 1,
        "example_count": 0,
    },
    "multilabel": {
        "macro_auc": 1, "macro_precision": 1, "macro_recall": 1, "macro_f1": 1, "macro_log_loss": -1, "macro_brier": -1,
        "micro_auc": 1, "micro_precision": 1, "micro_recall": 1, "micro_f1": 1, "micro_log_loss": -1, "micro_brier": -1,
        "example_count": 0,
    },
    "regression": {
        "mae": -1, "rmse": -1, "mse": -1, "mape": -1, "smape": -1, "r2": 1, "pinball": -1, "mase": -1, "bias": 0,
        "calibration": 0, "label_mean": 0, "example_count": 0,
    },
}  # fmt: skip
"""Task, metric: 1 when more is better, -1 when less is, 0 when neither."""

OF_A_CLASS = ("precision_", "recall_")
"""What metrics of one class begin with; its value follows, as in `recall_spam`."""

OF_A_LABEL: Mapping[str, int] = {
    "auc": 1, "precision": 1, "recall": 1, "f1": 1, "log_loss": -1, "brier": -1,
    "calibration": 0, "label_rate": 0, "label_count": 0,
}  # fmt: skip
"""Metrics of one label of several; its name follows, as in `auc_toxic`."""

MACRO, MICRO = "macro_", "micro_"
"""What a metric begins with that is the mean over labels, or that of all labels of all rows together."""

OF_A_RANKING = ("ndcg_", "map_")
"""What metrics of a ranking begin with; the number of places that count follows, as in `ndcg_10`."""

HEADLINE: Mapping[str, str] = {
    "binary": "auc",
    "multiclass": "accuracy",
    "multilabel": "macro_auc",
    "regression": "mae",
}
"""The figure that says most about a model, by task."""

NO_BAR = ("label_rate", "label_mean", "label_count", "example_count")
"""They describe the rows, not the model."""


def better(metric: str, task: str) -> int:
    """Return 1 when more of `metric` is better, -1 when less is, 0 when neither."""
    if task == "multiclass" and metric.startswith(OF_A_CLASS):
        return 1
    if metric.startswith(OF_A_RANKING):
        return 1
    if task == "multilabel" and metric not in BETTER[task]:
        return next(sign for name, sign in OF_A_LABEL.items() if metric.startswith(f"{name}_"))
    return BETTER[task][metric]


def of_labels(labels: Collection[str]) -> list[str]:
    """Return the metrics of each of several labels that a gate may name; none of a single one."""
    names = [name for name in OF_A_LABEL if name not in NO_BAR]
    return [f"{name}_{label}" for label in labels for name in names] if len(labels) > 1 else []


def check(metric: str, task: str, own: Collection[str] = (), labels: Collection[str] = ()) -> None:
    """Raise a ValueError unless a gate may name `metric` when the task is `task`, of these `labels` where several."""
    several = of_labels(labels) if task == "multilabel" else []
    known = [*own, *(name for name in BETTER[task] if name not in NO_BAR), *several]
    if metric in known or (task == "multiclass" and metric.startswith(OF_A_CLASS)):
        return
    more = ", and precision_ or recall_ with a class behind it" if task == "multiclass" else ""
    hint = meant(metric, known)
    raise ValueError(f"metric is none of the task {task!r}; {hint}known are {', '.join(known)}{more}; found {metric!r}")
