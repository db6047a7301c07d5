"""Digests of the inputs of each example, as the network reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import xxhash
from torch import Tensor


def input_digests(given: Mapping[str, Tensor], n: int) -> np.ndarray:
    """A digest of all that a network was given for each of n examples, uint64 (n,).

    It depends on the example alone: not on its batch, nor on the order of the arguments. For each
    argument in order of name, h becomes XXH3-64(row, seed = h XOR XXH3-64(line)), beginning with
    h = 0; ``row`` is the bytes of the example's values, ``line`` the argument's name, number type
    and the shape of a row. An argument without n rows counts whole for every example.

    Args:
        given: arguments by name, as ``arguments`` gives them.
        n: examples.
    """
    found = [0] * n
    for name in sorted(given):
        value = _plain(given[name])
        shared = not value.ndim or len(value) != n
        shape = ",".join(map(str, value.shape if shared else value.shape[1:]))
        kind = str(value.dtype).removeprefix("torch.")
        line = xxhash.xxh3_64_intdigest(f"{name}\t{kind}\t{shape}\n".encode())
        rows = value.reshape(1 if shared else n, -1).view(torch.uint8).numpy()
        found = [
            xxhash.xxh3_64_intdigest(rows[0 if shared else k], h ^ line)
            for k, h in enumerate(found)
        ]
    return np.array(found, np.uint64)


def _plain(value: Tensor) -> Tensor:
    """A tensor as contiguous values in memory."""
    value = value.detach()
    if value.layout is not torch.strided:
        value = value.to_dense()
    return value.cpu().resolve_conj().resolve_neg().contiguous()
