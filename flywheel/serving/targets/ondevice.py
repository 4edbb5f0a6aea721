"""`ondevice`: a LiteRT (TFLite) file for phones and small devices, size and loss judged before it is published."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from flywheel.artifacts import Check
from flywheel.config import OnDevice
from flywheel.labels import MULTILABEL
from flywheel.serving import pyfunc
from flywheel.serving.export import litert, probe
from flywheel.serving.folder import Deployment, path_of
from flywheel.serving.rows import sample
from flywheel.serving.targets import Order, Placed
from flywheel.serving.targets.versions import Built, VersionFolder
from flywheel.spans import Span
from flywheel.transform import raw, tensors
from flywheel.transform.bad_rows import BadRows

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_LESS = "quantise less: `dynamic`, or `none`."
_README = """# A LiteRT (TFLite) model

`model.tflite` takes what the transform makes of one row, each input of shape (1, …): {inputs}. The transform stands in
`state.json`: a vocabulary's place, a range's number, (value - mean) / deviation. Where there is a `thresholds.json`, a
row is called what reaches its chance there, in the order of the label's `classes` in `state.json`; null for never.
"""


class Target:
    """A folder of numbered versions, of which the highest is to be fetched by devices.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
    """

    def __init__(self, settings: OnDevice, name: str) -> None:
        self._settings, self._path = settings, path_of(settings.folder) / name

    def current(self) -> Deployment | None:
        """Return the version of the highest number."""
        return VersionFolder(self._path, partial(build, self._settings, None)).current()

    def put(self, order: Order) -> Placed:
        """Write the version's file and make it the highest number, if it keeps the bars."""
        span = Span.parse(order.champion.span, self._settings.every) if self._settings.query else None
        return VersionFolder(self._path, partial(build, self._settings, span)).put(order)


def build(settings: OnDevice, span: Span | None, model: Path, into: Path) -> Built:
    """Write the file of a packaged model and hold it against the model on rows of `span`, or on ones that are made up.

    Raises:
        ServingError: It cannot be exported.
        NotArrived: The span has no rows.
    """
    predictor = pyfunc.load(model)
    rows, labels = (probe.frame(predictor, model), None) if span is None else _real(settings, span, predictor)
    inputs = litert.write(predictor, into, rows, settings.quantise)
    answers = litert.ask(predictor, into, rows)
    loss = probe.parity(predictor, rows, lambda _: answers, tolerance=float("inf"))
    megabytes = (into / litert.FILE).stat().st_size / 1e6
    facts: dict[str, Any] = {
        "format": "LiteRT",
        "quantised": settings.quantise,
        "megabytes": megabytes,
        "mean difference": loss.mean,
        "largest difference": loss.largest,
        "rows compared": loss.rows,
        "rows": f"of {span}" if span else "made of what the transform learned",
    }
    checks = [_size(settings, megabytes), _difference(settings, loss)]
    if labels is not None and (found := _quality(predictor, labels, rows, answers)):
        facts |= {f"{found.metric} packaged": found.packaged, f"{found.metric} on device": found.exported}
        checks.append(_worse(settings, found, loss.rows))
    shutil.copyfile(model / "data" / pyfunc.PAYLOAD / pyfunc.STATE, into / pyfunc.STATE)
    if predictor.thresholds:
        (into / f"{pyfunc.THRESHOLDS}.json").write_text(json.dumps(predictor.thresholds, indent=1))
    readme = _README.format(inputs=", ".join(f"`{name}` ({dtype})" for name, dtype in inputs.items()))
    return Built(facts, readme, tuple(checks))


def _real(settings: OnDevice, span: Span, predictor: pyfunc.Predictor) -> tuple[pd.DataFrame, NDArray[Any] | None]:
    """Return rows of a span that the model can read, as requests carry them, and their labels if the query has any."""
    batch = sample(settings, span, settings.rows)
    bad = BadRows(batch.num_rows)
    predictor.inputs(batch, bad)
    state = predictor.state
    if not set(state.target.columns) <= set(batch.schema.names):
        return raw.frame(batch.filter(pa.array(~bad.mask()))), None
    known = ~bad.mask()
    if state.task != MULTILABEL:
        known &= ~raw.nulls(batch.column(batch.schema.get_field_index(state.label)))
    batch = batch.filter(pa.array(known))
    return raw.frame(batch), tensors.plain(state.target.of(batch))


@dataclass(frozen=True)
class _Quality:
    metric: str
    packaged: float
    exported: float
    loss: float


def _quality(
    predictor: pyfunc.Predictor, labels: NDArray[Any], rows: pd.DataFrame, answers: NDArray[Any]
) -> _Quality | None:
    """Return how well both know the labels; None where the rows cannot tell."""
    from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

    both = [predictor.outputs(rows).reshape(len(rows), -1), np.asarray(answers, np.float64).reshape(len(rows), -1)]
    task = predictor.state.task
    if task == MULTILABEL:
        known = [labels[:, index] >= 0 for index in range(labels.shape[1])]  # NaN is not
        there = [index for index, rows in enumerate(known) if len(np.unique(labels[rows, index])) == 2]
        if not there:
            return None
        ours, theirs = (
            float(np.mean([roc_auc_score(labels[known[at], at], each[known[at], at]) for at in there])) for each in both
        )
        return _Quality("mean AUC of the labels", ours, theirs, ours - theirs)
    if task == "multiclass":
        ours, theirs = (float(accuracy_score(labels, each.argmax(axis=1))) for each in both)
        return _Quality("accuracy", ours, theirs, ours - theirs)
    if task == "regression":
        ours, theirs = (float(mean_absolute_error(labels, each[:, 0])) for each in both)
        return _Quality("mean absolute error", ours, theirs, (theirs - ours) / ours) if ours else None
    if len(np.unique(labels)) < 2:
        return None
    ours, theirs = (float(roc_auc_score(labels, each[:, 0])) for each in both)
    return _Quality("AUC", ours, theirs, ours - theirs)


def _size(settings: OnDevice, megabytes: float) -> Check:
    large = megabytes > settings.max_mb
    return Check(
        f"at most {settings.max_mb:g} MB",
        "fail" if large else "pass",
        observed=megabytes,
        bound=settings.max_mb,
        reason=f"the file has {megabytes:.3g} MB",
        remedy="quantise it, or train a smaller model." if large else "",
    )


def _difference(settings: OnDevice, loss: probe.Parity) -> Check:
    far = loss.mean > settings.max_loss
    return Check(
        f"mean difference at most {settings.max_loss:g}",
        "fail" if far else "pass",
        observed=loss.mean,
        bound=settings.max_loss,
        rows=loss.rows,
        reason=f"predictions differ by {loss.mean:.3g} from the packaged model's on average",
        remedy=_LESS if far else "",
    )


def _worse(settings: OnDevice, found: _Quality, rows: int) -> Check:
    worse = found.loss > settings.max_quality_loss
    share = " of it" if found.metric == "mean absolute error" else ""
    return Check(
        f"loss of {found.metric} at most {settings.max_quality_loss:g}{share}",
        "fail" if worse else "pass",
        observed=found.loss,
        bound=settings.max_quality_loss,
        rows=rows,
        reason=f"{found.metric} is {found.exported:.4g} on a device, the packaged model's {found.packaged:.4g}",
        remedy=_LESS if worse else "",
    )
