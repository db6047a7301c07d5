"""Front doors: packages whose public names are imported from their homes when first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any


def attach(
    package: str, homes: Mapping[str, str], parts: Collection[str] = ()
) -> Callable[[str], Any]:
    """The ``__getattr__`` of a package; a name that was found is kept in the package.

    Args:
        package: its ``__name__``.
        homes: public names, each with the module that defines it.
        parts: modules of the package, each an attribute of it when it is first used.
    """

    def find(name: str) -> Any:
        if name in parts:
            return importlib.import_module(f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, found)
        return found

    return find
