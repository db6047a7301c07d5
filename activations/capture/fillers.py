"""Values that evidently fill examples up to the length of the longest."""

from __future__ import annotations

import torch
from torch import Tensor


def is_filled(values: Tensor) -> bool:
    """True if some of the examples (n, positions, ...), but not all, are evidently filled up.

    They begin or end with positions of zeros only, and none of them has zeros elsewhere. Or they
    are whole numbers (n, positions), and at least half of them begin or end with one and the same
    number, some with two or more of it, and none has it elsewhere.
    """
    empty = (values == 0).flatten(2).all(2) if values.ndim > 2 else values == 0
    if _is_run(empty) or _is_run(empty.flip(1)):
        return True
    whole = values.ndim == 2 and not values.is_floating_point() and not values.is_complex()
    if not whole or min(values.shape) < 2:
        return False
    ways = (values.long(), values.long().flip(1))
    return any(_is_common(way == way[:, -1].mode().values) for way in ways)


def goes_on(values: Tensor, counts: Tensor) -> bool | None:
    """True if examples (n, positions, ...) have several values behind so many positions.

    False where each of them holds one and the same value there, as padding does; None where no
    example has two positions behind.
    """
    behind = torch.arange(values.shape[1], device=values.device) >= counts.unsqueeze(1)
    pairs = behind[:, :-1]  # then the next one is behind, too
    if not bool(pairs.any()):
        return None
    x, y = values[:, :-1], values[:, 1:]
    differ = ((x != y) & ~((x != x) & (y != y))).unsqueeze(-1).flatten(2).any(2)
    return bool((differ & pairs).any())


def _is_run(filler: Tensor) -> bool:
    """True if all of a filler (n, positions) ends some examples, not all, and is nowhere else."""
    run = filler.flip(1).long().cummin(1).values.flip(1).bool()
    padded = run.any(1)
    return bool(padded.any()) and not bool(padded.all()) and bool((run == filler).all())


def _is_common(filler: Tensor) -> bool:
    """True for such a run at the end of half of the examples, of two or more in some."""
    often = 2 * int(filler[:, -1].sum()) >= len(filler)
    return often and bool(filler[:, -2].any()) and _is_run(filler)
