"""Papers whose figures, tables and claims repsim reproduces: each module here is one.

A module defines ``PAPER``, and is named as on the command line; nothing else has to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim.discovery import ModuleIndex

if TYPE_CHECKING:
    from repsim.figures.papers.engine.paper import Paper

_PAPERS: ModuleIndex[Paper] = ModuleIndex(__name__, "PAPER", "paper")

paper_names, paper_summary, find_paper = _PAPERS.names, _PAPERS.summary, _PAPERS.find
