"""`features` of flywheel.yaml: what the model sees of a row."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from flywheel.config.strict import FUNCTION, Strict

_TOP = Field(1000, ge=1, description="Keep this many of the most frequent values.")
_MINIMUM = Field(1, ge=1, description="Keep only values that occur this often in the window.")
_OOV = Field(1, ge=1, le=2**20, description="How many indices the values that are not kept share, by a hash.")
_BUCKETS = Field(1000, ge=2, le=2**30, description="How many indices there are.")
_LENGTH = Field(20, ge=1, le=2**16, description="How many of them the model sees; the rest is cut off.")
_SEPARATOR = Field("|", min_length=1, description="What stands between the elements, when the column is a text.")


class FeatureOf(Strict):
    """What every kind of feature is made of."""

    name: str | None = Field(None, min_length=1, description="Names its input of the model; the column by default.")
    column: str | None = Field(None, description="A column that the query gives.")
    columns: tuple[str, ...] = Field((), description="Columns that the query gives, for `function` or `as: cross`.")
    function: str | None = Field(
        None,
        pattern=FUNCTION,
        description="module:function in this folder that makes one Arrow array of a record batch of these columns.",
    )

    @property
    def sources(self) -> tuple[str, ...]:
        """The raw columns that it reads."""
        return self.columns or ((self.column,) if self.column else ())

    @property
    def called(self) -> str:
        """Its name, or that of its column."""
        return self.name or "_x_".join(self.sources)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the model's inputs that it gives."""
        return (self.called,)

    @model_validator(mode="after")
    def _has_sources(self) -> FeatureOf:
        crossed = getattr(self, "kind", "") == "cross" and not self.function
        if bool(self.column) == bool(self.columns):
            raise ValueError(f"a feature needs {'`columns`' if crossed else '`column`, or `function` and `columns`'}")
        if crossed and len(self.columns) < 2:
            raise ValueError("a cross needs at least two `columns`")
        if self.columns and not self.function and not crossed:
            raise ValueError("several columns need a `function` that makes one of them, or `as: cross`")
        if self.function and not self.name:
            raise ValueError("what a function makes needs a `name`")
        return self


class Numeric(FeatureOf):
    """A number, scaled; missing ones are filled in."""

    kind: Literal["numeric"] = Field(alias="as")
    scale: Literal["z_score", "min_max", "log", "none"] = Field(
        "z_score", description="To mean 0 and deviation 1, to 0..1 of the window, to sign(x)·log(1 + |x|), or not."
    )
    clip: tuple[float | None, ...] = Field(
        (), max_length=2, description="[lowest, highest], null for none: values outside are moved there first."
    )
    missing: Literal["mean", "zero", "indicator"] | float = Field(
        "mean", description="What a missing value becomes; indicator: the mean, and an input that says so."
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """The number, and its indicator if there is one."""
        return (self.called, f"{self.called}_missing") if self.missing == "indicator" else (self.called,)

    @model_validator(mode="after")
    def _clip_is_a_range(self) -> Numeric:
        bounds = [bound for bound in self.clip if bound is not None]
        if len(self.clip) == 1 or bounds != sorted(set(bounds)):
            raise ValueError(f"clip is [lowest, highest]; found {list(self.clip)}")
        return self


class Bucket(FeatureOf):
    """A number, as the index of the range that it falls in."""

    kind: Literal["bucket"] = Field(alias="as")
    quantiles: int = Field(10, ge=2, description="How many ranges of about equally many rows.")
    boundaries: tuple[float, ...] = Field((), description="Where the ranges begin, ascending, in place of quantiles.")

    @model_validator(mode="after")
    def _boundaries_ascend(self) -> Bucket:
        if list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError("boundaries ascend, each once")
        return self


class Timestamp(FeatureOf):
    """A time in UTC, as places on circles: sine and cosine of each part."""

    kind: Literal["timestamp"] = Field(alias="as")
    parts: tuple[Literal["hour", "weekday", "day_of_year"], ...] = Field(
        ("hour", "weekday", "day_of_year"), min_length=1, description="Which; hour is the time of day."
    )

    @property
    def inputs(self) -> tuple[str, ...]:
        """Sine and cosine of each part."""
        return tuple(f"{self.called}_{part}_{way}" for part in self.parts for way in ("sin", "cos"))


class Category(FeatureOf):
    """A word or a number, as the index of a vocabulary made from the training window."""

    kind: Literal["category"] = Field(alias="as")
    top: int = _TOP
    minimum: int = _MINIMUM
    oov: int = _OOV


class Hash(FeatureOf):
    """A word or a number, as one of `buckets` indices by a hash; nothing is learned."""

    kind: Literal["hash"] = Field(alias="as")
    buckets: int = _BUCKETS


class Cross(FeatureOf):
    """The combination of several columns, as one of `buckets` indices by a hash."""

    kind: Literal["cross"] = Field(alias="as")
    buckets: int = _BUCKETS


class List(FeatureOf):
    """A list, or a text that stands for one, as the indices of its elements, padded to one length."""

    kind: Literal["list"] = Field(alias="as")
    top: int = _TOP
    minimum: int = _MINIMUM
    oov: int = _OOV
    length: int = _LENGTH
    separator: str = _SEPARATOR


class MultiHot(FeatureOf):
    """A list, or a text that stands for one, as a vector with a 1 for each value that it holds."""

    kind: Literal["multi_hot"] = Field(alias="as")
    top: int = _TOP
    minimum: int = _MINIMUM
    oov: int = _OOV
    separator: str = _SEPARATOR


class Text(FeatureOf):
    """The words of a text in lower case, as indices of a vocabulary, padded to one length."""

    kind: Literal["text"] = Field(alias="as")
    top: int = _TOP
    minimum: int = _MINIMUM
    oov: int = _OOV
    length: int = _LENGTH


class Ngrams(FeatureOf):
    """How often runs of 1 to `ngrams` words of a text occur, in `buckets` places by a hash; nothing is learned."""

    kind: Literal["ngrams"] = Field(alias="as")
    ngrams: int = Field(1, ge=1, le=8, description="Longest run of words.")
    buckets: int = Field(256, ge=2, le=2**20, description="How many places the vector has.")


class Embedding(FeatureOf):
    """A list of `dim` numbers, as it is."""

    kind: Literal["embedding"] = Field(alias="as")
    dim: int = Field(ge=1, le=2**16, description="How long each one is.")


class Image(FeatureOf):
    """The bytes of an image file, as pixels of one size."""

    kind: Literal["image"] = Field(alias="as")
    height: int = Field(ge=1, le=2**14, description="Rows of pixels; others are resized.")
    width: int = Field(ge=1, le=2**14, description="Columns of pixels.")
    channels: int = Field(3, description="1 for grey, 3 for colours, 4 with transparency.")

    @field_validator("channels")
    @classmethod
    def _pillow_knows(cls, channels: int) -> int:
        if channels not in (1, 3, 4):
            raise ValueError("channels are 1, 3 or 4")
        return channels


Feature = Annotated[
    Numeric | Category | Bucket | Timestamp | Hash | Cross | List | MultiHot | Text | Ngrams | Embedding | Image,
    Field(discriminator="kind"),
]


class Transform(Strict):
    """How the training window is transformed."""

    bad_rows_at_most: float = Field(
        0.01, ge=0, le=1, description="Largest share of rows that cannot be transformed and are left out."
    )
    beam: tuple[str, ...] = Field((), description="Beam's pipeline options, as --runner=DataflowRunner.")
