"""Checks for input on which CKA is undefined, or says little."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.errors import DegenerateError, ShapeError
from repsim.measures.hsic import HSIC
from repsim.measures.layer import Layer

if TYPE_CHECKING:
    from jaxtyping import Float

#: Biased values are warned about where those of unrelated layers would be above this.
FLOOR = 0.5


def check_examples(n: int, m: int) -> None:
    """Refuse x and y of different rows, and fewer examples than the unbiased HSIC needs.

    Raises:
        ShapeError: x and y differ in rows.
        DegenerateError: fewer than four examples.
    """
    if n != m:
        raise ShapeError(f"x has {n} rows, y has {m}; expected the same examples in both")
    if n < 4:
        raise DegenerateError(f"{n} examples arrived; CKA needs at least 4")


def rounding(layers: list[Layer]) -> list[float]:
    """The most that rounding alone can make of each self-HSIC."""
    return [layer.noise**2 for layer in layers]


def check_defined(hsic: HSIC, noise: list[float]) -> HSIC:
    """``hsic`` of one pair of layers, x and y, if both self-HSICs are positive beyond rounding.

    Raises:
        DegenerateError: one of them is not.
    """
    for name, value, bound in zip("xy", (hsic.aa.item(), hsic.bb.item()), noise, strict=True):
        if not (value > bound and math.isfinite(value)):
            raise DegenerateError(
                f"{name}: its self-HSIC is {value:.2g}, not positive beyond rounding, so CKA is "
                "undefined; it is constant, or the examples are too few for its features"
            )
    return hsic


def without_rounding(
    hsic: HSIC,
    layers_a: list[Layer],
    layers_b: list[Layer],
    notes: dict[str, str],
    labels: tuple[str, str],
) -> HSIC:
    """``hsic`` with NaN for a self-HSIC that is rounding alone; ``notes`` says which."""
    found = []
    for label, layers, own in zip(labels, (layers_a, layers_b), (hsic.aa, hsic.bb), strict=True):
        noise = torch.tensor(rounding(layers), dtype=torch.float64, device=own.device)
        found.append(torch.where(own > noise, own, torch.nan))
        for layer, value, bound in zip(layers, own.tolist(), noise.tolist(), strict=True):
            if not value > bound:
                notes[f"{label}:{layer.name}"] = (
                    f"its unbiased self-HSIC is {value:.2g}, not positive beyond rounding: "
                    f"{layer.n} examples are too few for its features"
                )
    return HSIC(hsic.ab, *found)


def biased_floors(unbiased: HSIC, biased: HSIC) -> Float[Tensor, "a b"]:
    """The biased CKA that layers like these have when they are unrelated.

    √(pq / ((n + p)(n + q))) for independent Gaussian features, with p and q their
    effective numbers: how much the diagonal of the Gram matrix has of the self-HSIC.
    """
    shares = [
        (1 - own / with_diagonal).clamp(min=0)
        for own, with_diagonal in ((unbiased.aa, biased.aa), (unbiased.bb, biased.bb))
    ]
    return (shares[0][:, None] * shares[1]).sqrt()


def floor_warning(floor: float, n: int) -> str:
    """The caution about biased values of unrelated layers that would be about ``floor``."""
    return (
        f"the biased CKA of unrelated layers as wide as these would be about {floor:.2f} for {n} "
        "examples; read the unbiased values, or take more examples"
    )
