"""Evidence that a mask is one of some inputs: changes of them that it ends, or leaves in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from repsim.activations.capture.differences import ROUNDING, largest_difference, spread
from repsim.activations.capture.masks import Mask
from repsim.activations.capture.trials import Axes, Trials

#: A share of a layer's spread by which a change moves it, and one that only rounding does.
_SOME, _NONE = 1e-3, 1e-6

#: Kinds that a mask of each kind may turn out to be, in the order in which they are tried.
_KINDS = {
    "tokens": ("tokens", "padding"),
    "padding": ("padding", "tokens"),
    "unknown": ("tokens", "padding"),
}


@dataclass(frozen=True)
class Evidence:
    """The effects of some inputs on the layers of a network, with and without padding.

    Attributes:
        trials: of the network and a mask.
        sequence: inputs, and the axes of their positions.
        exact: layers with these positions, and their axis.
    """

    trials: Trials
    sequence: Mapping[str, Axes]
    exact: Mapping[str, int]

    def kind(self) -> str:
        """The kind of the mask, if the network shows that it is one of these inputs; else empty.

        Positions that the mask marks as padding have no effect on others, which they do have where
        all are tokens. Half of the positions are padding, the first, or else the last. A mask that
        is not known by its name must also act as leaving the positions out does, for there are
        masks of tokens that the network is to guess.
        """
        mask, length, half = self.trials.mask, self.trials.length, self.trials.half
        for padded in (slice(0, length - half), slice(half, length)):
            changed = self.trials.changed(self.sequence, padded)
            for kind in _KINDS.get(mask.kind, ()):
                read = Mask(mask.name, kind)
                if self._blocks(read, changed, padded) and (
                    mask.is_known or self._leaves_out(read)
                ):
                    return kind
        return ""

    def _blocks(self, mask: Mask, changed: Mapping[str, Any], padded: slice) -> bool:
        """True if padding by a mask ends the effect of some positions on the rest of a layer."""
        marks = self.trials.marks
        free = self._effects(mask.full(marks, self.trials.length), changed, padded)
        if all(effect <= _SOME for effect in free.values()):
            return False
        ended = self._effects(mask.marked(marks, padded), changed, padded)
        return any(free[name] > _SOME and ended[name] < _NONE for name in set(free) & set(ended))

    def _leaves_out(self, mask: Mask) -> bool:
        """True if layers are the same whether padding is marked or left out, at the end."""
        marks, length, half = self.trials.marks, self.trials.length, self.trials.half
        all_tokens = mask.full(marks, length)
        short = {name: self.trials.cut(name, axes) for name, axes in self.sequence.items()}
        seen = [
            self._sampled(each)
            for each in (
                {mask.name: all_tokens},
                {mask.name: mask.marked(marks, slice(half, length))},
                {**short, mask.name: all_tokens[:, :half]},
            )
        ]
        layers = set(self.exact).intersection(*seen)
        whole, marked, short = (
            {name: values[name][:, :half] for name in layers} for values in seen
        )
        moved = {name for name in layers if _effect(whole[name], short[name]) > _SOME}
        return bool(moved) and all(_effect(marked[name], short[name]) < ROUNDING for name in moved)

    def _effects(self, mask: Tensor, changed: Mapping[str, Any], padded: slice) -> dict[str, float]:
        """Effects on layers, beyond the padding, of other inputs there."""
        length, shown = self.trials.length, {self.trials.mask.name: mask}
        before, after = self._sampled(shown), self._sampled({**shown, **changed})
        kept = [k for k in range(length) if not padded.start <= k < padded.stop]
        return {
            name: _effect(before[name][:, kept], after[name][:, kept])
            if name in self.exact
            else _effect(before[name], after[name])
            for name in set(before) & set(after)
            if name not in self.exact or before[name].shape[1] == length
        }

    def _sampled(self, changes: Mapping[str, Any]) -> dict[str, Tensor]:
        return self.trials.sampled(changes, self.exact)


def _effect(before: Tensor, after: Tensor) -> float:
    """The largest difference as a share of the spread."""
    if not before.numel():
        return 0.0
    off, scale = largest_difference(before, after), spread(before)
    return off / scale if scale else off
