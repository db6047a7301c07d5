"""Blocks of rows, so that no layer is held whole."""

from __future__ import annotations

from collections.abc import Iterator

#: Bytes of a layer that are held at a time.
BLOCK_BYTES = 4 << 20


def blocks(n: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """First and one past the last row of every block of ``n`` rows, at least a row each."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    return ((start, min(start + step, n)) for start in range(0, n, step))
