"""Packages whose modules are each one thing of a kind: nothing else has to know of a module."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsim.errors import UsageError, choices


@dataclass(frozen=True)
class ModuleIndex:
    """The modules of a package, by name.

    Attributes:
        package: its full name.
        attribute: name of the object that each module defines.
        kind: word for such an object in messages.
    """

    package: str
    attribute: str
    kind: str

    def names(self) -> list[str]:
        """Names of all modules, without importing them."""
        return sorted(
            each.name for each in pkgutil.iter_modules(sys.modules[self.package].__path__)
        )

    def summary(self, name: str) -> str:
        """First line of a module's docstring, without importing it."""
        spec = importlib.util.find_spec(f"{self.package}.{name}")
        source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text()
        return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]

    def find(self, name: str) -> Any:
        """The object that the module ``name`` defines.

        Raises:
            UsageError: there is no such module.
        """
        if name not in self.names():
            raise UsageError(f"unknown {self.kind} {name!r}; {choices(name, self.names())}")
        return getattr(importlib.import_module(f"{self.package}.{name}"), self.attribute)
