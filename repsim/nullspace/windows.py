"""Windows of convolutional layers: the patches of a map that a layer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Window:
    """The patches of a map that a layer reads, in the words of ``torch.nn.Conv2d``.

    Without arguments the window of a linear layer on maps (n, features, positions, 1).

    Attributes:
        kernel: height and width.
        stride: down and right.
        dilation: down and right.
        padding: left, right, top and bottom, as ``torch.nn.functional.pad`` takes them.
        mode: of padding: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        groups: into which the channels are divided.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "zeros"
    groups: int = 1

    def positions(self, size: Sequence[int]) -> int:
        """Patches in a map of this height and width, without its border."""
        left, right, top, bottom = self.padding
        rows, columns = (
            _positions(*each)
            for each in zip(
                (size[0] + top + bottom, size[1] + left + right),
                self.kernel,
                self.stride,
                self.dilation,
                strict=True,
            )
        )
        return rows * columns

    def padded(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Maps with their border."""
        if not any(self.padding):
            return x
        return F.pad(x, self.padding, mode="constant" if self.mode == "zeros" else self.mode)

    @property
    def border(self) -> tuple[int, int] | None:
        """Rows above and below, and columns to either side, where they are zeros, as many each."""
        left, right, top, bottom = self.padding
        plain = self.mode == "zeros" and left == right and top == bottom
        return (top, left) if plain else None

    def taps(self, size: Sequence[int]) -> tuple[Float[Tensor, "kh h"], Float[Tensor, "kw w"]]:
        """Count how often each kernel row covers each map row; the same of columns.

        The map is without its border where ``border`` is known, since zeros add nothing to sums,
        and with it elsewhere.
        """
        down, right = self.border or (0, 0)
        rows, columns = (
            _taps(length + 2 * edge, *each)[:, edge : edge + length]
            for length, edge, *each in zip(
                size, (down, right), self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return rows, columns


def _positions(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - dilation * (kernel - 1) - 1) // stride + 1


def _taps(size: int, kernel: int, stride: int, dilation: int) -> Tensor:
    positions = _positions(size, kernel, stride, dilation)
    at = stride * torch.arange(positions) + dilation * torch.arange(kernel)[:, None]
    return torch.zeros(kernel, size, dtype=torch.float64).scatter_(1, at, 1.0)
