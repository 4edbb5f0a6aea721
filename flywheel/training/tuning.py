"""A search for better hyperparameters, by Optuna (Akiba et al. 2019): `train.tune`.

Its study is kept in a file, so that a step that was killed goes on where it was; several steps may share one. Each
trial is a run of its own in MLflow, below that of the training.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna

from flywheel.config.metrics import better
from flywheel.errors import ConfigError, FlywheelError, TrainerError
from flywheel.say import say
from flywheel.training.tracking import Tracker, trial_run

_JOURNAL = "journal:///"
_UNPRUNED = 4  # trials that end before one is held against their median

Record = Callable[[dict[str, float], int], None]
Attempt = Callable[[dict[str, Any], Tracker, Callable[[Record], Record]], tuple[Any, dict[str, float]]]
"""Trains with some parameters, logging to a run, what it records passed through; returns model and figures."""


class Pruned(optuna.TrialPruned, FlywheelError):
    """A trial is worse than those before it and ends here; a trainer lets it pass."""

    outcome = "KILLED"  # what MLflow calls a run that was ended from without


class _Failed(TrainerError):
    """A trial failed where others did not: the search goes on."""


@dataclass(frozen=True)
class Found:
    """The best of a search.

    Attributes:
        model: What the trainer made of the best parameters.
        parameters: All that it was trained with.
        metrics: Of its validation rows.
        facts: What was tried, for the model's manifest.
        study: The study's own file; None when it is kept elsewhere.
    """

    model: Any
    parameters: dict[str, Any]
    metrics: dict[str, float]
    facts: dict[str, Any]
    study: Path | None


@dataclass(frozen=True)
class Search:
    """What is searched, how, and what for.

    Attributes:
        asked: As `train.tune` in flywheel.yaml.
        parameters: `train.parameters`, which hold for what is not searched; tried first where they are.
        identity: Of data, code and settings: a study of others is not gone on with.
        task: The task, which says what is made better by default.
        seed: Seeds the sampler of a study that is not shared.
        folder: Where the study's own file goes; only in memory without one.
    """

    asked: Mapping[str, Any]
    parameters: Mapping[str, Any]
    identity: str
    task: str
    seed: int
    folder: Path | None

    @property
    def metric(self) -> str:
        """What is made better."""
        usual = {"regression": "rmse", "multilabel": "macro_log_loss"}
        return self.asked.get("metric") or usual.get(self.task, "log_loss")

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Which way it is better."""
        asked = self.asked.get("direction")
        less = better(self.metric, self.task) < 0 if asked is None else asked == "minimize"
        return "minimize" if less else "maximize"

    @property
    def name(self) -> str:
        """The study's name: the same for the same search."""
        what = [self.identity, self.asked["parameters"], self.metric, self.direction, dict(self.parameters), self.seed]
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]

    @property
    def own_file(self) -> Path | None:
        """The file of a study that is not shared."""
        return self.folder / f"{self.name}.study" if self.folder and not self.asked.get("storage") else None

    def run(self, attempt: Attempt, tracker: Tracker) -> Found:
        """Return the best model that was found within the budget.

        A model that was trained here is kept; one of another process, or of one that was killed, is trained again, with
        the same seed on the same rows.

        Raises:
            ConfigError: There is no such metric, or the storage cannot be used.
            TrainerError: The trainer fails before any trial has ended well.
        """
        study, kept = self._study(), _Best(self.direction)
        count, budget = int(self.asked.get("trials", 20)), self.asked.get("time_budget")
        if done := len(_ended(study)):
            say(f"the study {self.name} goes on after {done} trials")
        if done < count:
            study.optimize(
                lambda trial: self._try(study, trial, attempt, tracker, kept),
                n_trials=count - done,
                timeout=budget,
                callbacks=[optuna.study.MaxTrialsCallback(count, states=_ENDED)],
                catch=(_Failed,),
            )
        if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
            raise TrainerError("no trial has ended", "widen train.tune.time_budget.")
        best = study.best_trial
        chosen = {**self.parameters, **{key: _plain(value) for key, value in best.params.items()}}
        model = "kept" if kept.number == best.number else "trained again"
        say(f"best of {len(_ended(study))} trials: {self.metric} {best.value:.5g} with {best.params}; {model}")
        made, metrics = kept.made if kept.made and model == "kept" else attempt(chosen, tracker, lambda record: record)
        facts = {
            "study": self.name,
            "trials": len(_ended(study)),
            "pruned": len(study.get_trials(states=(optuna.trial.TrialState.PRUNED,))),
            "metric": self.metric,
            "best": best.value,
            "parameters": best.params,
            "model": model,
        }
        return Found(made, chosen, metrics, facts, self.own_file)

    def _try(self, study: optuna.Study, trial: optuna.Trial, attempt: Attempt, tracker: Tracker, kept: _Best) -> float:
        """Train once; return how good it is, and keep the model if none was better."""
        sampled = {name: _suggested(trial, name, space) for name, space in self.asked["parameters"].items()}

        def reporting(record: Record) -> Record:
            def call(metrics: dict[str, float], step: int) -> None:
                record(metrics, step)
                self._report(trial, metrics, step)

            return call

        try:
            with trial_run(tracker, trial.number, sampled) as run:
                made, metrics = attempt({**self.parameters, **sampled}, run, reporting)
                run.metrics({f"validation_{name}": value for name, value in metrics.items()})
                value = self._value(metrics)
        except Pruned:
            say(f"trial {trial.number} is worse than the median so far and ends: {sampled}")
            raise
        except TrainerError as error:
            if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
                raise
            say(f"trial {trial.number} failed: {error.message}")
            raise _Failed(error.message, error.remedy) from error
        say(f"trial {trial.number}: {self.metric} {value:.5g} with {sampled}")
        kept.offer(trial.number, value, (made, metrics))
        return value

    def _report(self, trial: optuna.Trial, metrics: Mapping[str, float], step: int) -> None:
        """Tell the study how a trial does, and end it when it does worse than others did by then."""
        names = [self.metric, f"val_{self.metric}", f"validation_{self.metric}"]
        names += ["val_loss"] if self.direction == "minimize" else []
        found = next((metrics[name] for name in names if name in metrics), None)
        if found is None or not self.asked.get("prune", True):
            return
        trial.report(float(found), step)
        if trial.should_prune():
            raise Pruned(f"trial {trial.number} is worse than the median of those before it")

    def _value(self, metrics: Mapping[str, float]) -> float:
        if self.metric not in metrics:
            raise ConfigError(
                f"train.tune.metric is {self.metric!r}, which validation rows do not have",
                f"take one of {', '.join(metrics)}.",
            )
        return metrics[self.metric]

    def _study(self) -> optuna.Study:
        shared = self.asked.get("storage")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=None if shared else self.seed, constant_liar=bool(shared))
        study = optuna.create_study(
            storage=self._storage(),
            study_name=self.name,
            direction=self.direction,
            sampler=sampler,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
            load_if_exists=True,
        )
        first = {name: self.parameters[name] for name in self.asked["parameters"] if name in self.parameters}
        if first and all(_allows(self.asked["parameters"][name], value) for name, value in first.items()):
            study.enqueue_trial(first, skip_if_exists=True)
        return study

    def _storage(self) -> Any:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        shared = self.asked.get("storage")
        if shared and not shared.startswith(_JOURNAL):
            return _database(shared)
        file = Path(shared.removeprefix(_JOURNAL)) if shared else self.own_file
        if file is None:
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(file)))


@dataclass
class _Best:
    """The best model that this process has trained."""

    direction: str
    number: int = -1
    value: float = math.nan
    made: tuple[Any, dict[str, float]] | None = None

    def offer(self, number: int, value: float, made: tuple[Any, dict[str, float]]) -> None:
        """Keep the model if none was better."""
        better = value < self.value if self.direction == "minimize" else value > self.value
        if better or self.made is None:
            self.number, self.value, self.made = number, value, made


_ENDED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)


def _database(url: str) -> optuna.storages.RDBStorage:
    """Return the storage in a database, made if it is new.

    Raises:
        ConfigError: It cannot be used.
    """
    from sqlalchemy.exc import SQLAlchemyError

    for patience in (1.0, 2.0, 0.0):
        try:
            return optuna.storages.RDBStorage(url)
        except (ImportError, SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            failed = error
            time.sleep(patience)  # of processes that make it at once one succeeds, and the others find it then
    reason = str(failed).splitlines()[0]
    raise ConfigError(f"no study can be kept in {url}: {reason}", "mend train.tune.storage.") from failed


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(deepcopy=False, states=_ENDED)


def _suggested(trial: optuna.Trial, name: str, space: Any) -> Any:
    if isinstance(space, list):
        return _plain(trial.suggest_categorical(name, space))
    if space.get("whole"):
        return trial.suggest_int(name, int(space["low"]), int(space["high"]), log=bool(space.get("log")))
    return trial.suggest_float(name, float(space["low"]), float(space["high"]), log=bool(space.get("log")))


def _allows(space: Any, value: Any) -> bool:
    return value in space if isinstance(space, list) else space["low"] <= value <= space["high"]


def _plain(value: Any) -> Any:
    """Return a whole number as an int: Kubeflow hands all of them on as floating-point ones."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
