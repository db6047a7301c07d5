"""Minibatches of rows in random order, of rows that do not fit in memory as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from repsim.probes.features import Features


def shuffled(
    rows: Features, labels: Tensor, size: int, memory: int, generator: torch.Generator
) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """A function that gives the batches of an epoch: ``size`` rows each, the last one the rest."""
    device = rows.device

    def parts(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(len(x), generator=generator).to(device).split(size):
            yield x.index_select(0, index), y.index_select(0, index)

    if rows.size <= memory:
        whole = rows.tensor()
        return lambda: parts(whole, labels)

    lengths = [stop - start for start, stop in pairwise(rows.starts)]
    some = torch.tensor([k for k, length in enumerate(lengths) if length])
    # Twice: where blocks are put together, they are there as well.
    together = max(2, memory // (2 * 4 * rows.p * max(lengths)))

    def windows() -> Iterator[tuple[Tensor, Tensor]]:
        x, y = torch.empty(0, rows.p, device=device), labels[:0]
        order = some[torch.randperm(len(some), generator=generator)]
        for window in order.split(together):
            chosen = [slice(rows.starts[k], rows.starts[k + 1]) for k in window.tolist()]
            x = torch.cat([x, *(rows.block(k) for k in window.tolist())])
            y = torch.cat([y, *(labels[part] for part in chosen)])
            for batch in parts(x, y):
                x, y = batch
                if len(x) == size:
                    yield batch
                    x, y = x[:0], y[:0]
            # Rows that fill no batch join the next window.
        if len(x):
            yield x, y

    return windows
