"""Live quality: what was predicted against labels that arrived later, and what the missing ones do to the figure.

A request is joined with the first label of its id that became known after it and within `delay`, and not after the time
that is looked from: point in time. Of recent requests only the quick labels are there, and quick ones may be of another
kind. So each label that arrived stands for those that usually come later: it is weighted by one over the share of the
labels of its class that had usually arrived at the request's age (inverse probability weighting, Horvitz & Thompson
1952; delayed feedback, Chapelle 2014), and a span counts by the share that has usually arrived at its age.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from flywheel.monitoring.join import LABEL, WAITED, join
from flywheel.monitoring.log import Log
from flywheel.serving.pyfunc import PREDICTION
from flywheel.serving.request_log import TIME, VERSION

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_STEPS = 100
"""Parts of `delay` by which the usual course of arrival is known."""

_BINS = 10_000
_LEAST_ARRIVED = 0.1
"""A span of which usually less has arrived says nothing yet."""

_LEAST_ROWS, _CLUSTERS, _CONFIDENCE = 50, 5, 0.99


@dataclass(frozen=True)
class SpanQuality:
    """What is known of the predictions of one span.

    Attributes:
        span: Its name.
        requests: Rows that the champion answered.
        labelled: Of those, rows whose label arrived in time.
        usual: The share of labels that has usually arrived at this age; 1 once `delay` has passed, None when not known.
        value: The metric; NaN where it cannot be told.
        error: Its standard error, rows taken to be independent; NaN where it cannot be told.
    """

    span: str
    requests: int
    labelled: int
    usual: float | None
    value: float
    error: float

    @property
    def arrived(self) -> float:
        """Share of the labels that arrived."""
        return self.labelled / max(self.requests, 1)


@dataclass(frozen=True)
class Quality:
    """Live quality over all spans.

    Attributes:
        metric: `auc`, `accuracy` or `mae`.
        spans: By span, oldest first.
        value: All spans together, NaN while it cannot be told.
        low: Lower end of the one-sided 99% bounds.
        high: Upper end.
        clustered: Whether they come from how the spans differ, not from rows as if independent.
        share: Of labels of requests older than `delay` that ever came; None while there are no such requests.
    """

    metric: str
    spans: tuple[SpanQuality, ...]
    value: float
    low: float
    high: float
    clustered: bool
    share: float | None


def measure(
    log: Log, labels: Iterator[pa.RecordBatch], settings: Mapping[str, Any], version: str, task: str, label: str
) -> Quality:
    """Return the live quality of `version`.

    Args:
        log: The requests.
        labels: Rows with `settings["id"]`, the label and when it arrived.
        settings: `monitor` of flywheel.yaml, `delay` in seconds.
        version: Whose answers are measured.
        task: `binary`, `multiclass` or `regression`.
        label: Column of `labels`.

    Raises:
        ConfigError: A column is missing.
        DataError: A label is none of the task.
    """
    delay = float(settings["delay"])
    join(log, labels, settings, label, task)
    _joined(log, delay, version, task)
    usual = _usual(log, delay)
    course = _course(usual)
    file = log.spill("usual", iter([course])) if course.num_rows else None
    known = f"read_parquet('{file}')" if file else "(SELECT '' AS class, 0 AS step, 1.0 AS share WHERE false)"
    log.run(f"CREATE OR REPLACE VIEW usual AS SELECT * FROM {known}")
    found = _by_span(log, task)
    spans = []
    for span in log.spans:
        requests, labelled, value, error = found.get(span.name, (0, 0, math.nan, math.nan))
        spans.append(SpanQuality(span.name, requests, labelled, _at(usual, log, span.name, delay), value, error))
    old = log.ask(f"SELECT count(*), count(waited) FROM joined WHERE age >= {delay}")[0]
    share = old[1] / old[0] if old[0] else None
    metric = {"binary": "auc", "multiclass": "accuracy", "regression": "mae"}[task]
    return Quality(metric, tuple(spans), *_pooled(spans), share)


def _joined(log: Log, delay: float, version: str, task: str) -> None:
    """Make the table `joined`: of each request its span, answer, label and age, and how long the label took."""
    kind = "VARCHAR" if task == "multiclass" else "DOUBLE"
    log.run(
        f"CREATE OR REPLACE TABLE joined AS SELECT flywheel_span AS span, CAST({PREDICTION} AS {kind}) AS answer, "
        f"CAST({LABEL} AS {kind}) AS label, {WAITED} AS waited, "
        f"epoch(TIMESTAMP '{log.spans[-1].end}') - epoch({TIME}) AS age FROM labelled WHERE {VERSION} = $version",
        {"version": version},
    )
    by = "CAST(label AS VARCHAR)" if task == "multiclass" else "CAST(CAST(label AS INTEGER) AS VARCHAR)"
    log.run(
        f"CREATE OR REPLACE VIEW rows AS SELECT *, {by if task != 'regression' else repr('')} AS class, "
        f"least({_STEPS}, CAST(floor(age / {delay} * {_STEPS}) AS INTEGER)) AS step FROM joined"
    )


def _usual(log: Log, delay: float) -> dict[str, Floats]:
    """Return the share of labels that has come within each part of `delay`, by class; `""` of all, labels or not.

    Known from requests older than `delay`; nothing while there are none whose labels came.
    """
    import numpy as np

    mature = f"FROM rows WHERE age >= {delay}"
    told = log.ask(
        f"SELECT class, CAST(ceil(waited / {delay} * {_STEPS}) AS INTEGER), count(*) {mature} "
        "AND waited IS NOT NULL GROUP BY ALL"
    )
    if not told:
        return {}
    total = int(log.ask(f"SELECT count(*) {mature}")[0][0])
    counts: dict[str, Floats] = {}
    for name, step, count in told:
        for key in {str(name), ""}:
            counts.setdefault(key, np.zeros(_STEPS + 1))[min(max(int(step), 0), _STEPS)] += count
    everything = np.cumsum(counts[""]) / total
    return {name: np.cumsum(each) / each.sum() for name, each in counts.items()} | {"all": everything}


def _course(usual: Mapping[str, Floats]) -> pa.RecordBatch:
    import pyarrow as pa

    rows = [
        (name, step, float(share))
        for name, shares in usual.items()
        if name != "all"
        for step, share in enumerate(shares)
    ]
    names, steps, shares = zip(*rows, strict=True) if rows else ((), (), ())
    columns = [pa.array(names, pa.string()), pa.array(steps, pa.int32()), pa.array(shares, pa.float64())]
    return pa.RecordBatch.from_arrays(columns, ["class", "step", "share"])


def _at(usual: Mapping[str, Floats], log: Log, span: str, delay: float) -> float | None:
    """Return the share of a span's labels that had usually arrived by now, of those that come at all."""
    told = log.ask(
        "SELECT avg(u.share) FROM rows r JOIN usual u ON u.class = '' AND u.step = r.step WHERE span = $span",
        {"span": span},
    )
    if told[0][0] is not None:
        return float(told[0][0])
    ages = log.ask("SELECT min(age) FROM joined WHERE span = $span", {"span": span})[0][0]
    return 1.0 if ages is not None and ages >= delay else None


def _by_span(log: Log, task: str) -> dict[str, tuple[int, int, float, float]]:
    """Return requests, labels, the metric and its standard error by span."""
    # A label of a class that was never seen before has no usual share: it counts once
    weighed = (
        "SELECT r.span, r.answer, r.label, 1 / greatest(coalesce(u.share, 1), "
        f"{_LEAST_ARRIVED}) AS weight FROM rows r LEFT JOIN usual u ON u.class = r.class AND u.step = r.step "
        "WHERE r.label IS NOT NULL"
    )
    counted = log.ask("SELECT span, count(*), count(label) FROM joined GROUP BY ALL")
    if task == "binary":
        figures = _areas(log, weighed)
    else:
        loss = "CAST(answer = label AS DOUBLE)" if task == "multiclass" else "abs(answer - label)"
        told = log.ask(
            f"SELECT span, sum(weight * {loss}) / sum(weight), var_samp({loss}), sum(weight), sum(weight * weight) "
            f"FROM ({weighed}) GROUP BY ALL"
        )
        figures = {
            span: (float(value), math.sqrt((spread or 0) * squares / weights**2) if spread is not None else math.nan)
            for span, value, spread, weights, squares in told
        }
    return {span: (rows, labels, *figures.get(span, (math.nan, math.nan))) for span, rows, labels in counted}


def _areas(log: Log, weighed: str) -> dict[str, tuple[float, float]]:
    """Return the area under the ROC curve by span, scores cut to 10,000 parts, and its standard error (DeLong 1988)."""
    import numpy as np

    scored = f"least({_BINS - 1}, CAST(floor(answer * {_BINS}) AS INTEGER))"
    sql = (
        f"SELECT span, {scored} AS bin, sum(weight * label) AS positive, sum(weight * (1 - label)) AS negative, "
        f"count(*) AS rows, sum(label) AS positives FROM ({weighed}) GROUP BY ALL ORDER BY span, bin"
    )
    table = log.trying(lambda: log.connection.execute(sql).fetchnumpy())
    found = {}
    spans = np.asarray(table["span"])
    for span in dict.fromkeys(spans.tolist()):
        inside = spans == span
        positive, negative = (np.asarray(table[name], float)[inside] for name in ("positive", "negative"))
        rows, positives = float(table["rows"][inside].sum()), float(table["positives"][inside].sum())
        found[span] = _area(positive, negative, positives, rows - positives)
    return found


def _area(positive: Floats, negative: Floats, positives: float, negatives: float) -> tuple[float, float]:
    import numpy as np

    if not positives or not negatives:
        return math.nan, math.nan
    p, n = positive / positive.sum(), negative / negative.sum()
    below = np.cumsum(n) - n / 2  # how often a positive of this score outranks a negative
    above = 1 - np.cumsum(p) + p / 2
    area = float(p @ below)
    spread = float(p @ (below - area) ** 2) / positives + float(n @ (above - area) ** 2) / negatives
    return area, math.sqrt(spread)


def _pooled(spans: Sequence[SpanQuality]) -> tuple[float, float, float, bool]:
    """Return the mean of the spans with its bounds, each span weighted by its requests and the share that usually came.

    Rows of a day move together: with five spans and more the bounds come from how the spans differ.
    """
    import numpy as np

    told = [
        each
        for each in spans
        if each.labelled >= _LEAST_ROWS and not math.isnan(each.value) and (each.usual or 1.0) >= _LEAST_ARRIVED
    ]
    if not told:
        return math.nan, math.nan, math.nan, False
    weights = np.array([each.requests * (each.usual if each.usual is not None else each.arrived) for each in told])
    values, errors = (np.array([getattr(each, name) for each in told]) for name in ("value", "error"))
    weights = weights / weights.sum()
    value = float(weights @ values)
    rows = float(np.sqrt(weights**2 @ np.nan_to_num(errors) ** 2))
    clustered = len(told) >= _CLUSTERS
    if clustered:
        from scipy.stats import t

        between = math.sqrt(float(weights**2 @ (values - value) ** 2) * len(told) / (len(told) - 1))
        half = max(rows * NormalDist().inv_cdf(_CONFIDENCE), between * float(t.ppf(_CONFIDENCE, len(told) - 1)))
    else:
        half = rows * NormalDist().inv_cdf(_CONFIDENCE)
    return value, value - half, value + half, clustered
