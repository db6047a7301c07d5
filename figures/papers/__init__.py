"""Papers whose figures, tables and claims repsim reproduces, a module each."""

from __future__ import annotations

import importlib

from repsim.errors import UsageError, choices
from repsim.figures.papers.recipe import SCALES, Recipe, Workspace

#: What can be reproduced, by name, in a line each.
PAPERS = {
    "grigg2021": "SimCLR against supervised training, layer against layer.",
    "mao2022": "GAN discriminator and classifier as feature extractors.",
}


def find_recipe(paper: str) -> type[Recipe]:
    """The recipe of a paper.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    if paper not in PAPERS:
        raise UsageError(f"there is no recipe of {paper!r}; {choices(paper, PAPERS)}")
    module = importlib.import_module(f"repsim.figures.papers.{paper}")
    return module.RECIPE


__all__ = ["PAPERS", "SCALES", "Recipe", "Workspace", "find_recipe"]
