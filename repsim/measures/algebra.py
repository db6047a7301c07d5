"""The choice between Gram matrices and products of features, by counted operations."""

from __future__ import annotations

from typing import Literal

from repsim.errors import UsageError, choices
from repsim.measures.features import feature_sums
from repsim.measures.gram import gram_sums
from repsim.measures.hsic import GramSums
from repsim.measures.kernels import Linear
from repsim.measures.layer import Layer
from repsim.progress import Progress, silent

Algebra = Literal["gram", "features"]


def operations(
    widths_a: list[int], widths_b: list[int] | None, n: int, algebra: str, *, terms: bool = False
) -> float:
    """Floating-point operations of the products that the sums need, symmetric ones counted once.

    Args:
        widths_a: features of the layers of one side.
        widths_b: of the other, or None where the first is paired with itself.
        n: examples.
        algebra: ``"gram"``: a Gram matrix a layer and an inner product a pair; ``"features"``:
            the product of the features of each pair.
        terms: with the terms of each example.
    """
    widths = widths_a + (widths_b or [])
    if algebra == "gram":
        pairs = len(widths_a) * len(widths_b or widths_a) + len(widths)
        return n * n * (sum(widths) + pairs * (2 if terms else 1))
    own = sum(p * p for p in widths) / 2
    across = sum(widths_a) * sum(widths_b) if widths_b else sum(widths) ** 2 / 2 - own
    return 2 * n * (across + own) * (2 if terms else 1)


def choose(layers_a: list[Layer], layers_b: list[Layer] | None, *, terms: bool) -> Algebra:
    """The algebra of fewer operations; an RBF kernel has but one."""
    if not isinstance(layers_a[0].kernel, Linear):
        return "gram"
    widths_a = [layer.features for layer in layers_a]
    widths_b = None if layers_b is None else [layer.features for layer in layers_b]
    n = layers_a[0].n
    cost = {
        name: operations(widths_a, widths_b, n, name, terms=terms) for name in ("gram", "features")
    }
    return "features" if cost["features"] < cost["gram"] else "gram"


def pair_sums(
    layers_a: list[Layer],
    layers_b: list[Layer] | None,
    *,
    memory: int,
    terms: bool = False,
    algebra: Algebra | None = None,
    progress: Progress = silent,
) -> GramSums:
    """The sums over all pairs of layers, by the algebra of fewer operations.

    Args:
        layers_a: layers from ``prepare_layer``.
        layers_b: layers of the other side, or None to pair ``layers_a`` with itself.
        memory: bytes that rows, matrices and tiles may take.
        terms: keep the terms of each example, from which the standard errors follow.
        algebra: the one to use; it has no influence on the values.
        progress: told the steps done.
    """
    sums = {"gram": gram_sums, "features": feature_sums}
    chosen = choose(layers_a, layers_b, terms=terms) if algebra is None else algebra
    if chosen not in sums:
        raise UsageError(f"unknown algebra {chosen!r}; {choices(chosen, sums)}")
    if chosen == "features" and not isinstance(layers_a[0].kernel, Linear):
        raise UsageError(
            f"the {layers_a[0].kernel} kernel has no products of features; leave algebra out"
        )
    return sums[chosen](layers_a, layers_b, memory=memory, terms=terms, progress=progress)
