"""Measures by name, with what leaves each unchanged. A measure registers where it is defined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from repsim.ambient import settled

#: Maps of the features: rotation (or reflection), isotropic scale, shift.
EUCLIDEAN = frozenset({"rotation", "scale", "shift"})
#: The same, and every invertible linear map.
AFFINE = EUCLIDEAN | {"invertible"}

F = TypeVar("F", bound=Callable[[Any, Any], Any])


@dataclass(frozen=True)
class Measure:
    """A measure of two layers and its properties.

    Attributes:
        name: what to call it.
        function: takes x (n, p) and y (n, q), returns a float.
        invariances_x: maps of the features of x that leave it unchanged, whatever x and y are:
            some of ``"rotation"``, ``"scale"``, ``"shift"``, ``"invertible"``.
        invariances_y: the same for y.
        symmetric: whether x and y may change places.
        distance: whether it shrinks with likeness, to 0, in place of growing to 1.
        source: the paper that defines it.
    """

    name: str
    function: Callable[[Any, Any], Any]
    invariances_x: frozenset[str]
    invariances_y: frozenset[str]
    symmetric: bool
    distance: bool
    source: str


MEASURES: dict[str, Measure] = {}
"""Every measure by name, with its default settings: a dict of name to ``Measure``."""


def register(
    name: str,
    invariances_x: frozenset[str],
    invariances_y: frozenset[str] | None = None,
    *,
    source: str,
    symmetric: bool = True,
    distance: bool = False,
    settles_itself: bool = False,
) -> Callable[[F], F]:
    """A decorator that makes a ``Measure`` of a function and adds it to ``MEASURES``.

    The arguments are the attributes of ``Measure``; without ``invariances_y`` both layers have the
    same invariances. The function is ``settled``, unless it is so itself where it needs to be: its
    values do not depend on what the caller has set in torch.
    """

    def add(function: F) -> F:
        of_y = invariances_x if invariances_y is None else invariances_y
        same = function if settles_itself else settled()(function)
        MEASURES[name] = Measure(name, same, invariances_x, of_y, symmetric, distance, source)
        return same

    return add
