"""Methods: each module here is one, named as on the command line.

A module defines ``METHOD``, a ``Method`` subclass that names its ``TrainConfig`` subclass; nothing
else has to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim.discovery import ModuleIndex

if TYPE_CHECKING:
    from repsim.training.method import Method

_METHODS: ModuleIndex[type[Method]] = ModuleIndex(__name__, "METHOD", "method")

method_names, method_summary, find_method = _METHODS.names, _METHODS.summary, _METHODS.find
