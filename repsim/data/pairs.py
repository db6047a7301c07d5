"""Pairs of digits: which ones stand side by side, and their pixels.

Every pair has random numbers of its own, from a hash rather than a generator: they are the same
under every version of every library, in every slice, and whatever the probabilities are. Two sets
of other probabilities therefore differ only in the pairs that these touch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Corruption = Literal["noise", "blank", "shuffled"]

#: Pairs that share a stream of random bytes, and that are composed at a time.
_BLOCK = 2048


@dataclass(frozen=True)
class Draws:
    """The random numbers of the pairs ``start`` to ``stop`` of a set.

    Attributes:
        key: names the set, its seed and its split.
        start: the first pair.
        stop: the pair after the last.
    """

    key: str
    start: int
    stop: int

    def blocks(self) -> list[Draws]:
        """The same pairs, so many at a time."""
        bounds = range(self.start - self.start % _BLOCK, self.stop, _BLOCK)
        return [
            replace(self, start=max(self.start, each), stop=min(self.stop, each + _BLOCK))
            for each in bounds
        ]

    def uniform(self, purpose: str) -> Tensor:
        """A number in [0, 1) for each pair, float64."""
        return torch.from_numpy(self._integers(purpose, "<u4", 1)[:, 0] / 2**32)

    def bytes(self, purpose: str, count: int) -> Tensor:
        """``count`` numbers from 0 to 255 for each pair, uint8."""
        return torch.from_numpy(self._integers(purpose, "<u1", count))

    def orders(self, purpose: str, count: int) -> Tensor:
        """An order of ``count`` things for each pair, int64."""
        keys = self._integers(purpose, "<u2", count)
        return torch.from_numpy(np.argsort(keys, axis=1, kind="stable"))

    def _integers(self, purpose: str, kind: str, count: int) -> np.ndarray:
        """Integers of a kind, shape (pairs, count): a stream of bytes for each block."""
        return np.concatenate([each._of_block(purpose, kind, count) for each in self.blocks()])

    def _of_block(self, purpose: str, kind: str, count: int) -> np.ndarray:
        block, first = divmod(self.start, _BLOCK)
        last = first + self.stop - self.start
        stream = hashlib.shake_256(f"{self.key} {purpose} {block}".encode())
        found = stream.digest(last * count * np.dtype(kind).itemsize)
        return np.frombuffer(found, kind).reshape(last, count)[first:]


@dataclass(frozen=True)
class Labelled:
    """Single digits of a split, in order of their labels.

    Attributes:
        images: uint8, shape (m, c, h, w), on any device.
        counts: digits of each label, int64, shape (K,), all above 0.
    """

    images: Tensor
    counts: Tensor

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, classes: int) -> Labelled:
        """Digits in any order with their labels, which count from 0 to ``classes`` - 1."""
        return cls(
            images[torch.argsort(labels, stable=True)], torch.bincount(labels, minlength=classes)
        )

    def drawn(self, labels: Tensor, u: Tensor) -> Tensor:
        """Places in ``images`` of a digit for each label, by numbers in [0, 1)."""
        starts = self.counts.cumsum(0) - self.counts
        return starts[labels] + (u * self.counts[labels]).long()


@dataclass(frozen=True)
class Pairs:
    """Pairs of labels and digits.

    Attributes:
        labels: of both sides, ``left`` and ``right``: int64, shape (n,).
        digits: their places in the images of ``Labelled``, the same.
        kept: False where the left digit is unreadable; shape (n,).
    """

    labels: Mapping[str, Tensor]
    digits: Mapping[str, Tensor]
    kept: Tensor


def draw_pairs(digits: Labelled, draws: Draws, *, keep: float, copy: float) -> Pairs:
    """Draw pairs of digits.

    Labels are uniform. The right one is the left one with probability ``copy``, otherwise drawn on
    its own, so that both agree with probability ``copy`` + (1 - ``copy``) / K; the digits of each
    label are drawn uniformly.

    Args:
        digits: to draw from.
        draws: the random numbers.
        keep: probability that the left digit stays readable.
        copy: probability that the right digit repeats the left label.
    """
    left, other = (_label(digits, draws.uniform(f"{side} label")) for side in ("left", "right"))
    labels = {"left": left, "right": torch.where(draws.uniform("copied") < copy, left, other)}
    places = {
        side: digits.drawn(each, draws.uniform(f"{side} digit")) for side, each in labels.items()
    }
    return Pairs(labels, places, draws.uniform("kept") < keep)


def _label(digits: Labelled, u: Tensor) -> Tensor:
    return (u * len(digits.counts)).long()


def compose(digits: Labelled, pairs: Pairs, draws: Draws, corruption: Corruption) -> Tensor:
    """The pixels of pairs, on the device of the digits.

    Args:
        digits: that the pairs are of.
        pairs: which.
        draws: the random numbers.
        corruption: of left digits that are not kept. ``noise``: uniform pixels. ``blank``: black.
            ``shuffled``: the pixels of a digit of any label, in random order.

    Returns:
        uint8, shape (n, c, h, 2 w): the left digit beside the right one.
    """
    sides = [digits.images[pairs.digits[side].to(digits.images.device)] for side in _SIDES]
    start = 0
    for block in draws.blocks():
        rows = slice(start, start + block.stop - block.start)
        lost = ~pairs.kept[rows]
        if lost.any():
            pixels = _CORRUPTIONS[corruption](digits, block)[lost]
            sides[0][rows][lost.to(sides[0].device)] = pixels.to(sides[0].device)
        start = rows.stop
    return torch.cat(sides, dim=3)


_SIDES = ("left", "right")


def _noise(digits: Labelled, draws: Draws) -> Tensor:
    shape = digits.images.shape[1:]
    return draws.bytes("noise", shape.numel()).view(-1, *shape)


def _blank(digits: Labelled, draws: Draws) -> Tensor:
    return digits.images.new_zeros(draws.stop - draws.start, *digits.images.shape[1:])


def _shuffled(digits: Labelled, draws: Draws) -> Tensor:
    """Pixels of another digit: those of the same one, in any order, would tell its ink."""
    other = digits.drawn(_label(digits, draws.uniform("other label")), draws.uniform("other digit"))
    pixels = digits.images[other.to(digits.images.device)]
    order = draws.orders("order", pixels[0, 0].numel()).to(pixels.device)
    whole = order[:, None].expand(-1, pixels.shape[1], -1)  # channels stay together
    return pixels.flatten(2).gather(2, whole).view_as(pixels)


_CORRUPTIONS: Mapping[str, Callable[[Labelled, Draws], Tensor]] = {
    "noise": _noise,
    "blank": _blank,
    "shuffled": _shuffled,
}
