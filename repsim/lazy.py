"""Front doors: packages whose public names are imported from their homes when first used.

An installation may have no more than torch, NumPy and SciPy (``pip install --no-deps``): of a name
that needs another library, its use says so.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from types import ModuleType
from typing import Any

from repsim.errors import MissingLibraryError

#: Libraries whose packages have other names.
_DISTRIBUTIONS = {
    "PIL": "pillow",
    "lightning_fabric": "lightning-fabric",
    "sklearn": "scikit-learn",
}


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
            return imported(f"{package}.{name}", f"{package}.{name}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(imported(homes[name], f"{package}.{name}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return find


def imported(module: str, wanted: str) -> ModuleType:
    """A module, for the name that is wanted of it.

    Raises:
        MissingLibraryError: it needs a library that is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if absent in ("", "repsim"):
            raise
        library = _DISTRIBUTIONS.get(absent, absent)
        raise MissingLibraryError(
            f"{wanted} needs {library}, which is not installed; try: pip install {library}, or "
            "repsim-toolkit with its dependencies"
        ) from error
