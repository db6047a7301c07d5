"""Packages whose modules are each one thing of a kind: nothing else has to know of a module."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar, cast

from repsim.errors import UsageError, choices

T = TypeVar("T")


@dataclass(frozen=True)
class ModuleIndex(Generic[T]):
    """The modules of a package that define an object of one kind, by name.

    Attributes:
        package: its full name.
        attribute: name of the object that each module defines; modules without it are passed over.
        kind: word for such an object in messages.
        separator: character that stands in names for the underscore of modules.
    """

    package: str
    attribute: str
    kind: str
    separator: str = "_"

    def names(self) -> list[str]:
        """Names of all, without importing them."""
        defined = re.compile(rf"^{self.attribute} = ", re.MULTILINE)
        return sorted(
            module.replace("_", self.separator)
            for module in _modules(self.package)
            if defined.search(_source(f"{self.package}.{module}"))
        )

    def summary(self, name: str) -> str:
        """First line of the docstring of one, without importing it."""
        text = ast.get_docstring(ast.parse(_source(self._module(name))))
        return (text or "").split("\n")[0]

    def find(self, name: str) -> T:
        """The object that the module of this name defines.

        Raises:
            UsageError: there is none; the nearest name is suggested.
        """
        if name not in self.names():
            raise UsageError(f"unknown {self.kind} {name!r}; {choices(name, self.names())}")
        return cast(T, getattr(importlib.import_module(self._module(name)), self.attribute))

    def _module(self, name: str) -> str:
        return f"{self.package}.{name.replace(self.separator, '_')}"


def import_all(package: str) -> None:
    """Import every module of a package, so that what it defines registers itself."""
    for module in _modules(package):
        importlib.import_module(f"{package}.{module}")


def _modules(package: str) -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules(sys.modules[package].__path__))


@cache
def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    return "" if spec is None or spec.origin is None else Path(spec.origin).read_text("utf-8")
