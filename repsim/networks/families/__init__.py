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

_FAMILIES: ModuleIndex[type[Family]] = ModuleIndex(__name__, "FAMILY", "network")

family_names, family_summary, find_family = _FAMILIES.names, _FAMILIES.summary, _FAMILIES.find


def families_for(roles: Iterable[str]) -> list[str]:
    """Names of the families that can be everything in ``roles``."""
    needed = set(roles)
    return [name for name in family_names() if needed <= set(find_family(name).roles())]
