"""Values that evidently fill examples up to the length of the longest."""

from __future__ import annotations

import torch
from torch import Tensor

#: Examples, at least, of which lengths are believed by their contents alone; of them padded ones,
#: where the contents are of a few whole numbers, and otherwise.
_EXAMPLES, _WHOLE, _REAL = 6, 12, 4


def is_filled(values: Tensor) -> bool:
    """True if some of the examples (n, positions, ...), but not all, are evidently filled up.

    They begin or end with positions of zeros only, or of another number, or several with one row,
    twice or more in some, and none of them has it elsewhere; of single numbers other than zero,
    half of the examples do. Or they begin or end with positions that are NaN; or at least half of
    them with a row that is repeated, and no other row is.
    """
    return _ends_filled(values) or _ends_filled(values.flip(1))


def _ends_filled(values: Tensor) -> bool:
    """True if some examples, not all, evidently end in a filler."""
    if not values.numel():
        return False
    last = _rows(values[:, -1:])
    if bool((last == 0).all(2).any()) and _is_run((_rows(values) == 0).all(2)):
        return True
    missing = (last != last).all(2)
    if bool(missing.any()) and not bool(missing.all()):
        return True
    return min(values.shape[:2]) > 1 and _ends_alike(values)


def _ends_alike(values: Tensor) -> bool:
    """True if some examples end in a number, or a row, that is repeated."""
    if not bool(_equal(_rows(values[:, -1:]), _rows(values[:, -2:-1])).any()):
        return False
    rows = _rows(values)
    if rows.shape[2] == 1:
        numbers = rows.squeeze(2)
        return _is_common(numbers == numbers[:, -1].mode().values)
    repeated = _equal(rows[:, 1:], rows[:, :-1])
    longest = int(repeated.flip(1).long().cumprod(1).sum(1).argmax())
    row = rows[longest, -1]
    filler = _equal(rows, row)
    # A state in which one example alone comes to rest fills nothing up.
    shared = int(filler[:, -1].sum()) > 1 or bool((row == row[0]).all())
    often = 2 * int(repeated[:, -1].sum()) >= len(rows)
    return (shared and _is_run(filler)) or (often and _is_run(repeated))


def ends_at(values: Tensor, counts: Tensor) -> bool:
    """True if examples (n, positions, ...) evidently end behind so many positions each.

    All hold one and the same row from there on, and another one before.
    """
    n, length = values.shape[:2]
    low, high = int(counts.min()), int(counts.max())
    if n < _EXAMPLES or low < 1 or not low < length >= high:
        return False
    padded = counts < length
    filler = _rows(values[counts.argmin(), -1:].unsqueeze(0))[0, 0]
    ends = values[torch.arange(n, device=values.device), counts - 1]
    if bool(_equal(_rows(ends.unsqueeze(1)), filler).any()):
        return False
    if not bool(_equal(_rows(values[padded, -1:]), filler).all()):
        return False
    behind = torch.arange(length, device=values.device) >= counts.unsqueeze(1)
    enough = int(padded.sum()) >= (_WHOLE if are_whole(values) else _REAL)
    return enough and bool(_equal(_rows(values), filler)[behind].all())


def begins_filled(values: Tensor, counts: Tensor) -> bool:
    """True if examples (n, positions, ...) evidently have padding before so many positions each.

    The shortest begins with a row that leaves to each shorter example no more positions in a run
    than it has, and behind as many lies something else, which is neither the last row repeated nor
    one row in all of them, as padding behind is. Behind zeros it may be, unless numbers are whole,
    and 0 may be the first token of a text.
    """
    padded = (counts > 0) & (counts < values.shape[1])
    if not bool(padded.any()):
        return False
    rows, counts = _rows(values)[padded], counts[padded]
    first = rows[counts.argmin(), 0]
    others = ~_equal(rows, first)
    if bool((_span(others) > counts).any()):
        return False
    behind = torch.arange(rows.shape[1], device=rows.device) >= counts.unsqueeze(1)
    goes_on = (behind & others)[:, 1:] & ~_equal(rows[:, 1:], rows[:, :-1])
    if not bool(goes_on.any()):
        return False
    left_out = rows[behind]
    several = not bool(_equal(left_out, left_out[0]).all())
    nothing = bool(((first == 0) | (first != first)).all())
    return several or (nothing and not are_whole(rows.nan_to_num()))


def _span(marks: Tensor) -> Tensor:
    """The positions from the first to the last mark of each row; none without a mark."""
    begun, left = marks.long().cummax(1).values, marks.flip(1).long().cummax(1).values.flip(1)
    return (begun & left).sum(1)


def one_each(values: Tensor) -> Tensor:
    """Numbers (n, 1) as (n,); other values as they are."""
    return values.squeeze(1) if values.ndim == 2 and values.shape[1] == 1 else values


def are_whole(values: Tensor) -> bool:
    """True for whole numbers, of any type."""
    return not values.is_floating_point() or bool((values == values.floor()).all())


def _rows(values: Tensor) -> Tensor:
    """The values of each position, (n, positions, d)."""
    return values.unsqueeze(-1).flatten(2)


def _equal(x: Tensor, y: Tensor) -> Tensor:
    """True for equal rows of two tensors (..., d); NaN is equal to NaN."""
    return ((x == y) | ((x != x) & (y != y))).all(-1)


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
    return bool((~_equal(_rows(x), _rows(y)) & pairs).any())


def _is_run(filler: Tensor) -> bool:
    """True if all of a filler (n, positions) ends some examples, not all, and is nowhere else."""
    run = filler.flip(1).long().cummin(1).values.flip(1).bool()
    padded = run.any(1)
    return bool(padded.any()) and not bool(padded.all()) and bool((run == filler).all())


def _is_common(filler: Tensor) -> bool:
    """True for such a run at the end of half of the examples, of two or more in some."""
    often = 2 * int(filler[:, -1].sum()) >= len(filler)
    return often and bool(filler[:, -2].any()) and _is_run(filler)
