"""Linear probes on the parts of features: of the classes, and of real and generated images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim.confidence import t_quantile
from repsim.dense import as_tensor
from repsim.nullspace.entries import PROBED_DIRECTIONS, REAL_AND_FAKE, Entries
from repsim.nullspace.hits import difference_entry, exact_entry, share_entry
from repsim.nullspace.scatter import ROUNDING
from repsim.nullspace.sides import FEWEST
from repsim.nullspace.subspace import RowSpace, random_subspaces
from repsim.probes import ProbeResult, probe
from repsim.results import NullSpaceEntry

#: Random subspaces that probes are trained on, in place of the row space.
DIRECTIONS = 10


@dataclass(frozen=True, eq=False)
class Labelled:
    """Features (n, d) with a label each."""

    features: Tensor
    labels: Tensor

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Labelled:
        """The same examples with other features."""
        return replace(self, features=change(self.features))


@dataclass(frozen=True, eq=False)
class Known:
    """Examples to train a probe on, and held-out ones; without those it holds out a fifth."""

    train: Labelled
    held: Labelled | None

    def probe(self, seed: int, change: Callable[[Tensor], Tensor]) -> ProbeResult:
        """A probe on the changed features."""
        train = self.train.mapped(change)
        held = None if self.held is None else self.held.mapped(change)
        return probe(
            train.features,
            train.labels,
            test_features=None if held is None else held.features,
            test_labels=None if held is None else held.labels,
            allow_constant=True,  # a part may be zero in all examples
            seed=seed,
        )


def of_classes(space: RowSpace, known: Known, noisy: Mapping[str, Any], seed: int) -> Entries:
    """Accuracies of linear probes, trained on clean features, on parts of clean and noisy ones.

    Without held-out features there is nothing to put noise on that the probes have not seen.
    """
    noises = {} if known.held is None else noisy
    probes = _of_parts(space, known, seed)
    hits = {(part, "clean"): found.correct for part, found in probes.items()}
    for part, found in probes.items():
        for name, features in noises.items():
            assert known.held is not None
            seen = as_tensor(features).to(known.held.features)
            predicted = found.predict(part_of(space, seen, part))
            hits[part, name] = predicted == known.held.labels.to(predicted.device)
    chance = 1 / probes["full"].classes
    entries = [share_entry("probe", *key, each, chance) for key, each in hits.items()]
    for other in ("null", "row"):
        for group in ["clean", *noises] if other in probes else []:
            pair = hits["full", group], hits[other, group]
            part = f"full - {other}"
            entries.append(difference_entry("probe_difference", part, group, *pair, 0.0))
    if 0 < space.rank < len(space.basis):
        entries.append(_contrast(space, known, seed))
    return entries


def of_real_and_fake(
    space: RowSpace, real: Tensor, generated: Tensor, seed: int, group: str = "all"
) -> Entries:
    """Accuracies of probes that tell real from generated images, by their parts.

    As many of either kind, drawn at random: half of each train the probe, the others judge it. None
    of images too few.

    Args:
        space: the row space of the head.
        real: (n, d) features of real images.
        generated: (m, d) features of generated ones.
        seed: of the draw and of the probes.
        group: of the entries.
    """
    n = min(len(real), len(generated))
    if n < 2 * FEWEST:
        return []
    rng = np.random.default_rng([seed, REAL_AND_FAKE])
    kinds = [kind[torch.from_numpy(rng.permutation(len(kind))[:n])] for kind in (real, generated)]
    train, held = (
        Labelled(torch.cat(both), torch.arange(2).repeat_interleave(len(both[0])))
        for both in ([kind[rows] for kind in kinds] for rows in (slice(n // 2), slice(n // 2, n)))
    )
    probes = _of_parts(space, Known(train, held), seed)
    entries = [
        share_entry("real_fake_probe", part, group, found.correct, 0.5)
        for part, found in probes.items()
    ]
    for other in ("null", "row"):
        if other in probes:
            pair = probes["full"].correct, probes[other].correct
            part = f"full - {other}"
            entries.append(difference_entry("real_fake_difference", part, group, *pair, 0.0))
    return entries


def part_of(space: RowSpace, features: Tensor, part: str) -> Tensor:
    """A part of features; zero where the part is what rounding leaves of the split.

    Standardised, rounding would be as large as any feature.
    """
    rows = space.part(features, part)
    rounding = ROUNDING * float(features.square().sum())
    return rows if float(rows.square().sum()) > rounding else torch.zeros_like(rows)


def _of_parts(space: RowSpace, known: Known, seed: int) -> dict[str, ProbeResult]:
    """A probe on each part that is not empty."""
    sizes = {"full": len(space.basis), "row": space.rank, "null": len(space.basis) - space.rank}
    return {
        part: known.probe(seed, partial(part_of, space, part=part))
        for part, size in sizes.items()
        if size
    }


def _contrast(space: RowSpace, known: Known, seed: int) -> NullSpaceEntry:
    """The lead of a probe on the row space over probes on random subspaces of its rank.

    All probes are trained on coordinates, and judged on the same images. The value is the lead over
    the mean of them; the interval is of the lead over one more, so that a row space drawn at random
    has 0 in it 19 times of 20.
    """
    row = _correct(space.basis, known, seed)
    random = torch.stack([_correct(basis, known, seed) for basis in _random(space, seed)])
    apart = row - random.mean(0)
    of_images = float(apart.var()) / len(apart)
    of_subspaces = float(random.mean(1).var()) * (1 + 1 / len(random))
    reach = float(t_quantile(0.95, len(random) - 1)) * math.sqrt(of_images + of_subspaces)
    value = float(apart.mean())
    ends = value - reach, value + reach
    return exact_entry("probe_difference", "row - random", "clean", value, ends, 0.0)


def _random(space: RowSpace, seed: int) -> Iterator[Tensor]:
    """Bases of random subspaces of the rank of the head."""
    d, r = space.basis.shape
    for bases in random_subspaces(d, r, DIRECTIONS, [seed, PROBED_DIRECTIONS]):
        yield from bases.to(space.basis.device)


def _correct(basis: Tensor, known: Known, seed: int) -> Tensor:
    """The held-out examples that a probe has right in a subspace: 1 or 0, (n,) float64."""
    return known.probe(seed, lambda features: features @ basis).correct.double()
