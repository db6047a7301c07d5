"""One kind of examples as a head splits their space: over resamples, and over random subspaces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from repsim.nullspace.population import Population
from repsim.nullspace.resampling import resampled
from repsim.nullspace.scatter import Forms
from repsim.nullspace.subspace import RowSpace

#: A class of fewer examples has no entries of its own; it counts among all examples.
FEWEST = 5


@dataclass(frozen=True, eq=False)
class Side:
    """Real or generated images, or the displacements of a noise.

    Attributes:
        group: ``all``, ``generated`` or the name of the noise.
        seed: a number that gives every side resamples of its own.
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
