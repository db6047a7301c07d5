"""The networks that a similarity map compares, by what its provenance tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def networks_of(provenance: Any) -> tuple[tuple[str, ...], ...]:
    """The networks of one map, as ``SimilarityMap.networks`` has them: digests of their weights.

    Empty where one of them is not recorded.
    """
    about = provenance if isinstance(provenance, Mapping) else {}
    sides = ("a",) if about.get("comparison") == "classes" else ("a", "b")
    records = [about.get(side) for side in sides]
    found = [each.get("weights_sha256") for each in records if isinstance(each, Mapping)]
    digests = tuple(each for each in found if isinstance(each, str))
    return (digests,) if len(digests) == len(sides) else ()
