"""Every statistic of the split of features by a head, each with an interval and with its chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim.ambient import settled
from repsim.errors import ShapeError, UsageError
from repsim.measures.prepare import check_rows_vary
from repsim.nullspace.chance import by_chance, over
from repsim.nullspace.entries import (
    EXAMPLES,
    SPACES,
    Entries,
    of_classes,
    of_difference,
    of_energy,
    of_logit,
    of_noise,
    of_ones,
)
from repsim.nullspace.head import Head, check_frames, read_features, read_head
from repsim.nullspace.population import Population
from repsim.nullspace.sides import Side, split

#: Groups that a noise cannot be named after.
RESERVED = ("all", "generated", "real-fake")


@settled()
def measure(
    features: Any,
    weight: Any,
    bias: Any | None = None,
    *,
    labels: Any | None = None,
    generated: Any | None = None,
    generated_labels: Any | None = None,
    noisy: Mapping[str, Any] | None = None,
    rank_tolerance: float | None = None,
    seed: int = 0,
    draws: int = 1000,
    resamples: int = 400,
) -> Entries:
    """Measure the part of features f that a head y = A f + b sees, and the part that it does not.

    Intervals are of the bootstrap. A value that is undefined has no entry: of an empty part, of one
    class, of a class of fewer than five examples. An end or a chance that is undefined is NaN, and
    ``note`` says why.

    Args:
        features: (n, d) of real images, which the head takes.
        weight: (out, d) the head's matrix A.
        bias: (out,) its bias b; only the mean of α depends on it.
        labels: (n,) integers, the classes.
        generated: (m, d) features of generated images.
        generated_labels: (m,) integers; of the M-GAN, the generator that each is from.
        noisy: name, such as ``gaussian 0.25``, to the features (n, d) of the same examples, in the
            same order, under that noise.
        rank_tolerance: see ``row_space``.
        seed: of resamples and random subspaces.
        draws: random subspaces; fewer where they would take more than seconds.
        resamples: bootstrap resamples of the examples, within each class.

    Raises:
        ShapeError: arrays that do not fit each other.
        MismatchError: data frames whose rows or columns have the same names in another order.
        NonFiniteError: NaN or infinity in one of them.
        DegenerateError: the features are the same for every example.
        UsageError: a noise that has the name of another group; no draws or resamples.
    """
    head = read_head(weight, bias, rank_tolerance, seed, draws, resamples)
    check_frames(("features", features), noisy, {"generated": generated})
    f, classes = read_features(head, features, labels, "features", "labels")
    check_rows_vary(f, f - f.mean(0), "features: it")
    if generated is None and generated_labels is not None:
        raise ShapeError("generated_labels came without generated")
    images = {"all": Population.of(f, classes)}
    if generated is not None:
        names = ("generated", "generated_labels")
        images["generated"] = Population.of(
            *read_features(head, generated, generated_labels, *names)
        )
    # A noise is one stratum: it is not the classes that it moves.
    noises = {name: Population.of(_moved(head, f, to, name)) for name, to in (noisy or {}).items()}
    sides = _sides(images | noises, head)

    entries: Entries = []
    for group in images:
        for topic in (of_energy, of_classes, of_ones, of_logit):
            entries += topic(sides[group], head)
    if generated is not None:
        entries += of_difference(sides["all"], sides["generated"], head)
    for name in noises:
        entries += of_noise(sides[name], head)
    return entries


def _moved(head: Head, f: Tensor, noisy: Any, name: str) -> Tensor:
    """Displacement of each example by a noise, (n, d)."""
    if name in RESERVED:
        raise UsageError(f"a noise is named {name!r}, as is another group; rename it")
    moved, _ = read_features(head, noisy, None, f"noisy[{name!r}]", "")
    if moved.shape != f.shape:
        raise ShapeError(
            f"noisy[{name!r}] has shape {tuple(moved.shape)}, features {tuple(f.shape)}; expected "
            "the same examples"
        )
    return moved - f


def _sides(kinds: Mapping[str, Population], head: Head) -> dict[str, Side]:
    """Every kind of examples split by the head, over resamples and the same random subspaces."""
    populations, none = [*kinds.values()], head.weight.new_zeros(0, head.space.rank)
    proper = 0 < head.space.rank < head.d
    drawn = (
        over(populations, head.subspaces(populations, head.space.rank, SPACES)) if proper else []
    )
    sides = {}
    for k, (group, population) in enumerate(kinds.items()):
        seed = [head.seed, EXAMPLES, k]
        parts, centres = split(population, head.space, head.resamples, seed)
        chance = by_chance(parts["full"], drawn[k][0]) if proper else {}
        there = drawn[k][1] if proper else none
        sides[group] = Side(group, [k], population, parts, centres, chance, there)
    return sides
