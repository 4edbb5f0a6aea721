"""`train.tune`: which hyperparameters are searched, and for how long."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from flywheel.config.strict import Duration, Strict


class Range(Strict):
    """Numbers to choose from."""

    low: int | float = Field(description="The smallest.")
    high: int | float = Field(description="The largest, which may be chosen too.")
    log: bool = Field(False, description="Whether 0.001 to 0.01 is as wide as 0.01 to 0.1.")
    whole: bool = Field(False, description="Whole numbers only; by default when both ends are written so.")

    @model_validator(mode="before")
    @classmethod
    def _is_whole(cls, values: Any) -> Any:
        # Seen here, since Kubeflow hands all numbers on as floating-point ones.
        if isinstance(values, dict) and all(isinstance(values.get(end), int) for end in ("low", "high")):
            return {"whole": True} | values
        return values

    @model_validator(mode="after")
    def _has_room(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low!r}, which is not below high, {self.high!r}")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low!r}; on a log scale it has to be above 0")
        return self


class Tune(Strict):
    """A search for better hyperparameters, within a budget."""

    parameters: dict[str, Range | list[Any]] = Field(
        min_length=1, description="Name: a list to choose from, or `{low: 0.001, high: 0.1, log: true}`."
    )
    trials: int = Field(20, ge=1, description="At most so many models are trained.")
    time_budget: Duration | None = Field(None, description="No further trial begins after it, as 30m.")
    metric: str | None = Field(
        None, description="Figure of the validation rows to improve; by default log_loss, in a regression rmse."
    )
    direction: Literal["minimize", "maximize"] | None = Field(
        None, description="By default what is better for that metric."
    )
    prune: bool = Field(True, description="Stop trials early that are worse than the median of those before them.")
    storage: str | None = Field(
        None,
        description="Study that several processes share: a journal file as journal:////path, or a database's URL; by "
        "default a file of the step's own, from which a retried step goes on.",
    )

    @field_validator("storage")
    @classmethod
    def _no_secrets(cls, url: str | None) -> str | None:
        """Refuse a password here: what stands in this file goes into compiled pipelines and logs."""
        if url and "@" in urlsplit(url).netloc:
            raise ValueError(
                "a user or password does not belong here; the database's client has a file for them, as .pgpass"
            )
        return url

    @field_validator("parameters")
    @classmethod
    def _have_choices(cls, spaces: dict[str, Any]) -> dict[str, Any]:
        empty = [name for name, space in spaces.items() if isinstance(space, list) and not space]
        if empty:
            raise ValueError(f"{empty[0]} has nothing to choose from")
        return spaces
