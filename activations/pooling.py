"""From what a layer gives to what is kept of it."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from repsim.errors import UsageError, choices

Pooling = Literal["none", "avg"]


def pool(activations: Tensor, pooling: Pooling) -> Tensor:
    """Reduce activations (n, ...) of one layer.

    ``"none"`` keeps every value: positions of a map are features of their own, as in Kornblith et
    al. (2019). ``"avg"`` averages a map (n, c, h, w) over its positions and tokens (n, tokens, d)
    over the tokens; (n, d) is left as it is.
    """
    if pooling == "none" or activations.ndim == 2:
        return activations
    if activations.ndim == 3:
        return activations.mean(1)
    return activations.flatten(2).mean(2)


def check_pooling(pooling: str) -> Pooling:
    """``pooling`` if there is such a reduction; ``UsageError`` if not."""
    if pooling not in get_args(Pooling):
        raise UsageError(f"unknown pooling {pooling!r}; {choices(pooling, get_args(Pooling))}")
    return pooling  # type: ignore[return-value]


def axes(ndim: int) -> str:
    """Names of the axes of stored activations with ``ndim`` dimensions."""
    names = {
        2: ("example", "feature"),
        3: ("example", "token", "feature"),
        4: ("example", "channel", "height", "width"),
    }
    return ",".join(names.get(ndim, ("example", *(f"axis{i}" for i in range(1, ndim)))))
