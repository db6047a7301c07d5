"""Analyses: each module here that names an ``ANALYSIS`` is one, named as on the command line.

Such a module defines a ``Config``, a function that computes from plain arguments, and ``ANALYSIS``,
an ``Analysis`` subclass that joins the two; nothing else has to know of it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pkgutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.errors import UsageError, choices

if TYPE_CHECKING:
    from repsim.activations.analyses.base import Analysis


@cache
def analysis_summaries() -> dict[str, str]:
    """The first line of every analysis's docstring by its name, without importing any."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        spec = importlib.util.find_spec(f"{__name__}.{module.name}")
        source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text("utf-8")
        tree = ast.parse(source)
        if any(_names_analysis(statement) for statement in tree.body):
            found[module.name] = (ast.get_docstring(tree) or "").split("\n")[0]
    return found


def _names_analysis(statement: ast.stmt) -> bool:
    targets = statement.targets if isinstance(statement, ast.Assign) else ()
    return any(isinstance(each, ast.Name) and each.id == "ANALYSIS" for each in targets)


def analysis_names() -> list[str]:
    """Names of all analyses, without importing them."""
    return sorted(analysis_summaries())


def find_analysis(name: str) -> type[Analysis[Any]]:
    """The class of the analysis ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in analysis_names():
        raise UsageError(f"unknown analysis {name!r}; {choices(name, analysis_names())}")
    found: type[Analysis[Any]] = importlib.import_module(f"{__name__}.{name}").ANALYSIS
    return found
