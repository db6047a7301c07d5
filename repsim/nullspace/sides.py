"""One kind of examples as a head splits their space: over resamples, and over random subspaces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from repsim.nullspace.forms import Forms, Population, on_subspaces, resampled
from repsim.nullspace.subspace import RowSpace

#: A class of fewer examples has no entries of its own; it counts in those of all.
FEWEST = 5

#: Multiplications that the random subspaces of one kind may take, seconds on one core. Draws are
#: reduced to that, but not below the fewest that have a 5th percentile.
BUDGET, FEWEST_DRAWS = 5e10, 20


@dataclass(frozen=True, eq=False)
class Side:
    """Real or generated images, or the displacements of a noise.

    Attributes:
        group: ``all``, ``generated`` or the name of the noise.
        seed: what tells its resamples from those of another side.
        population: the examples in strata.
        parts: forms of ``full`` and, unless empty, ``row`` and ``null``, over resamples.
        centres: means of all examples in the coordinates of ``full`` and ``row``, over resamples.
        chance: forms by part over random subspaces in place of the row space; empty where that is
            empty or the whole space.
        chance_centres: means of all examples there, (draws, r).
    """

    group: str
    seed: list[int]
    population: Population
    parts: dict[str, Forms]
    centres: dict[str, Tensor]
    chance: dict[str, Forms]
    chance_centres: Tensor

    def groups(self) -> Iterator[tuple[str, int | None]]:
        """The group itself, then each of several classes with examples enough, and its index."""
        yield self.group, None
        counts, prefix = self.population.counts, "" if self.group == "all" else f"{self.group} "
        for i, (label, n) in enumerate(zip(self.population.labels, counts, strict=True)):
            if len(counts) > 1 and n >= FEWEST:
                yield f"{prefix}class {label}", i


def of_class(parts: dict[str, Forms], i: int | None) -> dict[str, Forms]:
    """The forms of one stratum, by part; of all without its index."""
    return parts if i is None else {part: forms.only(i) for part, forms in parts.items()}


def split(
    population: Population, space: RowSpace, resamples: int, seed: list[int]
) -> tuple[dict[str, Forms], dict[str, Tensor]]:
    """Forms by part over resamples, and means of all examples: ``parts``, ``centres``."""
    full, centre = resampled(population, resamples, seed)
    if not space.rank:
        return {"full": full, "null": full}, {"full": centre}
    row, row_centre = resampled(population.onto(space.basis), resamples, seed)
    parts = {"full": full, "row": row.cleared(full)}
    if space.rank < space.basis.shape[0]:
        parts["null"] = full.without(row)
    return parts, {"full": centre, "row": row_centre}


def by_chance(full: Forms, row: Forms) -> dict[str, Forms]:
    """Forms by part where random subspaces take the place of the row space."""
    full = full.first()
    return {"full": full, "row": row.cleared(full), "null": full.without(row)}


def over(
    populations: list[Population], subspaces: Iterable[Float[Tensor, "c d r"]]
) -> list[tuple[Forms, Tensor]]:
    """``on_subspaces`` of each population on the same subspaces, which come some at a time."""
    condensed = [population.condensed() for population in populations]
    found = [[on_subspaces(each, bases) for each in condensed] for bases in subspaces]
    return [
        (Forms.join([forms for forms, _ in each]), torch.cat([centres for _, centres in each]))
        for each in zip(*found, strict=True)
    ]


def affordable(draws: int, cost: float) -> int:
    """``draws``, or as many as ``BUDGET`` allows of a cost in multiplications each."""
    return min(draws, max(FEWEST_DRAWS, int(BUDGET / max(cost, 1.0))))


def cost_of(populations: list[Population], r: int) -> float:
    """Multiplications that one random subspace of r dimensions takes."""
    d = populations[0].means.shape[1]
    rows = sum(
        sum(min(n, d) for n in population.counts) + 2 * len(population.counts)
        for population in populations
    )
    return float(d * r * (rows + 2 * r + 20))
