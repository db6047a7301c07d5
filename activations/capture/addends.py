"""Modules whose outputs a block of a transformer adds to its residual stream, found by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

#: No block is known to add more than attention, attention to another sequence and an MLP.
_MOST = 3


class Seen(NamedTuple):
    """The first tensors that a module took and gave at its first call, at some positions.

    Attributes:
        given: None where it took none of three dimensions.
        gave: None where it gave none.
        shape: of all that it gave.
        once: it was called no more than that.
        norm: it has no weights but one for each feature, as normalisation does.
    """

    given: Tensor | None
    gave: Tensor | None
    shape: tuple[int, ...]
    once: bool
    norm: bool


def addends(block: str, seen: Mapping[str, Seen]) -> list[str]:
    """The modules of a block that give what it adds to the stream, in order of execution.

    A sum is one of the block's only if it is exactly what the block, or a normalisation within it,
    goes on with. So the module that scales or normalises an output before it is added is meant, and
    not the one whose output already has the stream in it.

    Args:
        block: its address.
        seen: modules by address, in the order in which they returned.

    Returns:
        Addresses; none where no sum of outputs is what the block gives.
    """
    whole = seen[block]
    inside = {name: each for name, each in seen.items() if name.startswith(f"{block}.")}
    if whole.given is None or whole.gave is None:
        return []
    terms = _distinct(inside, whole)
    norms = [each for each in inside.values() if each.norm]
    return _search(whole.given, whole.gave, terms, norms, _MOST) or []


def same(a: Tensor | None, b: Tensor | None) -> bool:
    """True for two tensors of the same numbers, of one type."""
    if a is None or b is None or a.dtype != b.dtype:
        return False
    return torch.equal(a, b)


def _distinct(inside: Mapping[str, Seen], whole: Seen) -> list[tuple[str, Tensor]]:
    """The different outputs, each by the outermost module that gives it."""
    found: list[tuple[str, Tensor]] = []
    for name, each in inside.items():
        if each.gave is None or each.shape != whole.shape or not bool(each.gave.any()):
            continue
        place = next((k for k, (_, x) in enumerate(found) if same(x, each.gave)), None)
        if place is None:
            found.append((name, each.gave))
        elif name.count(".") < found[place][0].count("."):
            found[place] = name, each.gave
    return found


def _search(
    value: Tensor,
    goal: Tensor,
    terms: Sequence[tuple[str, Tensor]],
    norms: Sequence[Seen],
    most: int,
) -> list[str] | None:
    """The terms that lead from one value of the stream to another, in order."""
    for (first, x), (second, y) in combinations(terms, 2):  # a block whose parts run side by side
        if same(value + (x + y), goal):
            return [first, second]
    for k, (name, x) in enumerate(terms):
        for reached in _onwards(value + x, norms):
            if same(reached, goal):
                return [name]
            rest = _search(reached, goal, terms[k + 1 :], norms, most - 1) if most > 1 else None
            if rest is not None:
                return [name, *rest]
    return None


def _onwards(total: Tensor, norms: Sequence[Seen]) -> Iterator[Tensor]:
    """A sum, and what a normalisation that was given it makes of it."""
    yield total
    for norm in norms:
        if norm.gave is not None and same(norm.given, total):
            yield norm.gave
