"""Masks of pairs of positions (queries, keys), told from those of examples (n, positions)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Arguments that are masks of pairs by the convention of torch, and of examples in other networks.
_NAMES = frozenset({"src_mask", "tgt_mask", "memory_mask", "attn_mask"})


def is_of_pairs(name: str, value: Any) -> bool:
    """True for an argument of such a name that has as many rows as examples by chance.

    A mask of padding has more columns than rows, or fewer, and marks one end of each. A square is
    of examples only if its rows end so, and if it is no pattern along the diagonal. One without any
    mark is of pairs if it is added to scores, being of floating-point numbers.
    """
    if name not in _NAMES or getattr(value, "ndim", 0) != 2:
        return False
    marks = torch.as_tensor(value)
    ends = bool((marks[:, 1:] != marks[:, :-1]).sum(1).le(1).all())
    if marks.shape[0] != marks.shape[1]:
        return name == "memory_mask" and not ends
    return not ends or _is_diagonal(marks)


def _is_diagonal(marks: Tensor) -> bool:
    """True if each row of a square (positions, positions) is one step beyond the last, or none."""
    if len(marks) == 1 or bool((marks == marks[0, 0]).all()):
        return marks.is_floating_point()
    diagonal = marks.diagonal()
    steps = (marks == diagonal[0]).sum(1).diff()
    along = bool((diagonal == diagonal[0]).all())
    return along and any(bool(((steps == 0) | (steps == way)).all()) for way in (1, -1))
