"""Inputs that may be padded unseen: no mask comes with them, and every position counts."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from repsim.activations.capture.ends import End, ends_in
from repsim.activations.capture.looked_up import has_positions
from repsim.activations.capture.masks import Lookups, Mask, padding_token, unsaid_tokens
from repsim.activations.capture.positions import Followers
from repsim.errors import RepsimWarning


class UnsaidPadding:
    """A warning, given once, of layers of texts, or of other inputs, that may be padded unseen.

    Args:
        model: not wrapped.
        told: entries of a batch that tell of padding, and the layers made of their positions.
        lookups: the numbers of entries that are tokens, as far as they are known.
    """

    def __init__(
        self, model: nn.Module, told: Collection[tuple[Mask, Followers]], lookups: Lookups
    ) -> None:
        self._model, self._told, self._lookups = model, told, lookups
        self._texts: dict[str, tuple[int, ...]] = {}
        self._ends: dict[str, End] = {}
        self._layers: dict[str, tuple[int, ...]] = {}

    def see(self, batch: Any) -> bool:
        """Look for texts of a batch that may be padded unseen, and have no mask; True for any."""
        self._texts = {
            name: positions
            for name, positions in unsaid_tokens(batch, self._model, self._lookups).items()
            if not self._has_mask(batch, name, math.prod(positions))
        }
        self._ends = ends_in(batch)
        return bool(self._texts or self._ends)

    def watch(self, layers: Mapping[str, tuple[int, ...]]) -> None:
        """Warn from now on of some layers, by their shapes without the examples.

        Warns:
            RepsimWarning: nothing says if there is padding in the texts that were seen.
        """
        self._layers = {
            layer: shape
            for layer, shape in layers.items()
            if len(shape) > 1 and not self._is_told(layer)
        }
        self._warn()

    def show(self, batch: Any) -> None:
        """Look at a further batch, as long as there is a layer to warn of.

        Warns:
            RepsimWarning: nothing says if there is padding in its texts.
        """
        if self._layers:
            self.see(batch)
            self._warn()

    def _has_mask(self, batch: Any, name: str, length: int) -> bool:
        """True for a text that an entry of its positions, or of its length, tells of."""
        return any(
            name in found.inputs or (not found.inputs and mask.kept(batch, length) is not None)
            for mask, found in self._told
        )

    def _is_told(self, layer: str) -> bool:
        """True for a layer that a mask, or anything else that tells of padding, belongs to."""
        belongs = (found for mask, found in self._told if mask.kind != "pad")
        return any(layer in found.exact or layer in found.other for found in belongs)

    def _warn(self) -> None:
        """Warn of the first layer that has the positions of such a text."""
        entries = {**self._texts, **{name: (end.length,) for name, end in self._ends.items()}}
        found = {
            layer: name
            for name, positions in entries.items()
            for layer, shape in self._layers.items()
            if has_positions(shape, positions)
        }
        if not found:
            return
        self._layers = {}
        layer, name = next(iter(found.items()))
        if name in self._ends:
            _warn_of_end(name, self._ends[name], layer)
            return
        warnings.warn(
            f"nothing says if {name!r} has padding, for no mask came with it, and "
            f"{self._why(name)}: every position counts, as in layer {layer!r}; if texts are "
            "padded, give a mask in the batch, such as attention_mask, or else say "
            "--masks '*=none' (masks={'*': 'none'})",
            RepsimWarning,
            stacklevel=3,
        )

    def _why(self, name: str) -> str:
        """The reason why padding of these texts would not be seen."""
        network = type(self._model).__name__
        pads = [each.pad for each in self._lookups.get(name, ()) if each.pad is not None]
        if padding_token(self._model) is None and not pads:
            return f"no token of {network} stands for padding alone"
        return f"texts in it end or begin as if padded, with another token than {network} has"


def _warn_of_end(name: str, end: End, layer: str) -> None:
    """Warn of an entry that tells where examples end, and that is no known mask."""
    warnings.warn(
        f"{name!r} {end.what}, as if positions there were padding, and it is no mask that is "
        f"known: every position counts, as in layer {layer!r}; if they are padding, give a mask in "
        "the batch, such as attention_mask, or else say --masks '*=none' (masks={'*': 'none'})",
        RepsimWarning,
        stacklevel=4,
    )
