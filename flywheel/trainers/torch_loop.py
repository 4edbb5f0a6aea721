"""The training loop of the PyTorch trainers: `fit` takes a module and gives it back fitted, best on validation rows.

A module takes a dict of named tensors and gives (rows, outputs): a logit, one for each class, or a value.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from flywheel.config.strict import Strict
from flywheel.errors import ConfigError, TrainerError
from flywheel.say import say
from flywheel.trainers import calibration
from flywheel.trainers.torch_answer import ROBUST, Answer, Loss, outputs_of, robust
from flywheel.trainers.torch_resume import Position, dump, read, restore, snapshot
from flywheel.trainers.torch_sharded import local, shard
from flywheel.trainers.torch_together import Together
from flywheel.training.checkpoints import Preemption
from flywheel.training.context import TrainContext


class Recipe(Strict):
    """How to train: part of `train.parameters`."""

    epochs: int = Field(20, ge=1, description="At most so many passes over the data.")
    batch: int = Field(1024, ge=1, description="Rows a batch.")
    accumulate: int = Field(1, ge=1, description="Batches a step, when more rows do not fit in memory at once.")
    rate: float = Field(0.002, gt=0, description="Largest learning rate.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of all steps in which the rate rises; then it falls.")
    decay: float = Field(0.01, ge=0, description="Weight decay.")
    clip: float = Field(1.0, ge=0, description="Largest norm of the gradient; 0 for any.")
    ema: float | None = Field(None, gt=0, lt=1, description="Average the weights over steps, as 0.999, and use those.")
    patience: int = Field(3, ge=1, description="Stop when validation rows saw no better for so many epochs.")
    loss: str | None = Field(
        None, description="cross_entropy, focal or generalised_cross_entropy; in a regression squared or absolute."
    )
    gamma: float = Field(2.0, ge=1, description="How much less the focal loss counts rows that are right already.")
    q: float = Field(0.7, ge=0, le=1, description="How much less generalised cross entropy counts rows that are wrong.")
    calibrate: bool = Field(False, description="Scale probabilities by what validation rows say.")
    class_weights: Literal["balanced"] | dict[int | str, float] | None = Field(
        None, description="How much rows of each class count: `balanced`, or {value of the label: weight}."
    )
    mixed: bool | None = Field(None, description="Compute in bfloat16 where that does; on a GPU, unless given.")
    compile: bool = Field(False, description="Compile the module: slow to start, faster after.")
    sharded: bool = Field(
        False, description="Processes share weights, gradients and optimiser state (FSDP), each does not hold them all."
    )
    workers: int | None = Field(None, ge=0, description="Processes that load batches; 2 on a GPU, else none.")


def fit(module: nn.Module, context: TrainContext, recipe: Recipe, loss: Loss | None = None) -> nn.Module:
    """Return `module`, fitted, as a model that answers with what the task wants; on the CPU, in evaluation mode.

    It stops when validation rows get no better, or the time budget ends, and returns the best weights that it saw. A
    checkpoint is kept now and then and on SIGTERM: a retry goes on there, and on a CPU it ends with the same weights.

    Args:
        module: Takes a dict of named tensors and gives (rows, outputs).
        context: The data, and where to train.
        recipe: How.
        loss: Gives the loss of each row of (outputs, labels); instead of `recipe.loss`.

    Raises:
        TrainerError: The loss is not finite.
        SystemExit: The process was asked to end, by SIGTERM; a checkpoint of it is kept.
    """
    with Preemption() as preemption:
        return _Fit(module, context, recipe, loss, preemption).run()


class _Fit:
    def __init__(
        self, module: nn.Module, context: TrainContext, recipe: Recipe, loss: Loss | None, preemption: Preemption
    ) -> None:
        self.context, self.recipe, self.preemption = context, recipe, preemption
        self.device = torch.device(context.device)
        self.together = Together(context, self.device)
        if loss is None and recipe.loss in ROBUST and context.task != "regression":
            loss = robust(recipe.loss, recipe.gamma, recipe.q)
        self.model = Answer(module, context, recipe.loss if loss is None else loss, recipe.class_weights)
        self.sharded = _is_sharded(context, recipe)
        self.fitted = copy.deepcopy(self.model) if self.sharded else self.model  # what gets the best weights
        self.model.to(self.device)
        self.found = read(context.checkpoints, self.device)
        if self.found is None:
            context.warm_start(self.model)
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema)) if recipe.ema else None
        self.mixed = self.device.type == "cuda" if recipe.mixed is None else recipe.mixed
        self.forward: Callable[[Any], torch.Tensor] = self._spread()
        self.parameters = [each for each in self.model.parameters() if each.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, recipe.rate, weight_decay=recipe.decay, fused=True)
        self.batches = context.train.steps(recipe.batch)
        self.steps = -(-self.batches // recipe.accumulate)  # of an epoch
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimiser, self._rate)
        self.at = Position()
        self.broken = torch.tensor(-1, device=self.device)  # number of the first step whose loss was not finite
        self.parts: dict[str, Any] = {"model": self.model, "optimiser": self.optimiser, "schedule": self.schedule}
        if self.averaged:
            self.parts["averaged"] = self.averaged

    def run(self) -> nn.Module:
        """Return the fitted model."""
        if self.found is not None:
            self.at, self.found = restore(self.found, self.parts, self.device), None
        while self.at.epoch < self.recipe.epochs and self.at.worse < self.recipe.patience and not self.at.over:
            self._epoch()
        self.context.checkpoints.join()
        self.model = self.fitted.to(self.device)
        if self.at.best is not None:
            self.model.load_state_dict(self.at.best)
        if self.recipe.calibrate and self.context.task != "regression":
            self._calibrate()
        return self.model.to("cpu").eval()

    def _spread(self) -> Callable[[Any], torch.Tensor]:
        """Return what computes outputs in training: the module itself, or with the other processes."""
        module = self.model.module
        if self.sharded:
            if self.averaged:
                shard(self.averaged.module.get_submodule("module"), self.device, mixed=self.mixed)
            return shard(module, self.device, mixed=self.mixed)
        if self.context.world > 1:
            module = DistributedDataParallel(module, device_ids=self.together.devices)
        return torch.compile(module) if self.recipe.compile else module

    def _calibrate(self) -> None:
        """Divide the logits by the temperature of the validation rows, of several processes by that of the first's."""
        last = [each for each in self.model.modules() if isinstance(each, nn.Linear)][-1:]
        if not last or last[0].out_features != outputs_of(self.context):
            raise ConfigError(
                "parameters.calibrate is set, but the module does not end with a torch.nn.Linear of the logits",
                "end it with one, or leave calibrate out.",
            )
        self.model.eval()
        logits: list[Any] = []
        labels: list[Any] = []
        weights: list[Any] = []
        with torch.inference_mode():
            for batch in self._loader(self.context.validation):
                columns, truth, counts = self._on_device(batch)
                logits.append(self.model.module(columns).float().cpu().numpy())
                labels.append(truth.cpu().numpy())
                weights += [] if counts is None else [counts.cpu().numpy()]
        found = calibration.torch(
            last[0], np.concatenate(logits), np.concatenate(labels), np.concatenate(weights) if weights else None
        )
        say(f"calibrated: the temperature of validation rows is {found:.3f}")

    def _epoch(self) -> None:
        """Train for an epoch, or what is left of it, and see how good the model is then."""
        began, waited, rows = time.perf_counter(), 0.0, 0
        first = self.at.step
        total = torch.zeros(2, device=self.device, dtype=torch.float64)  # sums of loss and of weight
        loader = iter(self._loader(self.context.train, skip=self.at.batch, shuffle=True))
        self.model.train()
        while self.at.batch < self.batches and not self.at.over:
            asked = time.perf_counter()
            group = [batch for _, batch in zip(range(self.recipe.accumulate), loader, strict=False)]
            waited += time.perf_counter() - asked
            total += self._step(group)
            rows += sum(len(labels) for _, labels, *_ in group)
            self.at.batch += len(group)
            self._look_up(began, first)
        self._check_finite()
        seconds = time.perf_counter() - began
        figures = {
            "loss": float(total[0] / total[1].clamp_min(1e-12)),
            "rate": float(self.schedule.get_last_lr()[0]),
            "samples_per_second": rows * self.context.world / seconds,
            "data_wait_share": waited / seconds,
        }
        self._judge(figures | self.together.gpu())

    def _step(self, group: Iterable[tuple[Any, ...]]) -> torch.Tensor:
        """Take one step of the optimiser; return the sums of loss and of weight."""
        total = torch.zeros(2, device=self.device, dtype=torch.float64)
        self.optimiser.zero_grad(set_to_none=True)
        for batch in group:
            columns, labels, weights = self._on_device(batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                outputs = self.forward(columns)
            loss, weight = self.model.loss(outputs, labels, weights)
            loss.backward()
            total += torch.stack([loss.detach(), weight]).double()
        wanted = (self.preemption.asked, self._is_late(), self.context.checkpoints.due(self.at.step + 1))
        weight, self.wanted = self.together.agreed(total[1], wanted)
        # Gradients are of the sum over the rows: the mean is the same however many batches and processes share them.
        scale = (self.context.world / weight.clamp_min(1e-12)).float()
        gradients = [local(each.grad) for each in self.parameters if each.grad is not None]
        if self.recipe.clip:
            norm = self.together.norm(gradients, sharded=self.sharded) * scale
            scale = scale * (self.recipe.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, scale)
        self.optimiser.step()
        self.schedule.step()
        if self.averaged:
            self.averaged.update_parameters(self.model)
        self.at.step += 1
        bad = ~torch.isfinite(total[0]) & (self.broken < 0)
        self.broken = torch.where(bad, self.at.step, self.broken)
        return total

    def _look_up(self, began: float, first: int) -> None:
        """Between two steps: keep a checkpoint, end when asked to, say how far it is."""
        preempted, late, due = self.wanted
        if self.device.type == "cpu" or self.at.step % 50 == 0:  # reading it makes a GPU wait
            self._check_finite()
        if preempted:
            self._keep(wait=True)
            raise SystemExit(128 + 15)  # what a shell says of a process that SIGTERM ended
        if due:
            self._keep()
        self.at.over = late
        done = self.at.epoch * self.steps + -(-self.at.batch // self.recipe.accumulate)
        each = (time.perf_counter() - began) / max(1, self.at.step - first)
        self.at.reserve = max(self.at.reserve, each * self.context.validation.steps(self.recipe.batch))
        self.context.progress(done, self.recipe.epochs * self.steps, epoch=self.at.epoch + 1)

    def _judge(self, figures: dict[str, float]) -> None:
        """Measure the model on the validation rows, keep it when it is the best so far, and end the epoch."""
        began = time.perf_counter()
        judged: Any = self.averaged.module if self.averaged else self.model
        total = torch.zeros(2, device=self.device, dtype=torch.float64)
        judged.eval()
        with torch.no_grad():  # in inference mode, what weights are gathered into could not be trained with after
            for batch in self._loader(self.context.validation):
                columns, labels, weights = self._on_device(batch)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed):
                    outputs = judged.module(columns)
                total += torch.stack(judged.loss(outputs, labels, weights)).double()
        total = self.together.summed(total)
        loss = float(total[0] / total[1].clamp_min(1e-12))
        self.context.log_all(figures | {"val_loss": loss}, self.at.epoch)
        if self.context.rank == 0:
            say(f"epoch {self.at.epoch + 1}: loss {figures['loss']:.4g}, val_loss {loss:.4g}")
        if loss < self.at.best_loss or self.at.best is None:
            self.at.best_loss, self.at.worse, self.at.best = loss, 0, snapshot(judged.state_dict())
        else:
            self.at.worse += 1
        self.at.epoch, self.at.batch = self.at.epoch + 1, 0
        self.at.reserve = 1.5 * (time.perf_counter() - began)

    def _loader(self, rows: Any, *, skip: int = 0, shuffle: bool = False) -> Any:
        cuda = self.device.type == "cuda"
        workers = self.recipe.workers if self.recipe.workers is not None else 2 * cuda
        return rows.torch(
            self.recipe.batch, shuffle=shuffle, epoch=self.at.epoch, skip=skip, workers=workers, pin_memory=cuda
        )

    def _on_device(self, batch: tuple[Any, ...]) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor | None]:
        columns, labels, *weights = batch
        columns = {name: values.to(self.device, non_blocking=True) for name, values in columns.items()}
        moved = [each.to(self.device, non_blocking=True) for each in (labels, *weights)]
        return columns, moved[0], moved[1] if weights else None

    def _rate(self, step: int) -> float:
        """Return the share of the rate at a step: a straight rise, then half a cosine."""
        steps = self.recipe.epochs * self.steps
        warm = max(1, round(steps * self.recipe.warmup))
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

    def _is_late(self) -> bool:
        return self.context.time_left() < self.at.reserve

    def _check_finite(self) -> None:
        step = int(self.broken)
        if step >= 0:
            kept = " the last checkpoint before it is kept;" if self.context.checkpoints else ""
            raise TrainerError(
                f"the loss is not finite at step {step} (epoch {self.at.epoch + 1}, rate "
                f"{self.schedule.get_last_lr()[0]:.2g})",
                f"lower parameters.rate or parameters.clip;{kept} are there values in the data that are not finite?",
            )

    def _keep(self, *, wait: bool = False) -> None:
        """Keep a checkpoint of this moment; of several processes the first does."""
        self._check_finite()
        first = self.context.rank == 0
        if not self.context.checkpoints or not (first or self.sharded):
            return
        state = snapshot({name: part.state_dict() for name, part in self.parts.items()}, keep=first)
        if first:
            self.context.checkpoints.save(self.at.step, dump(state, self.at, self.device), wait=wait)


def _is_sharded(context: TrainContext, recipe: Recipe) -> bool:
    """Return whether processes share the weights; one that trains alone has nobody to share them with."""
    if recipe.sharded and recipe.compile:
        raise ConfigError("parameters.sharded and parameters.compile are both set", "leave one of them out.")
    if recipe.sharded and context.world == 1:
        say("parameters.sharded changes nothing: one process trains")
    return recipe.sharded and context.world > 1
