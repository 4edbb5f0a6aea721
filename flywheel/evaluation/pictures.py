"""What each task shows of its models: curves of a classifier, a confusion matrix, residuals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flywheel.evaluation import estimates, multilabel, ranking
from flywheel.evaluation.metrics import by_group, overall
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions
from flywheel.labels import MULTILABEL
from flywheel.reports import Section, charts, join, paragraph, table

if TYPE_CHECKING:
    from markupsafe import Markup

_SHOWN_CLASSES = 15
_BINS = 10
_KEPT = "Of the rows above a threshold how many are positive, over how many of the positive ones that catches."


def sections(found: Predictions) -> list[Section]:
    """Return the sections of a report that are the task's own."""
    drawn = {"binary": _binary, "multiclass": _multiclass, MULTILABEL: _multilabel, "regression": _regression}
    return drawn[found.task](found)


def _binary(found: Predictions) -> list[Section]:
    curves = {
        name: list(zip(*ranking.roc(found.labels, scores, found.weights)[:2], strict=True))
        for name, scores in found.scores.items()
    }
    bins, kept = (
        _bins(found),
        {name: ranking.precisions(found.labels, each, found.weights) for name, each in found.scores.items()},
    )
    return [
        Section(
            "ROC",
            _drawn(curves, 1.0, "false positive rate", "true positive rate"),
            "The further above the diagonal, the better a model ranks.",
        ),
        Section("Precision and recall", _precise(kept), _KEPT),
        Section(
            "Calibration",
            _drawn(bins, _top(bins), "mean prediction", "share of positives"),
            "In ten bins of equally many rows; on the diagonal a model is right.",
        ),
    ]


def _multiclass(found: Predictions) -> list[Section]:
    shown = _largest_classes(found)
    said = "Of the true class of each line, the share of rows that the candidate calls so."
    if len(shown) < len(found.classes):
        said += f" The {len(shown)} largest of {len(found.classes)} classes."
    return [
        Section("Confusion", _confusion(found, shown), said),
        Section("Classes", _classes(found, shown), "Precision and recall of each class, the largest class first."),
    ]


def _multilabel(found: Predictions) -> list[Section]:
    shown = [multilabel.of_label(found, index) for index in range(len(found.classes))]
    named = dict(zip(found.classes, shown, strict=True))
    told = dict(list(named.items())[: len(charts.PALETTE) - 1])
    both = {name: part for name, part in told.items() if len(set(part.labels.tolist())) == 2}
    rest = f" The first {len(told)} of {len(named)} labels." if len(told) < len(named) else ""
    curves = {
        name: list(zip(*ranking.roc(part.labels, part.scores[CANDIDATE], part.weights)[:2], strict=True))
        for name, part in both.items()
    }
    bins = {
        name: ranking.calibration(part.labels, part.scores[CANDIDATE], _BINS, part.weights)
        for name, part in both.items()
    }
    kept = {name: ranking.precisions(part.labels, part.scores[CANDIDATE], part.weights) for name, part in both.items()}
    lead = f"The candidate's, of each label on the rows of which it is known.{rest}"
    sections = [Section("Labels", table(_labels(named)), "Each label by itself, on the rows of which it is known.")]
    if both:
        sections += [
            Section("ROC by label", _drawn(curves, 1.0, "false positive rate", "true positive rate"), lead),
            Section("Precision and recall by label", _precise(kept), f"{lead} {_KEPT}"),
            Section("Calibration by label", _drawn(bins, _top(bins), "mean prediction", "share of positives"), lead),
        ]
    return sections


def _labels(named: Mapping[str, Predictions]) -> list[dict[str, object]]:
    """Return the figures of each label, and what the candidate gains over the champion."""
    rows: list[dict[str, object]] = []
    for name, part in named.items():
        figures = overall(part, CANDIDATE)
        row: dict[str, object] = {"label": name, "rows": len(part), "label rate": figures["label_rate"]}
        row |= {f"auc of the {model}": estimates.value(part, "auc", model) for model in part.models}
        if CHAMPION in part.scores:
            gained = estimates.difference(part, "auc")
            row |= {"gain": gained.value, "90% interval": gained.interval()}
        rows.append(row | {metric: figures[metric] for metric in ("precision", "recall", "f1", "calibration")})
    return rows


def _regression(found: Predictions) -> list[Section]:
    bins = _bins(found)
    return [
        Section(
            "Predicted and actual",
            _drawn(bins, _top(bins), "mean prediction", "mean label"),
            "In ten bins of equally many rows; on the diagonal a model is right.",
        ),
        Section("Errors", _errors(found), "Prediction minus label: a model without bias is centred on 0."),
        Section("Errors by span", _errors_by_span(found), "The mean error of each span."),
    ]


def _bins(found: Predictions) -> dict[str, list[tuple[float, float]]]:
    return {
        name: ranking.calibration(found.labels, scores, _BINS, found.weights) for name, scores in found.scores.items()
    }


def _top(bins: Mapping[str, Sequence[tuple[float, float]]]) -> float:
    return max(value for points in bins.values() for point in points for value in point)


def _drawn(series: Mapping[str, Sequence[tuple[float, float]]], top: float, x: str, y: str) -> Markup:
    """Return one line a model, and the diagonal up to `top`."""
    first = dict(list(series.items())[: len(charts.PALETTE) - 1])
    lines = {**first, "diagonal": [(0.0, 0.0), (top, top)]}
    return join(charts.legend(list(lines)), charts.lines(lines, f"{y} over {x}", x=x, y=y, width=420, height=300))


def _precise(series: Mapping[str, Sequence[tuple[float, float]]]) -> Markup:
    """Return one line of precision over recall for each name."""
    drawn = charts.lines(series, "precision over recall", x="recall", y="precision", width=420, height=300)
    return join(charts.legend(list(series)), drawn)


def _largest_classes(found: Predictions) -> list[int]:
    import numpy as np

    counts = np.bincount(found.labels.astype(np.int64), minlength=len(found.classes))
    return [int(index) for index in np.argsort(-counts, kind="stable")[:_SHOWN_CLASSES]]


def _confusion(found: Predictions, shown: Sequence[int]) -> Markup:
    import numpy as np

    size = len(found.classes)
    called = found.labels * size + found.scores[CANDIDATE].argmax(axis=1)
    cells = np.bincount(called, found.weights, size * size).reshape(size, size)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1e-300)
    values = {
        (found.classes[truth], found.classes[said]): float(shares[truth, said]) for truth in shown for said in shown
    }
    return charts.matrix(values, "confusion of the candidate", rows="true class", columns="predicted class")


def _classes(found: Predictions, shown: Sequence[int]) -> Markup:
    from flywheel.evaluation.groups import Groups

    everything = Groups.whole(len(found))
    measured = {name: by_group(found, name, everything) for name in found.models}
    parts = [charts.legend(list(measured))]
    for metric in ("precision", "recall"):
        series = {
            name: {found.classes[index]: float(values[f"{metric}_{found.classes[index]}"][0]) for index in shown}
            for name, values in measured.items()
        }
        parts += [paragraph(metric), charts.bars(series, f"{metric} of each class", width=420)]
    return join(*parts)


def _errors(found: Predictions) -> Markup:
    import numpy as np

    errors = {name: scores - found.labels for name, scores in found.scores.items()}
    low, high = np.quantile(np.concatenate(list(errors.values())), [0.005, 0.995])
    edges = np.linspace(low, high, 31) if low < high else np.linspace(low - 0.5, low + 0.5, 3)
    series = {}
    for name, values in list(errors.items())[: len(charts.PALETTE)]:
        counts, _ = np.histogram(values, edges, weights=found.weights)
        shares = counts / max(float(len(values) if found.weights is None else found.weights.sum()), 1e-300)
        series[name] = list(zip(edges[:-1].tolist(), edges[1:].tolist(), shares.tolist(), strict=True))
    return join(charts.legend(list(series)), charts.histogram(series, "prediction minus label", width=420, height=160))


def _errors_by_span(found: Predictions) -> Markup:
    series = {}
    for name in list(found.scores)[: len(charts.PALETTE)]:
        errors = by_group(found, name, found.spans)["bias"]
        series[name] = [(float(place), float(error)) for place, error in enumerate(errors)]
    keys = found.spans.keys
    said = f"spans from {keys[0]} (0) to {keys[-1]} ({len(keys) - 1})"
    drawn = charts.lines(series, "mean error by span", x=said, y="mean error", width=420)
    return join(charts.legend(list(series)), drawn)
