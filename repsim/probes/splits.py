"""The examples that a probe learns from: stratified by class, by seed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.errors import MismatchError, RepsimWarning, UsageError, few

if TYPE_CHECKING:
    from jaxtyping import Int


def stratified_split(
    labels: Int[Tensor, " n"], *, fraction: float, seed: int
) -> tuple[Int[Tensor, " kept"], Int[Tensor, " held"]]:
    """Indices (kept, held out) with ``fraction`` of every class held out.

    At least one of each is held out, and at least one is kept: of a class of one, that one.
    """
    generator = torch.Generator().manual_seed(seed)
    kept, held = [], []
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1).cpu()
        members = members[torch.randperm(len(members), generator=generator)]
        out = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.append(members[:out])
        kept.append(members[out:])
    return torch.cat(kept).sort().values, torch.cat(held).sort().values


def check_fraction(fraction: float) -> None:
    """Raise ``UsageError`` unless ``fraction`` is above 0 and at most 1."""
    if not 0 < fraction <= 1:
        raise UsageError(f"label_fraction is {fraction}; expected above 0 and at most 1")


def label_subset(labels: Int[Tensor, " n"], *, fraction: float, seed: int) -> Int[Tensor, " m"]:
    """Indices of ``fraction`` of every class, at least one of each; all of them for 1.

    Raises:
        UsageError: a fraction that is not above 0 and at most 1.
    """
    check_fraction(fraction)
    if fraction == 1:
        return torch.arange(len(labels))
    kept, held = stratified_split(labels, fraction=fraction, seed=seed)
    missing = ~torch.isin(labels.cpu()[kept], labels.cpu()[held])  # classes of one example
    return torch.cat([held, kept[missing]]).sort().values


def unseen_classes(labels: Int[Tensor, " n"], held: Int[Tensor, " m"]) -> int:
    """Count the held-out examples of classes without a training label.

    Raises:
        MismatchError: all of them are.

    Warns:
        RepsimWarning: some of them are.
    """
    unseen = ~torch.isin(held, labels.to(held.device))
    count = int(unseen.sum())
    if not count:
        return 0
    if count == len(held):
        raise MismatchError(
            f"no held-out label is a class of the training labels: {_some(held)} against "
            f"{_some(labels)}; expected one numbering of the classes in both"
        )
    warnings.warn(
        f"{count:,} of {len(held):,} held-out examples are of classes that no training example has "
        f"({_some(held[unseen])}); they count as wrong: leave them out, or train on these classes",
        RepsimWarning,
        stacklevel=4,
    )
    return count


def _some(labels: Int[Tensor, " n"]) -> str:
    """The first of the classes that occur."""
    return few([str(name) for name in labels.unique().tolist()], 5)


def check_seed(seed: Any) -> None:
    """Raise ``UsageError`` unless ``seed`` is a whole number that torch and NumPy take."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63:
        raise UsageError(f"seed is {seed!r}; expected a whole number from 0")


def permuted(labels: Int[Tensor, " n"], *, seed: int) -> Int[Tensor, " n"]:
    """The same labels on other examples, at random: what a probe can only memorise."""
    generator = torch.Generator().manual_seed(seed)
    return labels[torch.randperm(len(labels), generator=generator).to(labels.device)]
