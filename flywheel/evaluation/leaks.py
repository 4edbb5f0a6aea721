"""Has the judge been let in on the answer? Rows that were trained on, and a gain that no honest model makes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Check
from flywheel.config.metrics import HEADLINE, better
from flywheel.statistics.local import together

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flywheel.artifacts import Examples
    from flywheel.evaluation.predictions import Predictions

ROWS, JUMP = 0.01, 1.5
_TWICE = 2.0


def rows_seen(examples: Examples, judge: Sequence[str]) -> dict[str, float]:
    """Return which share of the judge's rows stand in the earlier spans too, all columns alike, and what is usual.

    Usual is the share of the last earlier span's rows that stand in those before it: rows of few and coarse columns
    repeat each other without any harm. By 64-bit hashes; only those of the judge and of one span are held.

    Args:
        examples: Raw rows of training window and judge.
        judge: Spans of the judge.

    Returns:
        `share` and `usual`, 0 to 1; both are 0 without earlier spans.
    """
    earlier = [span for span in examples.spans if span not in judge and examples.rows_of([span])]
    if not earlier:
        return {"share": 0.0, "usual": 0.0}
    judged, last = _Rows(_hashes(examples, judge)), _Rows(_hashes(examples, earlier[-1:]))
    for hashes in _hashes(examples, earlier[:-1]):
        judged.look(hashes)
        last.look(hashes)
    judged.look(last.keys)
    return {"share": judged.share, "usual": last.share}


class _Rows:
    """Hashes of rows, and which of them were seen elsewhere."""

    def __init__(self, batches: Iterable[NDArray[Any]]) -> None:
        import numpy as np

        self.keys, self._counts = np.unique(np.concatenate([np.empty(0, np.uint64), *batches]), return_counts=True)
        self._seen = np.zeros(len(self.keys), bool)

    def look(self, hashes: NDArray[Any]) -> None:
        """Note which of these rows are among `hashes`."""
        import numpy as np

        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, hashes), len(self.keys) - 1)
            self._seen[places[self.keys[places] == hashes]] = True

    @property
    def share(self) -> float:
        """The share of the rows that were seen elsewhere."""
        return float(self._counts[self._seen].sum() / max(self._counts.sum(), 1))


def checks(found: Predictions, seen: Mapping[str, float] | None, gate: Mapping[str, float]) -> tuple[Check, ...]:
    """Return whether the judgement can be believed.

    Args:
        found: Predictions of all models on the judge's rows.
        seen: As `rows_seen` returned it; None where it was not looked at.
        gate: `rows_at_most` and `jump`, as `gates.leak` of flywheel.yaml.
    """
    given = [] if seen is None else [_rows(seen, len(found), gate.get("rows_at_most", ROWS))]
    return (*given, *_jump(found, gate.get("jump", JUMP)))


def _rows(seen: Mapping[str, float], rows: int, most: float) -> Check:
    bound = max(most, _TWICE * seen["usual"])
    ok = seen["share"] <= bound
    reason = f"{seen['share']:.2%} of the judge's rows stand, as they are, in what the model was trained on"
    return Check(
        "rows trained on",
        "pass" if ok else "fail",
        seen["share"],
        bound,
        rows=rows,
        reason=reason
        if ok
        else f"{reason}; {bound:.2%} are accepted: the judgement would be of what it knows by heart",
        remedy="" if ok else "look why the query gives the same rows in two spans; gates.leak.rows_at_most is the bar.",
    )


def _jump(found: Predictions, most: float) -> Iterable[Check]:
    from flywheel.evaluation import estimates
    from flywheel.evaluation.predictions import CANDIDATE, CHAMPION

    if CHAMPION not in found.scores:
        return
    metric = HEADLINE[found.task]
    ours, theirs = (estimates.value(found, metric, name) for name in (CANDIDATE, CHAMPION))
    if not all(map(math.isfinite, (ours, theirs))):
        return
    gained = _level(ours, metric, found.task) - _level(theirs, metric, found.task)
    ok = gained <= most
    reason = f"{metric} goes from the champion's {theirs:.4g} to {ours:.4g} in one step"
    yield Check(
        "plausible gain",
        "pass" if ok else "fail",
        gained,
        most,
        rows=len(found),
        reason=reason if ok else f"{reason}: more likely than so much better a model is a column that tells the label",
        remedy=""
        if ok
        else "look which feature is new, or is known only after the label; if the gain is real, raise gates.leak.jump.",
    )


def _level(value: float, metric: str, task: str) -> float:
    """Return a figure on a scale on which steps mean the same anywhere: log odds of a share, minus log of an error."""
    if better(metric, task) < 0:
        return -math.log(max(value, 1e-12))
    share = min(max(value, 1e-6), 1 - 1e-6)
    return math.log(share / (1 - share))


def _hashes(examples: Examples, spans: Sequence[str]) -> Iterable[NDArray[Any]]:
    """Yield a hash of each row, of all columns but those of nested values, which have no plain one."""
    import pyarrow as pa

    plain = [field.name for field in examples.schema if not pa.types.is_nested(field.type)]
    names = [name for name in examples.columns if name in plain]
    return (_hashed(batch) for batch in together(batch for _, batch in examples.batches(spans, names)))


def _hashed(batch: pa.RecordBatch) -> NDArray[Any]:
    from pandas.util import hash_pandas_object

    hashes: NDArray[Any] = hash_pandas_object(batch.to_pandas(), index=False).to_numpy()
    return hashes
