"""Digests of the inputs of each example, as the network reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import arguments
from repsim.activations.capture.batches import (
    LABELS,
    batch_size,
    is_by_example,
    rows_of,
    targets_of,
)
from repsim.dense import is_sparse


def _blake2(data: Any, seed: int = 0) -> int:
    """A digest that tells inputs apart as well; digests that are written need xxhash itself."""
    digest = hashlib.blake2b(data, digest_size=8, key=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little")


try:
    from xxhash import xxh3_64_intdigest
except ModuleNotFoundError:  # repsim was installed without its dependencies, for its measures
    xxh3_64_intdigest = _blake2

#: Values whose text is all that they are.
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, torch.dtype, torch.device)


def batch_digests(model: nn.Module, batch: Any) -> np.ndarray:
    """The digest of the inputs of each example of a batch, before the network can change them.

    Labels of rows have a place of their own in a store; a network that takes them and one that does
    not read the same inputs.
    """
    given = arguments(model, batch)
    if isinstance(batch, Mapping) and targets_of(batch, LABELS):
        given = {name: value for name, value in given.items() if name not in LABELS}
    return input_digests(given, batch_size(batch))


def input_digests(given: Mapping[str, Any], n: int) -> np.ndarray:
    """A digest of all that a network was given for each of n examples, uint64 (n,).

    It depends on the example alone: not on its batch, nor on the order of the arguments. For each
    argument in order of name, h becomes XXH3-64(row, seed = h XOR XXH3-64(line)), beginning with
    h = 0; ``row`` is the bytes of the example's values, ``line`` the argument's name, number type
    and the shape of a row. An argument without n rows counts whole for every example. Of a number,
    a flag, None or a text, ``row`` is its text; lists and dictionaries count element by element,
    and a sparse tensor as the list of its indices, its values and its shape.

    Args:
        given: arguments by name, as ``arguments`` gives them.
        n: examples.
    """
    found = [0] * n
    for name in sorted(given):
        value = given[name]
        if is_sparse(value):
            found = [_with_value(h, name, _parts(value)) for h in found]
        elif isinstance(value, Tensor):
            found = _with_tensor(found, name, _plain(value), is_by_example(name, value, n))
        else:
            own = rows_of(value, n) if is_by_example(name, value, n) else [value] * n
            found = [_with_value(h, name, each) for h, each in zip(found, own, strict=True)]
    return np.array(found, np.uint64)


def _parts(value: Tensor) -> list[Any]:
    """The indices, the values and the shape of a sparse tensor."""
    listed = value.to_sparse_coo().coalesce()
    return [listed.indices(), listed.values(), list(value.shape)]


def _with_tensor(found: list[int], name: str, value: Tensor, by_example: bool) -> list[int]:
    """Digests that a tensor is added to, whole or by its rows."""
    line = _line(name, str(value.dtype), value.shape[1:] if by_example else value.shape)
    rows = value.reshape(len(value) if by_example else 1, -1).view(torch.uint8).numpy()
    return [xxh3_64_intdigest(rows[k if by_example else 0], h ^ line) for k, h in enumerate(found)]


def _with_value(h: int, name: str, value: Any) -> int:
    """A digest that a value is added to."""
    for path, leaf in _leaves(name, value):
        if isinstance(leaf, Tensor):
            (h,) = _with_tensor([h], path, _plain(leaf), False)
        else:
            text = repr(leaf) if isinstance(leaf, _PLAIN) else ""
            h = xxh3_64_intdigest(text.encode(), h ^ _line(path, type(leaf).__name__, ()))
    return h


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values within lists and dictionaries, by their paths."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubc":
        value = torch.from_numpy(value.copy())
    if not isinstance(value, (Mapping, list, tuple)):
        yield name, value
        return
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, each in sorted(pairs, key=lambda pair: str(pair[0])):
        yield from _leaves(f"{name}.{key}", each)


def _line(name: str, kind: str, shape: tuple[int, ...]) -> int:
    text = f"{name}\t{kind.removeprefix('torch.')}\t{','.join(map(str, shape))}\n"
    return xxh3_64_intdigest(text.encode())


def _plain(value: Tensor) -> Tensor:
    """A tensor as contiguous values in memory."""
    value = value.detach()
    if value.layout is not torch.strided:
        value = value.to_dense()
    return value.cpu().resolve_conj().resolve_neg().contiguous()
