"""Uncertainty of a CKA value: standard errors, influence of examples, permutation tests.

Standard errors and influences follow in closed form from the terms of each example, which the sweep
over Gram matrices or features keeps (``GramSums.terms``). Nothing is resampled for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repsim.devices import in_units
from repsim.errors import UsageError
from repsim.measures.hsic import GramSums
from repsim.measures.layer import Layer
from repsim.progress import Progress, silent

if TYPE_CHECKING:
    from jaxtyping import Float, Int

#: Rows of a Gram matrix that are permuted at once.
ROWS = 512

#: Permutations that are brought to a device at once.
TOGETHER = 64


def standard_errors(
    sums: GramSums, examples: Int[Tensor, " n"] | None = None
) -> Float[Tensor, "a b"]:
    """Standard error of the unbiased CKA of every pair, over draws of the examples.

    The jackknife of Efron and Stein (1981) on CKA itself, whose values without each example are
    known in closed form: √((n-1)/n Σ (CKA₍₋ᵢ₎ - mean)²). For HSIC alone it is the projection of
    Hájek, with the variance of Song et al. (2012, Theorem 5) up to O(1/n). Where the layers are
    independent the first-order terms vanish, and it is too large by about √2.

    The bandwidth of an RBF kernel is taken as given, which leaves out a part of the spread near
    CKA 1. NaN below five examples.

    Args:
        sums: with ``terms``.
        examples: number of the example of each row, if examples have several rows. The
            differences of its rows from the mean are then summed; to first order, this leaves out
            all of them.
    """
    n = sums.n if examples is None else int(examples.max()) + 1
    if n < 5:
        return torch.full_like(sums.inner, torch.nan)
    without = leave_one_out(sums)
    each = without.sub_(without.mean(0))
    if examples is not None:
        each = each.new_zeros(n, *each.shape[1:]).index_add_(0, examples.to(each.device), each)
    return (each.square_().sum(0) * ((n - 1) / n)).sqrt()


def leave_one_out(sums: GramSums) -> Float[Tensor, "n a b"]:
    """The unbiased CKA of every pair without example i, for every i."""
    return sums.leave_one_out().cka()


def permutation_test(
    layers_a: list[Layer],
    layers_b: list[Layer],
    *,
    permutations: int,
    seed: int,
    memory: int,
    progress: Progress = silent,
) -> tuple[np.ndarray, np.ndarray]:
    """p-values of layers being no more alike than layers of unrelated examples.

    The examples of b are permuted, which leaves every layer as it is and breaks the link between
    a and b. A p-value is (1 + permutations with at least the observed unbiased CKA) /
    (1 + permutations), so never 0.

    Args:
        layers_a: layers from ``prepare_layer``; their Gram matrices are held.
        layers_b: layers of the other side.
        permutations: how many.
        seed: of the permutations.
        memory: bytes that the Gram matrices may take.
        progress: told the permutations done.

    Returns:
        p-values of each pair, (a, b), and the same corrected for having looked at all pairs: the
        share of permutations whose most extreme pair reaches the observed one, each pair in units
        of its own spread (the single-step maxT of Westfall and Young 1993).

    Raises:
        UsageError: the Gram matrices do not fit in the memory.
    """
    _hold_grams(layers_a, layers_b, memory)
    above = torch.stack([_gram(layer) for layer in layers_a])
    whole = torch.stack([_gram(layer) + _gram(layer).T for layer in layers_b])
    norms = [
        torch.stack([torch.linalg.vector_norm(_gram(layer).double()) for layer in side])
        for side in (layers_a, layers_b)
    ]
    shape = (permutations + 1, len(layers_a), len(layers_b))
    found = torch.empty(shape, dtype=torch.float64, device=above.device)
    for trial, order in enumerate(_orders(layers_a[0].n, permutations, seed, above.device)):
        found[trial] = _inner(above, whole, order) / norms[0][:, None] / norms[1]
        progress(trial, permutations, "permutations")
    return _p_values(found.cpu())


def _orders(n: int, permutations: int, seed: int, device: torch.device) -> Iterator[Tensor]:
    """The order of n examples that was observed, and random ones.

    These are drawn on the CPU, the same for every device, and brought there many at a time.
    """
    generator = np.random.default_rng(seed)
    yield torch.arange(n, device=device)
    for start in range(0, permutations, TOGETHER):
        count = min(TOGETHER, permutations - start)
        drawn = np.stack([generator.permutation(n) for _ in range(count)])
        yield from torch.from_numpy(drawn).to(device)


def _hold_grams(layers_a: list[Layer], layers_b: list[Layer], memory: int) -> None:
    """Keep the Gram matrices of all layers in memory, if they fit."""
    layers = list({id(layer): layer for layer in [*layers_a, *layers_b]}.values())
    n, size = layers[0].n, layers[0].dtype.itemsize
    needed = n * n * size * (len(layers) + len(layers_a) + 2 * len(layers_b))
    if needed > memory:
        raise UsageError(
            f"a permutation test of {len(layers)} layers on {n} examples holds their Gram "
            f"matrices, {in_units(needed)}, and may take {in_units(memory)}; choose fewer "
            "layers or examples, or allow more memory"
        )
    for layer in layers:
        if layer.gram is None:
            layer.hold_gram(None, ROWS)


def _inner(
    above: Float[Tensor, "a n n"], whole: Float[Tensor, "b n n"], order: Tensor
) -> Float[Tensor, "a b"]:
    """Σ_{i<j} K_ij L_ij of all pairs, with the examples of every L in another order."""
    n = len(order)
    inner = torch.zeros(len(above), len(whole), dtype=torch.float64, device=above.device)
    for start in range(0, n, ROWS):
        left = above[:, start : start + ROWS, start:].transpose(0, 1)
        right = whole[:, order[start : start + ROWS]][:, :, order[start:]].permute(1, 2, 0)
        inner += torch.bmm(left, right).double().sum(0)
    return inner


def _p_values(found: Float[Tensor, "trials a b"]) -> tuple[np.ndarray, np.ndarray]:
    """p-values of each pair, plain and by single-step maxT; the first trial is the observed one."""
    centred = (found - found.mean(0)) / found.std(0)
    most = centred.amax((1, 2))[:, None, None]
    single = (found >= found[0]).double().mean(0)
    corrected = (most >= centred[0]).double().mean(0)
    return single.numpy(), corrected.numpy()


def _gram(layer: Layer) -> Tensor:
    assert layer.gram is not None
    return layer.gram
