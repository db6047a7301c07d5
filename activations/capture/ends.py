"""Entries beside inputs whose values end at some positions, as if the others were padding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from repsim.activations.capture.batches import ABOUT
from repsim.activations.capture.fillers import are_whole, one_each
from repsim.activations.capture.masks import NO_TOKENS, arrays_by_example, is_telling

#: Names of places at which examples may end.
_PLACE = re.compile(
    r"(?:^|_)(?:end|(?:last|eos|final)(?:_?(?:index|idx|pos|position|step|token))?)$"
)


_WHERE = "at the ends of some examples and nowhere else"


@dataclass(frozen=True)
class End:
    """An entry that tells where examples end.

    Attributes:
        length: its positions.
        what: its values there, in words.
    """

    length: int
    what: str


def ends_in(batch: Any) -> dict[str, End]:
    """The entries of a batch that may tell of padding by their values, in a way of their own.

    They come beside an input that has the same positions: -inf or a large negative number in a
    bias, weights of 0, negative numbers of segments or positions, NaN, in runs at one end that are
    not as long in all examples, and nowhere else; or the place of the last position.
    """
    entries = [
        (name, value)
        for name, value in arrays_by_example(batch)
        if name not in ABOUT and not is_telling(name)
    ]
    return dict(_ends(entries))


def _ends(entries: list[tuple[str, Tensor]]) -> Iterator[tuple[str, End]]:
    for name, value in entries:
        others = [each for other, each in entries if other != name]
        marks = _of_positions(value)
        if marks is not None and any(marks.shape[1] in each.shape[1:] for each in others):
            what = _what(name, marks)
            if what:
                yield name, End(marks.shape[1], what)
        elif value.ndim == 3 and _differ_in_length(value.isnan().all(2)):
            yield name, End(value.shape[1], f"is NaN {_WHERE}")
        elif _PLACE.search(name) and one_each(value).ndim == 1 and are_whole(value):
            lengths = {each.shape[1] for each in others if each.ndim > 1}
            longer = sorted(length for length in lengths if length > int(value.max()))
            if bool((value >= 0).all()) and longer:
                yield name, End(longer[0], "may be the last position of each example")


def _of_positions(value: Tensor) -> Tensor | None:
    """A value for each position, (n, positions): also of (n, 1, 1, positions) and the like."""
    wide = [size for size in value.shape[1:] if size > 1]
    return value.reshape(len(value), wide[0]) if len(wide) == 1 else None


def _what(name: str, values: Tensor) -> str:
    """The values at the ends of some examples; empty where there are none of a filler."""
    if values.is_floating_point():
        fillers = {
            "is NaN": values.isnan(),
            "is -inf, or far below 0,": values <= -1e4,
            "is 0": (values == 0) & (values == 0).sum(1).gt(1).any(),
        }
    elif values.dtype == torch.bool or name.endswith(NO_TOKENS[:1]):
        return ""
    else:
        fillers = {"is below 0": values < 0}
    what = next((k for k, each in fillers.items() if _differ_in_length(each)), "")
    return f"{what} {_WHERE}" if what else ""


def _differ_in_length(filler: Tensor) -> bool:
    """True if a filler (n, positions) is at one end of examples only, and not as long in all."""
    counts = filler.sum(1)
    if not bool(filler.any()) or bool((counts == counts[0]).all()):
        return False
    places = torch.arange(filler.shape[1], device=filler.device)
    return any(
        bool((way == (places < counts.unsqueeze(1))).all()) for way in (filler, filler.flip(1))
    )
