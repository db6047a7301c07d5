"""Configurations: frozen, complete, checked on construction."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from repsim.errors import UsageError, choices

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

C = TypeVar("C", bound="TrainConfig")


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


#: Larger numbers are infinite in the networks' float32 once a factor or two is applied.
_LARGEST = 1e32

Epoch = Annotated[int, Field(ge=0)]
#: Every so many epochs, or at these.
Epochs = Annotated[Epoch | tuple[Epoch, ...], BeforeValidator(_epochs)]


class TrainConfig(BaseModel):
    """What every method needs. A method adds its own settings in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = Field("digits", min_length=1, description="data set, image folder or .npz file")
    split: str = Field("train", description="part to train on; slices as in train[:1000]")
    test: str = Field("test", description="held-out part, looked at once, at the end")
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
        0, description="checkpoints kept: every so many epochs, or at epochs as in 0,1,2,5; 0: none"
    )
    sheet: int = Field(
        64, ge=0, le=10_000, description="pictures on a sheet of what was generated; 0: none"
    )
    coverage: int = Field(
        100,
        ge=0,
        le=100_000,
        description="images of each generator sorted into classes an epoch; 0: none",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    devices: int = Field(1, ge=1, description="processes on this machine, each with a device")
    workers: int = Field(2, ge=0, description="readers of an image folder larger than memory")
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

    @model_validator(mode="after")
    def _check_series(self) -> TrainConfig:
        listed = self.save_every if isinstance(self.save_every, tuple) else ()
        if max(listed, default=0) > self.epochs:
            raise ValueError(f"save_every has epoch {max(listed)}, but epochs is {self.epochs}")
        return self

    def seed_for(self, *purpose: object) -> int:
        """A seed for one purpose (initialisation, epoch 3), a function of ``seed`` and it alone."""
        digest = hashlib.sha256(repr((self.seed, *purpose)).encode()).digest()
        return int.from_bytes(digest[:7], "big")

    @property
    def lr_scale(self) -> float:
        """What the method's learning rates are multiplied by for this batch size.

        Linear after Goyal et al. (2017), by the square root after Chen et al. (2020), B.1.
        """
        power = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}[self.lr_scaling]
        return (self.batch_size / self.lr_batch) ** power

    def is_kept(self, epoch: int) -> bool:
        """Whether the networks after ``epoch`` epochs belong to the series of checkpoints."""
        if isinstance(self.save_every, tuple):
            return epoch in self.save_every
        return self.save_every > 0 and (epoch % self.save_every == 0 or epoch == self.epochs)


class ResNetConfig(TrainConfig):
    """Settings of the methods that train a residual network."""

    depth: Literal[10, 18, 34, 50] = Field(18, description="layers of the residual network")
    width: int = Field(16, ge=1, description="channels of its first block group; 64 is standard")
    stem: Literal["cifar", "imagenet"] = Field(
        "cifar", description="3 x 3 of stride 1, or 7 x 7 of stride 2 and max-pool"
    )
    representation: int = Field(
        0, ge=0, description="size of a linear layer after pooling; 0 for none"
    )
    zero_init: bool = Field(False, description="start the last BN of each block at 0")


class GANConfig(TrainConfig):
    """Settings of the adversarial methods, with the values of Mao et al. (section 4)."""

    epochs: int = Field(20, ge=0, description="passes over the training part")
    batch_size: int = Field(120, ge=2, description="real images a step, and as many generated")
    width: int = Field(32, ge=1, description="channels of the first convolution; 128 in the paper")
    lr: float = Field(2e-4, gt=0, description="learning rate of Adam")
    beta1: float = Field(0.5, ge=0, lt=1, description="first momentum of Adam")


def build_config(kind: type[C], values: Mapping[str, Any], source: str) -> C:
    """A configuration of ``kind`` from plain values.

    Raises:
        UsageError: an unknown key (the nearest known one is suggested) or a value out of range.
    """
    for key in values:
        if key not in kind.model_fields:
            raise UsageError(f"{source}: unknown key {key!r}; {choices(key, kind.model_fields)}")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        if first["loc"]:
            key = str(first["loc"][0])
            message = f"{key} = {values.get(key)!r}; {message}"
        raise UsageError(f"{source}: {message}") from None


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        UsageError: the file is absent or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no configuration {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None


def to_toml(config: TrainConfig) -> str:
    """Every setting as TOML, each with what it is; ``read_toml`` gives the same configuration."""
    lines = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value is not None:  # TOML has no null; a setting that is left out is its default, None
            lines.append(f"{name} = {_toml(value)}  # {field.description or name}\n")
    return "".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's texts, numbers and booleans are TOML's, but for a delete that TOML wants escaped.
    return json.dumps(value).replace("\x7f", "\\u007f")
