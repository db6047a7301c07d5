"""Figures and tables that are of some of a paper's image sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Only:
    """A figure or a table of some image sets.

    Attributes:
        func: makes it, from what was found.
        sets: names of the image sets.
    """

    func: Callable[[Any], Any]
    sets: tuple[str, ...]

    def __call__(self, found: Any) -> Any:
        return self.func(found)


def only(*sets: str) -> Callable[[Callable[[Any], Any]], Only]:
    """Declare that a figure or a table is of some image sets alone."""
    return lambda func: Only(func, sets)


def is_of(make: Callable[[Any], Any], data: str) -> bool:
    """True if a figure or a table is made of an image set."""
    return not isinstance(make, Only) or data in make.sets
