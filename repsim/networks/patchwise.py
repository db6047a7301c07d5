"""Encoders of patches as encoders of images: the mean over the patches of an image at each layer.

After Kolesnikov et al. (2019), whose patch tasks have the mean over nine patches as representation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from repsim.data.patches import Grid, standardised


class PatchMean(nn.Module):
    """A network on every patch of an image, with the mean over patches at the usual addresses.

    ``block1`` and other addresses are modules that give the mean of what the encoder has there,
    (n, ...) for n images. Those are the encoder's parts, and the layers that it names. The encoder
    itself is at ``of_patches``; its layers have a row for each patch.

    Args:
        encoder: takes patches (n, channels, h, w).
        grid: of the patches, cut from the middle of each cell and standardised.
    """

    def __init__(self, encoder: Any, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self.feature_dim, self.head_input = encoder.feature_dim, encoder.head_input
        self.layers = tuple(encoder.layer_names())
        parts = [name for name, _ in encoder.named_children()]
        self.tapped = _with_what_holds_them([*parts, *self.layers])
        for address in self.tapped:
            above, _, name = address.rpartition(".")
            self.get_submodule(above).add_module(name, OverPatches(grid.count))
        self.of_patches = encoder

    def forward(self, images: Tensor) -> Tensor:
        patches = standardised(self.grid.cut(images, self.grid.centred()))
        with ExitStack() as stack:
            for address in self.tapped:
                tap = self.get_submodule(address)
                module = self.of_patches.get_submodule(address)
                stack.enter_context(module.register_forward_hook(_giving_to(tap)))
            features: Tensor = self.of_patches(patches.flatten(0, 1))
        return features.unflatten(0, (-1, self.grid.count)).mean(1)

    def layer_names(self) -> list[str]:
        """The addresses that the encoder names."""
        return list(self.layers)


class OverPatches(nn.Module):
    """The mean of each ``count`` rows: (n count, ...) to (n, ...)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, rows: Tensor) -> Tensor:
        return rows.unflatten(0, (-1, self.count)).mean(1)


def _giving_to(tap: nn.Module) -> Callable[[nn.Module, Any, Tensor], None]:
    """The hook that hands the output of a module to ``tap``, and leaves it as it is."""

    def after(module: nn.Module, inputs: Any, output: Tensor) -> None:
        tap(output)

    return after


def _with_what_holds_them(addresses: Iterable[str]) -> tuple[str, ...]:
    """Addresses, each after the modules that it lies in: bg1, bg1.b0 and bg1.b0.odd."""
    found: dict[str, None] = {}
    for address in addresses:
        pieces = address.split(".")
        found |= dict.fromkeys(".".join(pieces[: k + 1]) for k in range(len(pieces)))
    return tuple(found)
