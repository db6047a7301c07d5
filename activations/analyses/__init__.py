"""Analyses: each module here that names an ``ANALYSIS`` is one, named as on the command line.

Such a module defines a ``Config``, a function that computes from plain arguments, and ``ANALYSIS``,
an ``Analysis`` subclass that joins the two; nothing else has to know of it.
"""

from __future__ import annotations

from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from repsim import lazy
from repsim.discovery import ModuleIndex

if TYPE_CHECKING:
    from repsim.activations.analyses.base import Analysis

_ANALYSES: ModuleIndex[type[Analysis[Any]]] = ModuleIndex(__name__, "ANALYSIS", "analysis")

analysis_names, analysis_summary = _ANALYSES.names, _ANALYSES.summary
find_analysis = _ANALYSES.find

__getattr__ = lazy.attach(__name__, {}, [each.name for each in iter_modules(__path__)])
