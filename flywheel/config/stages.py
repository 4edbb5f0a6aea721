"""`resources`: what each step asks a cluster for; `train` says it in its own section."""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError, model_validator

from flywheel.config.resources import Pod, Resources, laid_over
from flywheel.config.strict import Strict


class Stages(Strict):
    """What each step asks a cluster for; on one machine it counts little."""

    all: Pod = Field(
        Pod(),
        description="Every step, that of `train` too; what a step says itself counts more, lists are put together.",
    )
    plan: Pod = Field(Pod(), description="The step that looks what there is to do.")
    extract: Pod = Field(Pod(), description="The step that reads the warehouse.")
    validate_: Pod = Field(Pod(), alias="validate", description="The step that judges the data.")
    weigh: Pod = Field(Pod(), description="The step that weighs whether to train.")
    transform: Pod = Field(Pod(), description="The step that makes features.")
    baseline: Pod = Field(Pod(), description="The step that trains the baseline; cpu and memory as for `train`, else.")
    analyze: Pod = Field(Pod(), description="The step that measures the model.")
    decide: Pod = Field(Pod(), description="The step that judges the model.")
    probe: Pod = Field(Pod(), description="The step that tries the packaged model.")
    challenge: Pod = Field(Pod(), description="The step that keeps an undecided model as challenger.")
    rejudge: Pod = Field(Pod(), description="The step that judges the challenger again.")
    promote: Pod = Field(Pod(), description="The step that makes it the champion.")
    deploy: Pod = Field(Pod(), description="The step that puts it in service.")
    score: Pod = Field(Pod(), description="The step that scores each span's table, with deploy.score: each_span.")
    monitor: Pod = Field(Pod(), description="The step of the monitoring pipeline.")
    conclude: Pod = Field(Pod(), description="The step at the end of every run.")

    @model_validator(mode="before")
    @classmethod
    def _train_is_elsewhere(cls, said: Any) -> Any:
        if isinstance(said, dict) and "train" in said:
            raise ValueError("what training asks for is written as train.resources")
        return said

    @model_validator(mode="after")
    def _no_gpu_for_all(self) -> Stages:
        if self.all.gpu:
            raise ValueError("all.gpu would give every step GPUs: ask for them at the step that uses them")
        return self

    def of(self, stage: str, train: Resources) -> Pod:
        """Return what a step asks for, that of all steps with it.

        Args:
            stage: Its name.
            train: As `train.resources`.

        Raises:
            ValueError: The two do not fit together; told by the keys of flywheel.yaml.
        """
        own = train if stage == "train" else getattr(self, "validate_" if stage == "validate" else stage)
        if stage == "baseline":
            own = laid_over(Pod(**train.model_dump(include={"cpu", "memory"}, exclude_none=True)), own)
        where = "train.resources" if stage == "train" else f"resources.{stage}"
        if own.gpu and own.image is None and self.all.image:
            raise ValueError(
                f"{where}: gpu is {own.gpu}, and its image would be that of all steps, {self.all.image!r}; name "
                f"{where}.image, one that has what a GPU needs"
            )
        try:
            asked = laid_over(self.all, own)
            asked.need_a_queue()
        except ValueError as error:
            told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            raise ValueError(f"{where}, over resources.all: {told.removeprefix('Value error, ')}") from None
        return asked


STAGES = ("train", *(field.alias or name for name, field in Stages.model_fields.items() if name != "all"))
