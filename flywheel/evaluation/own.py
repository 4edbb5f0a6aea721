"""Metrics of the user's own: a pure function on predictions and rows, a number for each row, and their mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError, DataError
from flywheel.evaluation.metric import OfSums, total
from flywheel.labels import columns_of

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.evaluation.groups import Floats, Ints
    from flywheel.evaluation.predictions import Predictions

PREFIX = "metric "
LABEL, PREDICTION = "label", "prediction"
_SIGNS = {"higher": 1, "lower": -1}


@dataclass(frozen=True)
class Own:
    """Metrics of one's own, ready to be called.

    Attributes:
        asked: As `metrics` of flywheel.yaml: name: `function`, `better`, `columns`.
        calls: Their functions.
    """

    asked: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calls: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, asked: Mapping[str, Mapping[str, Any]], code: Path | None) -> Own:
        """Return the metrics that `asked` names, their functions from the project's archive.

        Raises:
            ConfigError: There is no archive.
            DataError: There is no such function, or its module cannot be imported.
        """
        if not asked:
            return cls()
        if code is None:
            raise ConfigError("metrics of one's own need the project's code", "give `code` to analyze.")
        from flywheel.transform.code import Code

        loaded = Code.of(code)
        return cls(asked, {name: loaded.find(about["function"], "metric function") for name, about in asked.items()})

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the rows that the functions take."""
        return tuple(dict.fromkeys(column for about in self.asked.values() for column in about["columns"]))

    @property
    def better(self) -> dict[str, int]:
        """For each, 1 when more is better and -1 when less is."""
        return {name: _SIGNS[about["better"]] for name, about in self.asked.items()}

    def values(
        self, batch: pa.RecordBatch, label: str, answers: Mapping[str, pa.Array], classes: Sequence[str]
    ) -> Iterator[pa.Array]:
        """Yield the numbers of every metric and model, in the order of `names`.

        Args:
            batch: Raw rows.
            label: Column with the truth, or columns as `flywheel.labels` joins them.
            answers: What each model predicts.
            classes: Of a task with several.

        Raises:
            DataError: A function fails, or gives something else than a finite number a row.
        """
        truth, several = _truth(batch, label)
        for name in self.asked:
            for answer in answers.values():
                yield self._called(name, batch, truth, _shown(answer, classes, several))

    def names(self, models: Sequence[str]) -> list[str]:
        """Return the names of the columns of numbers in the predictions."""
        return [f"{PREFIX}{name} {model}" for name in self.asked for model in models]

    def _called(self, name: str, batch: pa.RecordBatch, truth: pa.Array, answer: pa.Array) -> pa.Array:
        import numpy as np
        import pyarrow as pa

        from flywheel.transform import raw

        about = self.asked[name]
        given = {LABEL: truth, PREDICTION: answer}
        given |= {column: batch.column(batch.schema.get_field_index(column)) for column in about["columns"]}
        function = about["function"]
        try:
            found = self.calls[name](pa.RecordBatch.from_arrays(list(given.values()), list(given)))
            values = raw.numbers(found if isinstance(found, pa.Array) else pa.array(np.asarray(found)))
        except Exception as error:
            raise DataError(
                f"metric {name!r}: {function} fails on the judge's rows: {type(error).__name__}: {error}",
                f"it is called with a record batch of {', '.join(given)}, and returns a number for each row.",
            ) from error
        if len(values) != batch.num_rows or not np.isfinite(values).all():
            what = f"{len(values)} values" if len(values) != batch.num_rows else "values that are no finite numbers"
            raise DataError(
                f"metric {name!r}: {function} gives {what} for {batch.num_rows} rows", "return a number for each row."
            )
        return pa.array(values, pa.float64())


def metric(name: str) -> OfSums:
    """Return the metric whose values stand with the predictions: their mean."""

    def sums(found: Predictions, model: str, codes: Ints, count: int) -> Floats:
        import numpy as np

        inside = codes >= 0
        values = found.own[name][model][inside]
        return total(codes[inside], count, np.ones_like(values), values, weights=found.weighed(inside))

    return OfSums(sums, lambda s: s[..., 1] / s[..., 0])


def _truth(batch: pa.RecordBatch, label: str) -> tuple[pa.Array, bool]:
    """Return the label as the function gets it, and whether it is a list of several, NaN where one is not known."""
    import numpy as np
    import pyarrow as pa

    from flywheel.transform import raw

    columns = [batch.column(batch.schema.get_field_index(name)) for name in columns_of(label)]
    if len(columns) == 1:
        return columns[0], False
    values = np.stack([raw.numbers(column) for column in columns], axis=1)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), len(columns)), True


def _shown(answer: pa.Array, classes: Sequence[str], several: bool) -> pa.Array:
    """Return a model's answer as the function gets it: a number, or of several classes the most likely one.

    Of several labels it is the list of their chances.
    """
    import numpy as np
    import pyarrow as pa

    if not classes or several:
        return answer
    likely = answer.flatten().to_numpy().reshape(-1, len(classes)).argmax(1)
    return pa.array(np.asarray(classes, object)[likely], pa.string())
