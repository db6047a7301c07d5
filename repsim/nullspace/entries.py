"""Entries of each topic of ``measure``: a value, its interval and its chance."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from repsim.nullspace import statistics as of
from repsim.nullspace.chance import affordable, over
from repsim.nullspace.head import Head
from repsim.nullspace.population import Population
from repsim.nullspace.resampling import Moments
from repsim.nullspace.scatter import ROUNDING, Forms
from repsim.nullspace.sides import Side, of_class, split
from repsim.nullspace.subspace import BLOCK, RowSpace, all_ones, random_subspaces
from repsim.results import NullSpaceEntry

Entries = list[NullSpaceEntry]

#: A second seed of random numbers, by their purpose.
EXAMPLES, SPACES, NULL_SPACES, ROW_DIRECTIONS, LOGIT_DIRECTIONS = range(5)
PROBED_DIRECTIONS, REAL_AND_FAKE = 5, 6

#: A function of ``repsim.nullspace.statistics``, of forms by part and the part.
Statistic = Callable[[of.Parts, str], Tensor]


def record(
    quantity: str, part: str, group: str, cases: Tensor, chance: Tensor | str, scale: str = "plain"
) -> Entries:
    """One entry, or none where the value is undefined.

    Args:
        quantity: see ``NullSpaceEntry``.
        part: of the space.
        group: of the examples.
        cases: the value, then the values of the resamples.
        chance: the value of each random subspace, or why there is none.
        scale: of the interval, see ``repsim.nullspace.statistics.interval``.
    """
    value, low, high = of.interval(cases, scale)
    if not math.isfinite(value):
        return []
    notes = [chance] if isinstance(chance, str) else []
    levels = [math.nan] * 3 if isinstance(chance, str) else [*of.percentiles(chance)]
    if not notes and not all(map(math.isfinite, levels)):
        levels = [math.nan] * 3
        notes.append("no chance: undefined in some random subspaces")
    if not (math.isfinite(low) and math.isfinite(high)):
        low = high = math.nan
        notes.append("no interval: most resamples are undefined, or a few far from the others")
    return [
        NullSpaceEntry(
            quantity=quantity,
            part=part,
            group=group,
            value=value,
            low=low,
            high=high,
            chance=levels[0],
            chance_low=levels[1],
            chance_high=levels[2],
            note="; ".join(notes),
        )
    ]


def entry(
    quantity: str,
    part: str,
    side: Side,
    head: Head,
    statistic: Statistic,
    scale: str = "plain",
    group: tuple[str, int | None] | None = None,
) -> Entries:
    """A statistic of one part, against random subspaces; of one class, or of all."""
    name, i = group or (side.group, None)
    cases = statistic(of_class(side.parts, i), part)
    chance: Tensor | str = "no chance: the whole space"
    if part != "full" and side.chance:
        chance = statistic(of_class(side.chance, i), part)
    elif part != "full":
        chance = f"no chance: the row space is {'the whole space' if head.space.rank else 'empty'}"
    return record(quantity, part, name, cases, chance, scale)


def of_energy(side: Side, head: Head) -> Entries:
    """Shares of the features, and of their spread, in each part, and how constant each part is."""
    entries = []
    for group in side.groups():
        for part in head.parts:
            entries += entry("energy", part, side, head, of.energy, "plain", group)
            entries += entry("energy_centred", part, side, head, of.energy_centred, "plain", group)
        for part in [*head.parts, "full"]:
            entries += entry("constancy", part, side, head, of.constancy, "log", group)
    return entries


def of_classes(side: Side, head: Head) -> Entries:
    """Scatter within classes and between them; of two or more."""
    if len(side.population.counts) < 2:
        return []
    entries = []
    for part in [*head.parts, "full"]:
        entries += entry("scatter_ratio", part, side, head, of.scatter_ratio, "log")
    if len(head.parts) == 2:
        entries += entry("scatter_log_ratio", "row - null", side, head, of.scatter_log_ratio)
    for part in head.parts:
        entries += entry("displacement_share", part, side, head, of.displacement_share)
    if "row" in head.parts:
        for group in side.groups():
            entries += entry("within_scatter", "row", side, head, of.within_scatter, "log", group)
    return entries


def of_ones(side: Side, head: Head) -> Entries:
    """Numbers on f_r1, against random directions of the row space.

    None for a head of one logit or of a row space of one dimension, in which f_r1 is all there is.
    """
    ones = all_ones(head.weight, head.space)
    length = ones.direction.norm()
    if head.space.rank < 2 or not float(length):
        return []
    population, seed = side.population, [head.seed, EXAMPLES, *side.seed]
    unit = (ones.direction / length)[:, None]
    along = split(population, RowSpace(unit, unit[0], 0.0), head.resamples, seed)[0]["row"]
    directions = head.subspaces([population], 1, ROW_DIRECTIONS, head.space.basis)
    ((random, _),) = over([population], directions)
    row = side.parts["row"]
    null = {part: each for part, each in side.parts.items() if part == "null"}
    drawn = _along(row.first(), random) | {part: each.first() for part, each in null.items()}
    inside = Side(side.group, side.seed, population, _along(row, along) | null, {}, drawn, unit)

    residual = torch.full((3,), ones.residual, dtype=torch.float64)
    entries = []
    if side.group == "all":
        why = "no chance: of the head alone"
        entries += record("ones_residual", "row", "all", residual, why)
    rest = "row without ones"
    if len(population.counts) > 1:
        for group in side.groups():
            entries += entry("ones_share", "row", inside, head, of.ones_share, "plain", group)
            entries += entry("within_scatter", rest, inside, head, of.within_scatter, "log", group)
        entries += entry("scatter_ratio", rest, inside, head, of.scatter_ratio, "log")
        if null:
            both = f"{rest} / null"
            entries += entry("scatter_quotient", both, inside, head, of.scatter_quotient, "log")
    values = (population.along(unit) / length)[:, 0]
    moments = Moments.resampled(values, population.counts, head.resamples, seed)
    for name, i in side.groups():
        mean, deviation = moments.only(i).overall
        forms = of_class(inside.chance, i)["ones"]
        by_chance = (forms.scatter / forms.n).sqrt() / length
        why = "no chance: a random direction has no sign"
        entries += record("lambda", "row", name, mean, why)
        entries += record("lambda_sd", "row", name, deviation, by_chance, "log")
    return entries


def _along(row: Forms, ones: Forms) -> dict[str, Forms]:
    """A row space along and across one of its directions."""
    return {"row": row, "ones": ones, "row without ones": row.without(ones)}


def of_logit(side: Side, head: Head) -> Entries:
    """α = exp(-logit) of a head with one logit, against random directions of the head's length."""
    if len(head.weight) != 1 or not head.space.rank:
        return []
    population, seed = side.population, [head.seed, EXAMPLES, *side.seed]
    logits = (population.along(head.weight.T) + head.bias)[:, 0]
    alpha, shift = _alpha(logits[:, None])
    moments = [
        Moments.resampled(values, population.counts, head.resamples, seed)
        for values in (alpha[:, 0], logits)
    ]
    *by_chance, shifts = _random_logits(population, head)
    entries = []
    for name, i in side.groups():
        a, z, random_a, random_z = (each.only(i) for each in (*moments, *by_chance))
        mean, random_mean = (
            each.overall[0] * (-by).exp() for each, by in ((a, shift), (random_a, shifts))
        )
        entries += record("alpha", "row", name, mean, random_mean, "log")
        entries += record("alpha_cv", "row", name, of.alpha_cv(a), of.alpha_cv(random_a), "log")
        entries += record("logit_sd", "row", name, z.overall[1], random_z.overall[1], "log")
    return entries


def _alpha(logits: Tensor) -> tuple[Tensor, Tensor]:
    """exp(-logit) of each column, times exp(shift), which keeps it from overflow; the shifts."""
    shift = logits.min(0).values
    return (shift - logits).exp(), shift


def _random_logits(population: Population, head: Head) -> tuple[Moments, Moments, Tensor]:
    """Moments of α and of the logit along random directions, and the shifts of α."""
    draws = affordable(head.draws, population.n * (head.d + 50.0))
    alphas, logits, shifts = [], [], []
    for bases in random_subspaces(head.d, 1, draws, [head.seed, LOGIT_DIRECTIONS]):
        directions = bases[:, :, 0].T.to(head.weight.device) * head.weight.norm()
        for some in directions.split(BLOCK // population.n + 1, 1):
            z = population.along(some) + head.bias
            alpha, shift = _alpha(z)
            alphas.append(Moments.of(alpha, population.counts))
            logits.append(Moments.of(z, population.counts))
            shifts.append(shift)
    return Moments.join(alphas), Moments.join(logits), torch.cat(shifts)


def of_noise(side: Side, head: Head) -> Entries:
    """Shares of each part in the displacements by a noise, and in them about their mean."""
    entries = []
    for part in head.parts:
        entries += entry("noise_share", part, side, head, of.energy)
        entries += entry("noise_share_centred", part, side, head, of.energy_centred)
    return entries + entry("noise_shift", "full", side, head, of.shift)


def of_difference(real: Side, generated: Side, head: Head) -> Entries:
    """The gap between real and generated images, and the share of each part in their differences.

    Differences are between a generated and a real image, over all pairs of them.
    """
    apart = {
        part: (real.centres[part] - generated.centres[part]).square().sum(1)
        for part in real.centres
    }
    null = apart["full"] - apart.get("row", 0.0)
    apart["null"] = torch.where(null <= ROUNDING * apart["full"], 0.0, null)
    entries = []
    for part in [*head.parts, "full"]:
        cases = of.gap(real.parts[part], generated.parts[part], apart[part])
        chance = _gap_by_chance(real, generated, head) if part == "row" else _NO_GAP[part]
        entries += record("gap", part, "all", cases, chance, "square")

    between = None
    if real.chance:
        between = (real.chance_centres - generated.chance_centres).square().sum(1)
    entries += _of_pairs("noise_share", real, generated, head, apart, between)
    still = {part: torch.zeros_like(each) for part, each in apart.items()}
    at_rest = None if between is None else torch.zeros_like(between)
    entries += _of_pairs("noise_share_centred", real, generated, head, still, at_rest)
    shift = apart["full"] / of.pair_energy(
        real.parts["full"], generated.parts["full"], apart["full"]
    )
    return entries + record("noise_shift", "full", "real-fake", shift, _NO_GAP["full"])


def _of_pairs(
    quantity: str,
    real: Side,
    generated: Side,
    head: Head,
    apart: dict[str, Tensor],
    between: Tensor | None,
) -> Entries:
    """The share of each part in the differences of pairs.

    Args:
        quantity: of the entries.
        real: images.
        generated: the same.
        head: whose parts they are.
        apart: squared distance of the two means in each part.
        between: the same in random subspaces; None where there are none.
    """
    pairs = {
        part: of.pair_energy(real.parts[part], generated.parts[part], apart[part])
        for part in [*head.parts, "full"]
    }
    random: Tensor | str = entry("", head.parts[0], real, head, of.energy)[0].note
    if between is not None:
        row = of.pair_energy(real.chance["row"], generated.chance["row"], between)
        random = row / pairs["full"][:1]
    entries = []
    for part in head.parts:
        chance = 1 - random if part == "null" and isinstance(random, Tensor) else random
        entries += record(quantity, part, "real-fake", pairs[part] / pairs["full"], chance)
    return entries


_NO_GAP = {
    "full": "no chance: the whole space",
    "null": "no chance: random subspaces lie in it, for the row space",
}


def _gap_by_chance(real: Side, generated: Side, head: Head) -> Tensor | str:
    """The gap in random subspaces of the null space, of the rank of the row space."""
    if 2 * head.space.rank > head.d:
        return "no chance: the null space has fewer dimensions than the row space"
    populations = [real.population, generated.population]
    inside = head.space.complement()
    subspaces = head.subspaces(populations, head.space.rank, NULL_SPACES, inside)
    (a, mean_a), (b, mean_b) = over(populations, subspaces)
    return of.gap(a, b, (mean_a - mean_b).square().sum(1))
