"""Methods: each module here is one, named as on the command line.

A module defines ``METHOD``, a ``Method`` subclass that names its ``TrainConfig`` subclass; nothing
else has to know of it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from repsim.errors import UsageError, choices

if TYPE_CHECKING:
    from repsim.training.method import Method


def method_names() -> list[str]:
    """Names of all methods, without importing them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def method_summary(name: str) -> str:
    """First line of a method's docstring, without importing it."""
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text()
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def find_method(name: str) -> type[Method]:
    """The class of the method ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in method_names():
        raise UsageError(f"unknown method {name!r}; {choices(name, method_names())}")
    return importlib.import_module(f"{__name__}.{name}").METHOD
