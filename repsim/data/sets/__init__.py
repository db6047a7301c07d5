"""Named sets: each module here is one, named as on the command line.

A module defines ``SET``, a ``DataSet`` subclass that is a frozen dataclass; nothing else has to
know of it. ``two_digits.py`` would be the set ``two-digits``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import pkgutil
from pathlib import Path

from repsim.data.dataset import DataSet
from repsim.errors import UsageError, choices


def set_names() -> list[str]:
    """Names of all sets, without importing them."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def set_summary(name: str) -> str:
    """First line of the docstring of a set, without importing it."""
    spec = importlib.util.find_spec(_module(name))
    source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text("utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def find_kind(name: str) -> type[DataSet]:
    """The class of a set.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in set_names():
        raise UsageError(f"unknown image set {name!r}; {choices(name, set_names())}")
    return importlib.import_module(_module(name)).SET


def find_set(reference: str | os.PathLike[str]) -> DataSet | None:
    """The set that ``NAME`` or ``NAME:key=value,key=value`` means; None where no set has the name.

    Raises:
        UsageError: parameters that the set does not have, or values that do not fit.
    """
    name, _, given = str(reference).partition(":")
    if not isinstance(reference, str) or name not in set_names():
        return None
    return find_kind(name).parse(given)


def _module(name: str) -> str:
    return f"{__name__}.{name.replace('-', '_')}"
