"""The packages of a checkout that is not installed: they lie beside this one, not within it.

Python looks into the current folder first. There ``import repsim`` finds the folder of a checkout,
although an installed repsim may be complete.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_PARTS = ("activations", "cli", "figures")


class Beside(MetaPathFinder):
    """A finder of the packages beside this one, where a checkout holds them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package, or None where this is no checkout or another name."""
        package, _, name = fullname.partition(".")
        if package != "repsim" or name not in _PARTS:
            return None
        folder = self._root / name
        if not (self._root / "pyproject.toml").is_file() or not (folder / "__init__.py").is_file():
            return None
        places = [str(folder)]
        return spec_from_file_location(
            fullname, folder / "__init__.py", submodule_search_locations=places
        )


def install() -> None:
    """Let Python ask for them once it has found nothing else."""
    if not any(isinstance(finder, Beside) for finder in sys.meta_path):
        sys.meta_path.append(Beside(Path(__file__).parents[1]))
