"""Train on several machines: the side of the step, which follows a TrainJob, and the side of each of its nodes."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flywheel import images
from flywheel.artifacts import Examples, Model, TransformState
from flywheel.artifacts.folder import MANIFEST
from flywheel.config import Resources
from flywheel.errors import FlywheelError
from flywheel.say import say
from flywheel.steps import train as step
from flywheel.training.distributed import Nodes
from flywheel.trainjob.cluster import Cluster, Outage
from flywheel.trainjob.follow import Followed
from flywheel.trainjob.manifest import Plan, name_of
from flywheel.trainjob.own import Own
from flywheel.trainjob.shared import Shared, read


class _Terminated(BaseException):
    """This process is asked to end."""


def train_on_nodes(
    examples: Examples,
    transformed: Examples,
    state: TransformState,
    code: Path,
    settings: dict[str, Any],
    champion: str,
    ledger: str,
    model: Path,
    cluster: Cluster | None = None,
) -> Model:
    """Return the model that a TrainJob makes, packaged at `model`; the arguments are those of `train`.

    A step that is tried again finds its TrainJob and follows it on. So one that is killed leaves it, unless the run was
    terminated or deleted; one that is interrupted (Ctrl-C) deletes it.

    Raises:
        TrainerError: The trainer failed.
        ClusterError: The cluster refuses, has no room, or cannot be reached.
    """
    asked = Resources.told(settings["resources"], "train.resources", "{nodes: 2, volume: {claim: …}}")
    assert asked.volume is not None
    name = name_of(settings["name"], str(model))
    shared = Shared(Path(asked.volume.path), name)
    if failure := shared.failure():
        raise failure
    if not shared.model.exists():
        inputs = {"examples": examples.path, "transformed": transformed.path, "state": state.path, "code": code}
        told = {key: value for key, value in settings.items() if key != "resources"} | {"gpus": asked.gpu}
        told = _with_checkpoints(told, shared)
        shared.put(inputs, {"settings": told, "champion": champion, "ledger": ledger})
        _follow(cluster or Cluster.here(), name, asked, shared)
    made = Model.open(shared.model)
    with Model.create(model, producer="train", spans=made.manifest.spans) as draft:
        shutil.copytree(made.path, draft.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
        draft.counts |= made.manifest.counts
        draft.facts |= made.manifest.facts | {"nodes": asked.nodes}
    shared.clear()
    return Model.open(model)


def _follow(cluster: Cluster, name: str, asked: Resources, shared: Shared) -> None:
    own = Own.of(cluster)
    image = asked.image or (images.GPU if asked.gpu else images.CPU)
    command = ("python", "-m", __name__, str(shared.spec))
    followed = Followed(cluster, Plan(name, asked, image, command, own.owner, own.shares, own.env))
    try:
        with _terminable():
            followed.run()
    except Outage:
        raise
    except FlywheelError as error:
        shared.fail(error)
        raise
    except KeyboardInterrupt:
        say(f"interrupted: the TrainJob of {name} is deleted")
        followed.stop()
        raise
    except _Terminated:
        if own.run_is_over():
            say(f"the run is over: the TrainJob of {name} is deleted")
            followed.stop()
        else:
            say(f"this step ends, the TrainJob of {name} goes on: the step finds it when it is tried again")
        sys.exit(128 + signal.SIGTERM)


def _with_checkpoints(settings: dict[str, Any], shared: Shared) -> dict[str, Any]:
    """Return settings whose checkpoints all nodes see; those in object storage are seen by them already."""
    asked = settings.get("checkpoint")
    if not asked or "://" in asked["folder"]:
        return settings
    return settings | {"checkpoint": asked | {"folder": str(shared.checkpoints)}}


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise `_Terminated` here on SIGTERM, where signals can be had (the main thread)."""

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def train_here(spec: Path) -> None:
    """Do what one node of a TrainJob has to: the first packages and logs, the others only train with it."""
    told, nodes = read(spec), Nodes.here()
    transformed, state = Examples.open(told["transformed"]), TransformState.open(told["state"])
    rest = (Path(told["code"]), told["settings"], told["champion"], told["ledger"])
    say(f"node {nodes.rank} of {nodes.count}, the first is {nodes.address}:{nodes.port}")
    if nodes.rank == 0:
        step.train(Examples.open(told["examples"]), transformed, state, *rest, Path(told["model"]))
    else:
        step.assist(transformed, state, *rest)


if __name__ == "__main__":
    train_here(Path(sys.argv[1]))
