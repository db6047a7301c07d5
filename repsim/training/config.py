"""Configurations: frozen, complete, checked on construction."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from repsim.configuration import identity_of
from repsim.data.sets import find_set, shown_size
from repsim.data.size import parse_size, size_text
from repsim.errors import UsageError


def _epochs(value: Any) -> Any:
    """``"5"`` as 5, ``"0,1,2"`` as (0, 1, 2), ``"5,"`` as (5,); what is no text, as it is."""
    if not isinstance(value, str):
        return value
    try:
        numbers = tuple(int(part) for part in value.removesuffix(",").split(","))
    except ValueError:
        raise ValueError("expected a number of epochs, or epochs as in 0,1,2,5,10") from None
    if min(numbers) < 0:
        raise ValueError("expected epochs of 0 or more")
    return numbers if "," in value else numbers[0]


#: The held-out part of a run that is not scored.
NO_TEST = "none"

#: Larger numbers are infinite in the networks' float32 once a factor or two is applied.
_LARGEST = 1e32

#: Of settings that say where a run is trained and what is kept of it, not what it becomes.
WHERE: dict[str, Any] = {"decides": False}

#: The size of the images of all runs from before ``image_size`` was a setting.
_SIZE_BEFORE = "32x32"

Epoch = Annotated[int, Field(ge=0)]
#: Every so many epochs, or at these.
Epochs = Annotated[Epoch | tuple[Epoch, ...], BeforeValidator(_epochs)]


def spell_size(value: Any) -> str:
    """One spelling for each size: 28x56 of 28X56, 32x32 of 32; ``own``, or empty for no size.

    Raises:
        ValueError: no size, as validators of settings say it.
    """
    try:
        size = parse_size(value)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return size_text(size) if isinstance(size, tuple) else size or ""


class TrainConfig(BaseModel):
    """The settings of every method, which adds its own in a subclass.

    A setting that came later says in ``json_schema_extra`` under which value runs were made
    ``before`` it was there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = Field("digits", min_length=1, description="data set, image folder or .npz file")
    split: str = Field("train", description="part to train on; slices as in train[:1000]")
    test: str = Field(
        "test", description="held-out part, looked at once, at the end; none: no score"
    )
    image_size: str = Field(
        "",
        description="such as 32 or 28x56; own: as stored; empty: the default of the set",
        json_schema_extra={"before": ""},
    )
    target: str = Field(
        "",
        description="the one that gives the labels; empty: the first of the set",
        json_schema_extra={"before": ""},
    )
    seed: int = Field(0, ge=0, description="of the initialisation, data order and augmentation")
    epochs: int = Field(10, ge=0, description="passes over the training part")
    batch_size: int = Field(128, ge=2, description="images a step, over all devices")
    accumulate: int = Field(1, ge=1, description="parts of a batch, whose gradients are added up")
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="how learning rates grow with batch_size / lr_batch"
    )
    lr_batch: int = Field(256, ge=1, description="batch size that lr is meant for when scaled")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' moving average; 0: none")
    save_every: Epochs = Field(
        0,
        description="checkpoints kept: every so many epochs, or at epochs as in 0,1,2,5; 0: none",
        json_schema_extra=WHERE,
    )
    sheet: int = Field(
        64,
        ge=0,
        le=10_000,
        description="pictures on a sheet of what was generated; 0: none",
        json_schema_extra=WHERE,
    )
    coverage: int = Field(
        100,
        ge=0,
        le=100_000,
        description="images of each generator sorted into classes an epoch; 0: none",
        json_schema_extra=WHERE,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="where to train", json_schema_extra=WHERE
    )
    devices: int = Field(
        1,
        ge=1,
        description="processes on this machine, each with a device",
        json_schema_extra=WHERE,
    )
    workers: int = Field(
        2,
        ge=0,
        description="readers of an image folder larger than memory",
        json_schema_extra=WHERE,
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="of the networks' arithmetic"
    )

    @field_validator("*", mode="before")
    @classmethod
    def _check_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what pydantic and torch would take for something else, or for nothing."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind is not bool:
            raise ValueError("expected no truth value")
        if isinstance(value, float) and value > _LARGEST:
            raise ValueError(f"expected at most {_LARGEST:g}")
        return value

    @field_validator("data")
    @classmethod
    def _spell_data(cls, value: str) -> str:
        """One spelling for each named set with parameters."""
        try:
            named = find_set(value)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return value if named is None else named.name

    @field_validator("image_size", mode="before")
    @classmethod
    def _spell_size(cls, value: Any) -> str:
        return spell_size(value)

    @model_validator(mode="after")
    def _check_series(self) -> TrainConfig:
        listed = self.save_every if isinstance(self.save_every, tuple) else ()
        if max(listed, default=0) > self.epochs:
            raise ValueError(f"save_every has epoch {max(listed)}, but epochs is {self.epochs}")
        return self

    def identity(self) -> dict[str, Any]:
        """Every setting that decides what a run becomes, as JSON values; see ``identity_of``.

        A field of ``json_schema_extra={"decides": False}`` is left out, and one of
        ``{"before": VALUE}`` while it has the value under which older runs were trained. The size
        of the images is the one that is meant, so that it changes with the default of a set.
        """
        found = identity_of(self)
        found.pop("image_size", None)
        size = shown_size(self.data, self.image_size)
        return found if size == _SIZE_BEFORE else {**found, "image_size": size}

    def seed_for(self, *purpose: object) -> int:
        """A seed for one purpose (initialisation, epoch 3), a function of ``seed`` and it alone."""
        digest = hashlib.sha256(repr((self.seed, *purpose)).encode()).digest()
        return int.from_bytes(digest[:7], "big")

    @property
    def lr_scale(self) -> float:
        """Factor of the method's learning rates for this batch size.

        Linear after Goyal et al. (2017), by the square root after Chen et al. (2020), B.1.
        """
        power = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[self.lr_scaling]
        return (self.batch_size / self.lr_batch) ** power

    def is_kept(self, epoch: int) -> bool:
        """Tell if the networks after ``epoch`` epochs belong to the series of checkpoints."""
        if isinstance(self.save_every, tuple):
            return epoch in self.save_every
        return self.save_every > 0 and (epoch % self.save_every == 0 or epoch == self.epochs)
