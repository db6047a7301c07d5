"""Configurations: frozen, complete, checked on construction."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repsim.errors import UsageError, choices

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

C = TypeVar("C", bound="TrainConfig")


class TrainConfig(BaseModel):
    """What every method needs. A method adds its own settings in a subclass."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    data: str = Field("digits", description="data set, image folder or .npz file")
    split: str = Field("train", description="part to train on; slices as in train[:1000]")
    test: str = Field("test", description="held-out part, looked at once, at the end")
    seed: int = Field(0, ge=0, description="of the initialisation, data order and augmentation")
    epochs: int = Field(10, ge=0, description="passes over the training part")
    batch_size: int = Field(128, ge=2, description="images a step")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="of the networks' arithmetic"
    )

    def seed_for(self, *purpose: object) -> int:
        """A seed for one purpose (initialisation, epoch 3), a function of ``seed`` and it alone."""
        digest = hashlib.sha256(repr((self.seed, *purpose)).encode()).digest()
        return int.from_bytes(digest[:7], "big")


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
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{source}: {key} = {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"
        ) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        UsageError: the file is absent or not TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UsageError(f"there is no configuration {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None
