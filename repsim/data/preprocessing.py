"""Images as a network expects them: its size, its channels, its normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from repsim.data.size import Size, sides
from repsim.errors import ShapeError, UsageError, choices

Values = tuple[float, ...]

#: Mean and standard deviation of each channel, for pixels from 0 to 1.
NORMALISATIONS: Mapping[str, tuple[Values, Values]] = {
    "half": ((0.5,), (0.5,)),  # to [-1, 1]
    "unit": ((0.0,), (1.0,)),  # stays in [0, 1]
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Preprocessing:
    """From uint8 images (n, c, h, w) to the float32 (n, channels, height, width) of a network.

    Without arguments, the same bits as ``to_input``: pixels in [-1, 1].

    Attributes:
        size: side in pixels, or height and width, to which images are stretched bilinearly,
            smoothed where they shrink; None leaves them as they are.
        mean: subtracted from pixels from 0 to 1: one value, or one for each channel.
        std: divisor of the result; as many values.
        channels: 3 repeats the channel of grey images; None means as many as ``mean`` has values,
            if it has several, or else as the images.

    Raises:
        UsageError: values that are not of this kind.
    """

    size: int | Size | None = None
    mean: Values = (0.5,)
    std: Values = (0.5,)
    channels: int | None = None

    def __post_init__(self) -> None:
        least = None if self.size is None else min(sides(self.size))
        for name, value in (("size", least), ("channels", self.channels)):
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; expected at least 1")
        if not self.mean or len(self.mean) != len(self.std):
            raise UsageError(
                f"{len(self.mean)} means and {len(self.std)} standard deviations; expected one of "
                "each, or one for each channel"
            )
        if not all(map(math.isfinite, self.mean + self.std)) or min(self.std) <= 0:
            raise UsageError(
                f"mean {self.mean} and std {self.std}: expected finite numbers, and std above 0"
            )
        if self.channels is not None and len(self.mean) not in (1, self.channels):
            raise UsageError(
                f"{len(self.mean)} means for {self.channels} channels; expected 1 or "
                f"{self.channels}"
            )

    @classmethod
    def parse(
        cls, text: str = "half", *, size: int | Size | None = None, channels: int | None = None
    ) -> Preprocessing:
        """Read a normalisation: ``half``, ``unit``, ``imagenet``, or ``MEANS/STDS``.

        Means and deviations are separated by commas: ``0.5/0.25``, ``0.5,0.4,0.3/0.2,0.2,0.2``.

        Raises:
            UsageError: any other text.
        """
        if text in NORMALISATIONS:
            mean, std = NORMALISATIONS[text]
        else:
            try:
                mean, std = (tuple(map(float, part.split(","))) for part in text.split("/"))
            except ValueError:
                raise UsageError(
                    f"normalisation {text!r} cannot be read; {choices(text, NORMALISATIONS)}, or "
                    "means and deviations such as 0.5,0.4,0.3/0.2,0.2,0.2"
                ) from None
        return cls(size, mean, std, channels)

    def __call__(self, images: Tensor) -> Tensor:
        """Prepare a batch.

        Args:
            images: uint8, shape (n, c, h, w).

        Returns:
            float32, shape (n, channels, height, width), on the same device.

        Raises:
            ShapeError: other images, or channels that cannot be had from them.
        """
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ShapeError(
                "expected uint8 images of shape (n, c, height, width), "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        pixels = self._repeated(self._stretched(images.float()))
        mean, std = (
            torch.tensor(values, dtype=torch.float64)[:, None, None]
            for values in (self.mean, self.std)
        )
        scale, offset = ((255 * std).float(), (mean / std).float())
        return pixels / scale.to(pixels.device) - offset.to(pixels.device)

    def _stretched(self, images: Tensor) -> Tensor:
        before = tuple(images.shape[-2:])
        if self.size is None or before == sides(self.size):
            return images
        size = sides(self.size)
        shrinks = before[0] > size[0] or before[1] > size[1]
        return interpolate(images, size, mode="bilinear", antialias=shrinks)

    def _repeated(self, images: Tensor) -> Tensor:
        found = images.shape[1]
        wanted = self.channels or (len(self.mean) if len(self.mean) > 1 else found)
        if found not in (1, wanted):
            raise ShapeError(
                f"images have {found} channels; expected {wanted}, or grey ones to repeat"
            )
        return images.expand(-1, wanted, -1, -1)
