"""Rows to hold an export against the packaged model: its input example, and what the transform learned of columns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from flywheel.errors import ServingError
from flywheel.serving.pyfunc import Predictor
from flywheel.transform import raw
from flywheel.transform.categories import Category
from flywheel.transform.feature import Feature
from flywheel.transform.numbers import Bucket, Numeric

if TYPE_CHECKING:
    import pandas as pd

ROWS = 256
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Parity:
    """How far an export is from the packaged model.

    Attributes:
        rows: Rows that both were asked.
        largest: Largest difference of a number that they answered.
        mean: Mean difference.
    """

    rows: int
    largest: float
    mean: float


def frame(predictor: Predictor, folder: Path, rows: int = ROWS) -> pd.DataFrame:
    """Return raw rows that reach every corner of the transform: values of the training window, unseen and missing ones.

    Args:
        predictor: The packaged model.
        folder: Its folder, whose input example is part of it.
        rows: How many.
    """
    import pandas as pd

    random, example = np.random.default_rng(0), _example(folder)
    columns: dict[str, Any] = {}
    for name, type in predictor.state.types.items():
        shown = [row[name] for row in example]
        made = [value for feature in predictor.state.features for value in _values(feature, name, random)]
        pool = [*shown, *made, *([None] if made else [])]  # what lists and images may lack, the transform refuses
        given = np.empty(len(shown) + rows, dtype=object)
        given[:] = shown + [pool[index] for index in random.integers(len(pool), size=rows)]
        columns[name] = given.astype(np.float64) if raw.form(raw.arrow_type(type)) == "number" else given
    return pd.DataFrame(columns)


def parity(
    predictor: Predictor, rows: pd.DataFrame, ask: Callable[[pd.DataFrame], NDArray[Any]], tolerance: float = _TOLERANCE
) -> Parity:
    """Return how far an export is from the packaged model on `rows`.

    Args:
        predictor: The packaged model.
        rows: Raw rows.
        ask: Asks the export; gives one number a row, or one a class.
        tolerance: Largest difference that rounding may make.

    Raises:
        ServingError: It is further than rounding explains.
    """
    expected = predictor.outputs(rows).reshape(len(rows), -1)
    found = np.asarray(ask(rows), dtype=np.float64).reshape(len(rows), -1)
    if found.shape != expected.shape:
        raise ServingError(
            f"the exported model answers with shape {found.shape}, the packaged one with {expected.shape}",
            "this model cannot be served by this target; take another one.",
        )
    off = np.abs(found - expected)
    if not off.max() <= tolerance:
        row = int(np.nanargmax(off.max(axis=1)))
        raise ServingError(
            f"the exported model answers {found[row].tolist()} to {rows.iloc[row].to_dict()!r}, the packaged one "
            f"{expected[row].tolist()}",
            "it is not put in service: report this, and take another target until then.",
        )
    return Parity(len(rows), float(off.max()), float(off.mean()))


def _example(folder: Path) -> list[dict[str, Any]]:
    saved = yaml.safe_load((folder / "MLmodel").read_text()).get("saved_input_example_info")
    if not saved:
        return []
    example = json.loads((folder / saved["artifact_path"]).read_text())
    return [dict(zip(example["columns"], row, strict=True)) for row in example["data"]]


def _values(feature: Feature, column: str, random: np.random.Generator) -> list[Any]:
    """Return values of a raw column that reach the corners of a feature; none when it does not read that column."""
    if feature.columns != (column,) or feature.function:
        return []
    if isinstance(feature, Numeric):
        low, high = feature.minimum or 0.0, feature.maximum or 0.0
        usual = random.normal(feature.mean, feature.deviation, 50).clip(low, high).tolist()
        return [*usual, low, high, 2 * high + 1, 2 * low - 1]
    if isinstance(feature, Category):
        return [*feature.vocabulary[:100], "never seen before" if feature.type == "string" else 987654321.0]
    if isinstance(feature, Bucket):
        edges = [value for edge in feature.boundaries for value in (edge, np.nextafter(edge, -np.inf))]
        return [*edges, min(feature.boundaries, default=0.0) - 1, max(feature.boundaries, default=0.0) + 1]
    return []
