"""Papers whose figures, tables and claims repsim reproduces: each module here is one.

A module defines ``PAPER``, and is named as on the command line; nothing else has to know of it.
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
    from repsim.figures.papers.engine.paper import Paper

#: The package here that is no paper.
_ENGINE = "engine"


def paper_names() -> list[str]:
    """Names of all papers, without importing them."""
    return sorted(
        module.name for module in pkgutil.iter_modules(__path__) if module.name != _ENGINE
    )


def paper_summary(name: str) -> str:
    """First line of a paper's docstring, without importing it."""
    spec = importlib.util.find_spec(f"{__name__}.{name}")
    source = "" if spec is None or spec.origin is None else Path(spec.origin).read_text()
    return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def find_paper(name: str) -> Paper:
    """The paper ``name``.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if name not in paper_names():
        raise UsageError(f"there is no paper {name!r}; {choices(name, paper_names())}")
    return importlib.import_module(f"{__name__}.{name}").PAPER


__all__ = ["find_paper", "paper_names", "paper_summary"]
