"""Families of networks: each module here is one, named as on the command line.

A module defines ``FAMILY``, a ``Family`` subclass that names its ``NetworkConfig`` subclass;
nothing else has to know of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from repsim.discovery import ModuleIndex

if TYPE_CHECKING:
    from repsim.networks.family import Family

_FAMILIES = ModuleIndex(__name__, "FAMILY", "network")


def family_names() -> list[str]:
    """Names of all families, without importing them."""
    return _FAMILIES.names()


def family_summary(name: str) -> str:
    """First line of a family's docstring, without importing it."""
    return _FAMILIES.summary(name)


def find_family(name: str) -> type[Family]:
    """The class of the family ``name``.

    Raises:
        UsageError: there is none.
    """
    found: type[Family] = _FAMILIES.find(name)
    return found


def families_for(roles: Iterable[str]) -> list[str]:
    """Names of the families that can be everything in ``roles``."""
    needed = set(roles)
    return [name for name in family_names() if needed <= set(find_family(name).roles())]
