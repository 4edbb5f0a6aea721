"""Small made-up worlds to judge in: flights whose delay a model can partly know, and models that know it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from flywheel.artifacts import Evaluation, Examples, Model
from flywheel.evaluation.predictions import FILE

DAYS = tuple(f"2013-06-{day:02d}" for day in range(1, 15))
SIGNAL = "signal"


class Logistic:
    """Predicts from one column; each fault is one that real models have."""

    def __init__(self, weight: float, fault: str) -> None:
        self.weight, self.fault = weight, fault

    def predict(self, frame: pd.DataFrame, params: dict | None = None) -> object:
        logits = self.weight * frame[SIGNAL].to_numpy() - 1
        if self.fault == "raises":
            raise KeyError("no such layer")
        if self.fault == "nan":
            logits = np.where(np.arange(len(logits)) < 3, np.nan, logits)
        scores = logits if self.fault == "logits" else 1 / (1 + np.exp(-logits))
        if self.fault == "short":
            scores = scores[:-1]
        if self.fault == "both classes":
            return np.column_stack([1 - scores, scores])
        return pd.DataFrame({"prediction": scores})


def _load_pyfunc(path: str) -> Logistic:
    return Logistic(**json.loads((Path(path) / "logistic.json").read_text()))


def model(path: Path, weight: float = 1.0, fault: str = "", columns: tuple[str, ...] = (SIGNAL,)) -> Model:
    """Write an MLflow pyfunc model as the train step does, with a loader module of its own."""
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    data = path.parent / f"{path.name}-data"
    data.mkdir(parents=True)
    (data / "logistic.json").write_text(json.dumps({"weight": weight, "fault": fault}))
    with Model.create(path, producer="train") as draft:
        mlflow.pyfunc.save_model(
            str(draft.path),
            loader_module=__name__,
            data_path=str(data),
            signature=ModelSignature(Schema([ColSpec("double", column) for column in columns])),
            pip_requirements=[],
        )
    return Model.open(path)


def rows(count: int = 4000, days: tuple[str, ...] = DAYS, seed: int = 0) -> pd.DataFrame:
    """Return rows with a label, a signal of it, and columns to slice by, one of them with missing values."""
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"span": draw.choice(days, count), SIGNAL: draw.normal(size=count)})
    frame["late"] = (draw.random(count) < 1 / (1 + np.exp(1 - frame[SIGNAL]))).astype("int64")
    frame["carrier"] = draw.choice(["UA", "DL", "HA", "Ü"], count, p=[0.5, 0.3, 0.1, 0.1])
    frame["hour"] = draw.integers(5, 9, count)
    frame.loc[frame["hour"] == 8, "late"] = 0
    frame.loc[frame.index % 17 == 0, "carrier"] = None
    return frame.sort_values("span", kind="stable").reset_index(drop=True)


def examples(path: Path, frame: pd.DataFrame) -> Examples:
    """Write `frame` as examples, its column `span` saying where each row goes."""
    schema = pa.Schema.from_pandas(frame.drop(columns="span"), preserve_index=False).remove_metadata()
    with Examples.writer(path, schema, producer="extract") as writer:
        for span, part in frame.groupby("span"):
            table = pa.Table.from_pandas(part.drop(columns="span"), schema, preserve_index=False)
            writer.write(str(span), table.to_batches(1000))
    return Examples.open(path)


def evaluation(path: Path, frame: pd.DataFrame, slices: tuple[str, ...] = ()) -> Evaluation:
    """Write what analyze would: `frame` has span, label, candidate, maybe champion, and the slice columns."""
    import pyarrow.parquet as pq

    with Evaluation.create(path, producer="analyze", spans=sorted(set(frame["span"]))) as draft:
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), draft.path / FILE)
        draft.counts["rows"] = len(frame)
        champion = "models:/flights/3" if "champion" in frame else ""
        draft.facts |= {"label": "late", "slices": list(slices), "champion": champion, "judge": list(draft.spans)}
    return Evaluation.open(path)
