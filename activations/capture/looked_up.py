"""Numbers of an input by which a network looks up rows of a table, as tokens are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LookedUp:
    """Numbers of an input that choose rows of a table.

    Attributes:
        name: of the input.
        pad: the number that stands for padding alone; None where no number does.
        shift: added to the numbers before the rows are looked up.
        signed: numbers below 0 count from the end of the table; else they are padding.
        column: axis and place of the numbers in the input; None where all of it is numbers.
    """

    name: str
    pad: int | None = None
    shift: int = 0
    signed: bool = False
    column: tuple[int, int] | None = None

    def numbers(self, value: Tensor) -> Tensor:
        """The numbers (n, ..., positions) in an input."""
        return value if self.column is None else value.select(*self.column)

    def tells(self, value: Tensor) -> bool:
        """True if some number of an input stands for padding, whether it occurs or not."""
        return self.pad is not None or bool(self._below(self.numbers(value)).any())

    def shows_padding(
        self, value: Tensor, shape: Sequence[int] = (), *, begin: bool = True
    ) -> bool:
        """True if some numbers end, or begin, in padding.

        Args:
            value: the input.
            shape: of a layer, without the examples; where it has a position for each sentence of
                words (n, sentences, words), sentences that are padding alone are meant.
            begin: padding may come first.
        """
        numbers = self.numbers(value)
        if not numbers.numel():
            return False
        is_pad = self.is_padding(value)
        if self._are_sentences(shape, numbers):
            is_pad = is_pad.all(-1)
        return bool(is_pad[..., -1].any()) or (begin and bool(is_pad[..., 0].any()))

    def is_padding(self, value: Tensor) -> Tensor:
        """True for the numbers (n, ..., positions) of an input that are padding."""
        numbers = self.numbers(value)
        below = self._below(numbers)
        return below if self.pad is None else below | (numbers == self.pad)

    def _below(self, numbers: Tensor) -> Tensor:
        """True for numbers that no row has."""
        found = numbers + self.shift < 0
        return found & (not self.signed)

    def _are_sentences(self, shape: Sequence[int], numbers: Tensor) -> bool:
        first, *rest = numbers.shape[1:]
        alone = len(shape) == 2 and shape[0] == first
        return bool(rest) and alone and math.prod(rest) > 1


def has_positions(shape: Sequence[int], positions: Sequence[int]) -> bool:
    """True for a layer, by its shape without the examples, that may have some positions.

    One for one, before or behind its channels; or as an axis of their number.
    """
    shape, positions = tuple(shape), tuple(positions)
    k = len(positions)
    if len(shape) > k and positions in (shape[:k], shape[-k:]):
        return True
    return len(shape) == 2 and not {positions[0], math.prod(positions)}.isdisjoint(shape)
