"""Noise on the pixels of image batches in [-1, 1], the same for an image whatever its batch.

Mao et al. (2019) call the difference of real and generated images noise, and name no other. The two
kinds here are of the benchmark of Hendrycks and Dietterich (2019), which clips noisy images to the
range of pixels as well.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim.errors import ShapeError, UsageError, choices

#: Beyond ±1 by no more than what stretching and float32 leave.
_SLACK = 1e-4


def gaussian(images: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Independent Gaussian noise on every channel of every pixel, clipped to [-1, 1].

    Clipped, for a network only ever saw pixels within that range: beyond it, it would be the range
    that is tested rather than the noise. On black and white the noise therefore goes one way only,
    and its standard deviation is less than ``sd``.

    Args:
        images: (n, c, h, w) floating point in [-1, 1].
        sd: standard deviation, in pixels from -1 to 1; 0.25 is an eighth of the range.
        generator: of the CPU; drawn in float32 whatever the type and device of the images.

    Raises:
        UsageError: a negative or infinite ``sd``, or pixels outside [-1, 1].
        ShapeError: no batch of images.
    """
    _check(images, "gaussian", sd)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float32)
    return (images + sd * noise.to(images)).clamp(-1, 1)


def salt_and_pepper(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Pixels turned black (-1) or white (1), all their channels together.

    Each pixel is hit with probability ``share``, and is then black or white with equal chance.

    Args:
        images: (n, c, h, w) floating point in [-1, 1].
        share: of the pixels, from 0 to 1.
        generator: of the CPU. The pixels that a smaller share hits are among those of a larger one.

    Raises:
        UsageError: a share outside [0, 1], or pixels outside [-1, 1].
        ShapeError: no batch of images.
    """
    _check(images, "salt-and-pepper", share)
    n, _, height, width = images.shape
    pixels = (n, 1, height, width)
    drawn = torch.rand(pixels, generator=generator, dtype=torch.float32).to(images.device)
    black, white = drawn < share / 2, drawn >= 1 - share / 2
    return images.masked_fill(black, -1).masked_fill(white, 1)


KINDS = {"gaussian": gaussian, "salt-and-pepper": salt_and_pepper}


@dataclass(frozen=True)
class Noise:
    """A kind of noise and how much of it.

    Attributes:
        kind: ``gaussian`` or ``salt-and-pepper``.
        level: the standard deviation of the first, the share of pixels of the second.

    Raises:
        UsageError: no such kind, or a level that it cannot have.
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        _check_level(self.kind, self.level)

    @classmethod
    def parse(cls, text: str) -> Noise:
        """Read ``KIND:LEVEL``, such as ``gaussian:0.25``.

        Raises:
            UsageError: any other text.
        """
        kind, _, level = text.partition(":")
        try:
            number = float(level)
        except ValueError:
            raise UsageError(
                f"noise {text!r} cannot be read; expected KIND:LEVEL such as gaussian:0.25 or "
                "salt-and-pepper:0.1"
            ) from None
        return cls(kind.strip(), number)

    @property
    def name(self) -> str:
        """For tables and figures: ``gaussian 0.25``."""
        return f"{self.kind} {self.level:.12g}"

    def __str__(self) -> str:
        return f"{self.kind}:{self.level:.12g}"  # as ``parse`` reads it

    def __call__(self, images: Tensor, keys: Iterable[object], seed: int = 0) -> Tensor:
        """Noisy images; what an image is given depends on its key and the seed alone.

        At another level of the same kind the same directions or pixels are drawn, so that levels
        differ in level only.

        Args:
            images: (n, c, h, w) floating point in [-1, 1].
            keys: n of them, such as the examples' ids or positions.
            seed: of the run.

        Raises:
            UsageError, ShapeError: other images, or another number of keys.
        """
        names = [str(key) for key in keys]
        _check(images, self.kind, self.level)
        if len(names) != len(images):
            raise ShapeError(f"{len(images)} images came with {len(names)} keys; expected one each")
        generator, add = torch.Generator(), KINDS[self.kind]
        noisy = torch.empty_like(images)
        for row, name in enumerate(names):
            generator.manual_seed(_seed_of(seed, self.kind, name))
            noisy[row] = add(images[row : row + 1], self.level, generator)[0]
        return noisy


def _seed_of(seed: int, kind: str, key: str) -> int:
    digest = hashlib.sha256(repr((seed, "noise", kind, key)).encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _check(images: Tensor, kind: str, level: float) -> None:
    _check_level(kind, level)
    if images.ndim != 4 or not images.is_floating_point():
        raise ShapeError(
            f"{kind} noise: expected floating-point images of shape (n, c, height, width), got "
            f"{images.dtype} of shape {tuple(images.shape)}"
        )
    largest = float(images.abs().max()) if images.numel() else 0.0
    if not largest <= 1 + _SLACK:  # NaN is not
        raise UsageError(
            f"{kind} noise: pixels reach {largest:g}; expected [-1, 1], as repsim.data.to_input "
            "gives them"
        )


def _check_level(kind: str, level: float) -> None:
    if kind not in KINDS:
        raise UsageError(f"unknown noise {kind!r}; {choices(kind, KINDS)}")
    known = isinstance(level, (int, float)) and not isinstance(level, bool) and math.isfinite(level)
    if kind == "gaussian" and not (known and level >= 0):
        raise UsageError(f"gaussian noise of sd {level!r}; expected 0 or more, for pixels -1 to 1")
    if kind == "salt-and-pepper" and not (known and 0 <= level <= 1):
        raise UsageError(f"salt-and-pepper noise on a share of {level!r}; expected 0 to 1")
