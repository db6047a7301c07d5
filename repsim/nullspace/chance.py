"""Chance: random subspaces in place of the row space, as many as are affordable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.nullspace.population import Population
from repsim.nullspace.scatter import Forms, on_subspaces

if TYPE_CHECKING:
    from jaxtyping import Float

#: Multiplications that the random subspaces of one kind may take, seconds on one core. Draws are
#: reduced to that, but not below the fewest that have a 5th percentile.
BUDGET, FEWEST_DRAWS = 5e10, 20


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
