"""What follows from a judgement: promotion and deployment, or another one of the same model on later spans."""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from flywheel.components import challenge, deploy, probe, promote, rejudge
from flywheel.config import Project
from flywheel.pipelines.asking import ask


@dataclass(frozen=True)
class Judging:
    """What the steps after a judgement need, whoever was judged.

    Attributes:
        project: What flywheel.yaml declares.
        to: The outputs of `plan`.
        ledger: MLflow tracking URI.
        serving: Where the champion is served.
        before: What is done before a deployment.
    """

    project: Project
    to: Mapping[str, Any]
    ledger: Any
    serving: Any
    before: tuple[dsl.PipelineTask, ...] = ()

    def if_probed(self, of: str = "", **tried: Any) -> AbstractContextManager[Any]:
        """Try the packaged model, and return the branch in which it passed; all that follows without a gate for it.

        Args:
            of: What model it is, for the task's name; empty for a candidate that passed.
            tried: What the step takes.
        """
        gate = self.project.gates.serving
        if gate is None:
            return nullcontext()
        asked = gate.model_dump(mode="json", exclude_none=True)
        settings = {"name": self.project.name, "task": self.project.task, "gate": asked}
        made = _named(probe, of)(settings=settings, serving=self.serving, **self._row, **tried)
        return if_yes(self._ask("probe", made, of), "the package passed")

    def promoted(self, of: str = "", **what: Any) -> None:
        """Promote a `model`, or a registered `version`, and put it in service; `of` as of `if_probed`."""
        name, approval = self.project.name, self.project.approval == "required"
        made = _named(promote, of)(name=name, span=self.to["span"], approval=approval, **self._row, **what)
        self._ask("promote", made, of)
        with dsl.If(made.outputs["champion"] == True, name="it is champion"):
            served = _named(deploy, of)(name=name, version=made.outputs["version"], target=self.serving, **self._row)
            self._ask("deploy", served.after(*self.before), of)

    def challenged(self, model: Any) -> None:
        """Keep an undecided model as challenger; while one is judged again, none is."""
        with dsl.If(self.to["challenger"] == "", name="no challenger is due"):
            spans = self.project.source.window + self.project.source.judge
            kept = challenge(model=model, name=self.project.name, span=self.to["span"], spans=spans, **self._row)
            self._ask("challenge", kept)

    def rejudged(self, of: str = "challenger", **given: Any) -> None:
        """Judge the challenger again if it is due, and promote it if it is decided by now; `of` as of `if_probed`."""
        with dsl.If(self.to["challenger"] != "", name="a challenger is due"):
            again = _named(rejudge, of.removeprefix("challenger").removeprefix("-"))
            by_now = again(challenger=self.to["challenger"], **self._row, **given)
            self._ask("rejudge", by_now)
            with dsl.If(by_now.outputs["ok"] == True, name="the challenger passed"):
                self.promoted(of, version=by_now.outputs["version"])

    @property
    def _row(self) -> dict[str, Any]:
        return {"ledger": self.ledger, "run": self.to["run"]}

    def _ask(self, stage: str, task: dsl.PipelineTask, of: str = "") -> dsl.PipelineTask:
        asked = ask(self.project, stage, task.set_caching_options(False))
        return asked.set_display_name(f"{stage} {of}") if of else asked


def _named(component: BaseComponent, of: str) -> BaseComponent:
    """Return a component whose tasks say in their name what they are for: a second one would be a number."""
    if not of:
        return component
    other = copy.deepcopy(component)
    other.name = other.component_spec.name = f"{component.name}-{of}"
    return other


def if_yes(task: dsl.PipelineTask | None, name: str) -> AbstractContextManager[Any]:
    """Return the branch of a task's yes, called `name`; without a task, all that follows."""
    return nullcontext() if task is None else dsl.If(task.outputs["Output"] == True, name=name)


__all__ = ["Judging", "if_yes"]
