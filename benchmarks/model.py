"""What transform and train cost on a month of flights, and how good the example's model is beside gradient boosting."""

from __future__ import annotations

import runpy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flywheel import archive, config
from flywheel.artifacts import Examples, Model, TransformState
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.ranking import auc
from flywheel.spans import Span, Windows
from flywheel.steps.extract import extract
from flywheel.steps.train import train
from flywheel.steps.transform import transform

PROJECT = Path(__file__).parents[1] / "examples" / "flights"
SPAN = "2013-06-15"
REPEATS = 3


def figures() -> list[dict[str, Any]]:
    """Return every figure as {name, value, unit, peer, peer_value, ratio, bar, ok}."""
    with tempfile.TemporaryDirectory() as name:
        world = _World(Path(name))
        return [world.transforming(), world.training(), world.quality()]


class _World:
    """One window of flights, extracted; everything below is warm, as in a step forked from a warm parent."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project = folder, config.load(PROJECT)
        load = runpy.run_path(str(PROJECT / "load.py"))
        load["fill"](folder / "flights.duckdb", load["source"]())
        windows = Windows.of(Span.parse(SPAN), self.project.source.window, self.project.source.judge)
        self.window, self.judge = [s.name for s in windows.train], [s.name for s in windows.judge]
        self.features = [feature.model_dump(by_alias=True) for feature in self.project.features]
        columns = [self.project.label, *(feature["column"] for feature in self.features)]
        url = f"duckdb:///{folder / 'flights.duckdb'}"
        query = (PROJECT / self.project.source.query).read_text()
        self.examples = extract(query, url, [*self.window, *self.judge], "day", columns, None, folder / "examples")
        self.state, self.transformed = self._transform()
        self.model = self._train()

    def transforming(self) -> dict[str, Any]:
        """Seconds to analyse and apply, through Beam; beside scikit-learn, with all rows in memory and no artifact."""
        value = _median(self._transform)
        rows = self.examples.table(self.window).to_pandas()
        peer = _median(lambda: _with_sklearn(rows, self.features))
        name = f"transform of {len(rows):,} flights, {len(self.features)} features"
        return _figure(name, value, "s", "scikit-learn in memory", peer, value <= 2.0, "2 s at most")

    def training(self) -> dict[str, Any]:
        """Seconds of the whole step; beside the trainer's own share of it."""
        seconds, shares = [], []
        for _ in range(REPEATS):
            shares.append(self._trainer_alone())
            start = time.perf_counter()
            self._train()
            seconds.append(time.perf_counter() - start)
        value, peer = statistics.median(seconds), statistics.median(shares)
        name = f"train step on {len(self._context().train):,} flights"
        return _figure(name, value, "s", "its trainer alone", peer, value <= 1.6 * peer, "1.6 times at most")

    def quality(self) -> dict[str, Any]:
        """AUC on the two weeks that judge; beside gradient boosting on the same rows, in the same form."""
        from flywheel.serving import pyfunc

        rows = [batch for _, batch in self.examples.batches(self.judge)]
        label = self.project.label
        truth = np.concatenate([batch.column(batch.schema.get_field_index(label)).to_numpy() for batch in rows])
        packaged = pyfunc.load(self.model.path)
        ours = np.concatenate([packaged.predict(batch).prediction.to_numpy() for batch in rows])
        theirs = self._boosting(packaged.state, rows)
        value, peer = (float(auc(truth, scores, Groups.whole(len(truth)))[0]) for scores in (ours, theirs))
        return _figure(
            f"AUC of the flights example, judged on {len(truth):,} flights", value, "",
            "HistGradientBoosting", peer, value >= 0.98 * peer, "0.98 of it at least",
        )  # fmt: skip

    def _transform(self) -> tuple[TransformState, Examples]:
        return transform(
            self.examples, self.features, self.project.label, self.window, self.folder / "state", self.folder / "rows"
        )

    def _train(self) -> Model:
        code = archive.pack(PROJECT, self.folder / "code")
        ledger = f"sqlite:///{self.folder / 'mlflow.db'}"
        settings = {"name": self.project.name, **self.project.train.model_dump(mode="json", exclude={"resources"})}
        target = self.folder / "model"
        return train(self.examples, self.transformed, self.state, code, settings, "", ledger, target)

    def _trainer_alone(self) -> float:
        import keras

        keras.utils.set_random_seed(self.project.train.seed)
        function = runpy.run_path(str(PROJECT / "trainer.py"))["train"]
        context, start = self._context(), time.perf_counter()
        function(context)
        return time.perf_counter() - start

    def _context(self) -> Any:
        from flywheel.training.context import FeatureSpec, TrainContext
        from flywheel.training.rows import split
        from flywheel.transform.state import State

        state, seed = State.read(self.state.file), self.project.train.seed
        specs = tuple(FeatureSpec(i.name, i.kind, i.cardinality, i.shape, i.dtype) for i in state.inputs)
        return TrainContext(*split(self.transformed, state.label, seed), specs, state.label, seed=seed)

    def _boosting(self, state: Any, rows: list[Any]) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        from flywheel.training.sklearn import matrix

        columns, labels = self._context().train.arrays()
        words = [feature.kind == "category" for feature in state.features]
        model = HistGradientBoostingClassifier(categorical_features=words, random_state=0)
        model.fit(matrix(columns), labels)
        return np.concatenate([model.predict_proba(matrix(state.apply_batch(batch)))[:, 1] for batch in rows])


def _with_sklearn(rows: Any, features: list[dict[str, Any]]) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder, StandardScaler

    def steps(feature: dict[str, Any]) -> Any:
        if feature["as"] == "numeric":
            return make_pipeline(SimpleImputer(), StandardScaler())
        if feature["as"] == "bucket":
            return make_pipeline(SimpleImputer(), KBinsDiscretizer(feature["quantiles"], encode="ordinal"))
        return OrdinalEncoder(
            max_categories=feature["top"],
            handle_unknown="use_encoded_value",
            unknown_value=-1,
            encoded_missing_value=-2,
        )

    return ColumnTransformer([(f["column"], steps(f), [f["column"]]) for f in features]).fit_transform(rows)


def _median(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _figure(name: str, value: float, unit: str, peer: str, peer_value: float, ok: bool, bar: str) -> dict[str, Any]:
    return {
        "name": name, "value": round(value, 4), "unit": unit, "peer": peer, "peer_value": round(peer_value, 4),
        "ratio": round(value / peer_value, 3), "bar": bar, "ok": bool(ok),
    }  # fmt: skip


if __name__ == "__main__":
    for figure in figures():
        sys.stdout.write(f"{figure}\n")
