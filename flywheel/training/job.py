"""One training as each of the processes that do it together is told: what it trains on, and how they are started."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts import Examples, TransformState
from flywheel.errors import TrainerError

if TYPE_CHECKING:
    from flywheel.serving.pyfunc import Predictor
    from flywheel.training.checkpoints import Checkpoints
    from flywheel.training.context import TrainContext
    from flywheel.training.tracking import Tracker
    from flywheel.training.warm_start import Decision
    from flywheel.transform.state import State


@dataclass(frozen=True)
class Job:
    """What each of the processes that train together is told.

    Attributes:
        transformed: The training window as the model sees it.
        state: The transform.
        code: The project's archive, which holds the trainer.
        settings: As `train` of flywheel.yaml, and `name` of the flywheel, and the number of `gpus`.
        champion: MLflow URI of the model in service; empty when there is none.
        ledger: MLflow tracking URI.
        run: In MLflow; empty on machines that log nothing.
        ends: When the time budget is over, in seconds since 1970: processes share no other clock.
    """

    transformed: Examples
    state: TransformState
    code: Path
    settings: dict[str, Any]
    champion: str
    ledger: str
    run: str
    ends: float

    @property
    def learned(self) -> State:
        """The transform, read."""
        from flywheel.transform.state import State

        found = State.read(self.state.file)
        return replace(found, code=self.code) if any(each.function for each in found.features) else found

    @property
    def processes(self) -> int:
        """How many train together on this machine."""
        return int(self.settings.get("gpus", 0) or self.settings.get("processes", 1))

    def context(self, tracker: Callable[[], Tracker], rank: int = 0, world: int = 1) -> TrainContext:
        """Return what the trainer of one process is handed.

        Args:
            tracker: Gives what logs, opened when it is first asked for.
            rank: Which of the processes.
            world: How many.
        """
        from flywheel.training import device
        from flywheel.training.context import TrainContext
        from flywheel.training.rows import Share, split

        learned, settings = self.learned, self.settings
        features = learned.inputs
        training, validation = split(self.transformed, learned.label, settings["seed"], features, Share(rank, world))
        return TrainContext(
            train=training,
            validation=validation,
            features=features,
            label=learned.label,
            task=learned.task,
            classes=learned.classes,
            parameters=dict(settings["parameters"]),
            seed=settings["seed"],
            name=settings["name"],
            checkpoints=self.checkpoints(),
            deadline=time.monotonic() + self.ends - time.time(),
            device=device.choose(settings.get("gpus", 0), rank % self.processes),
            rank=rank,
            world=world,
            load_champion=lambda: self.predictor(tracker()).model if self.champion else None,
            start=partial(_start, self, tracker, rank),
            record=lambda metrics, step: tracker().metrics(metrics, step),
        )

    def predictor(self, tracker: Tracker) -> Predictor:
        """Return the model in service with its transform."""
        from flywheel.serving import pyfunc

        return pyfunc.load(tracker.client.download(self.champion))

    def checkpoints(self) -> Checkpoints:
        """Return the checkpoints of just this training: of this data, code and settings."""
        from flywheel.training.checkpoints import Checkpoints

        asked = self.settings.get("checkpoint")
        if not asked:
            return Checkpoints()
        steps = int(asked["steps"]) if asked.get("steps") else None
        return Checkpoints(f"{asked['folder'].rstrip('/')}/{self.identity()}", asked["every"], steps)

    def identity(self, but: tuple[str, ...] = ()) -> str:
        """Return what is the same for equal data, code and settings, those in `but` left aside."""
        left = ("checkpoint", "time_budget", "processes", "gpus", *but)
        settings = {key: value for key, value in self.settings.items() if key not in left}
        code = hashlib.sha256(self.code.read_bytes()).hexdigest()
        trained = [self.transformed.digest, self.state.digest, code, self.champion, settings]
        return hashlib.sha256(json.dumps(trained, sort_keys=True).encode()).hexdigest()[:16]


def _start(job: Job, tracker: Callable[[], Tracker], rank: int, model: Any) -> Decision:
    """Copy what fits of the model in service into `model`, if that is asked for, and keep what was decided."""
    from flywheel.training import frameworks, warm_start

    decision = warm_start.OFF
    if job.settings.get("warm_start"):
        decision = warm_start.NO_CHAMPION
        if job.champion:
            framework = frameworks.name_of(model, job.settings["trainer"])
            decision = warm_start.decide(model, framework, job.learned, job.predictor(tracker()))
    if rank == 0:
        tracker().tag("flywheel.warm_start", str(decision))
    return decision


def called(job: Job, call: Any, context: TrainContext) -> Any:
    """Return what the trainer makes, in this process or in several that train together.

    Args:
        job: What is trained.
        call: The trainer.
        context: What it is handed in this process.

    Raises:
        TrainerError: It fails, takes more time than it has, or more memory than there is.
    """
    from flywheel.training import distributed, memory
    from flywheel.training.watchdog import watched

    name = job.settings["trainer"]
    try:
        with watched(job.settings.get("time_budget"), name):
            if job.processes > 1 or distributed.Nodes.here().count > 1:
                return launched(job)
            _seed(job.settings["seed"])
            return call(context)
    except TrainerError as error:
        if memory.is_out_of_memory(error.__cause__):
            raise memory.explained(name, context.parameters.get("batch")) from error
        raise


def launched(job: Job) -> Any:
    """Return what the trainer makes in several processes, on this machine and on others; None on all but the first."""
    from flywheel.training import distributed

    gpus, nodes = bool(job.settings.get("gpus")), distributed.Nodes.here()
    return distributed.launch(_train_together, job, job.processes, gpus=gpus, nodes=nodes)


def _train_together(job: Job, rank: int, world: int) -> Any:
    """Return what the trainer makes in one of several processes."""
    from flywheel.ledger import Ledger
    from flywheel.training.tracking import Tracker
    from flywheel.training.user_code import trainer

    with ExitStack() as stack, trainer(job.code, job.settings["trainer"]) as call:

        @cache  # opened by who logs: MLflow takes seconds
        def tracker() -> Tracker:
            return stack.enter_context(Tracker(Ledger(job.ledger).client, job.run))

        context = job.context(tracker, rank, world)
        _seed(job.settings["seed"])
        return call(context)


def _seed(seed: int) -> None:
    """Seed Python, NumPy, and the framework that the user's module has imported by now."""
    import numpy as np

    from flywheel.training import frameworks

    random.seed(seed)
    np.random.seed(seed % 2**32)
    for name in frameworks.FRAMEWORKS:
        if name in sys.modules:
            frameworks.get(name).seed(seed)
