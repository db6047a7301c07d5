"""Methods: each module here is one, named as on the command line.

A module defines ``METHOD``, a ``Method`` subclass that names its ``TrainConfig`` subclass; nothing
else has to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim.discovery import ModuleIndex

if TYPE_CHECKING:
    from repsim.training.method import Method

_METHODS = ModuleIndex(__name__, "METHOD", "method")


def method_names() -> list[str]:
    """Names of all methods, without importing them."""
    return _METHODS.names()


def method_summary(name: str) -> str:
    """First line of a method's docstring, without importing it."""
    return _METHODS.summary(name)


def find_method(name: str) -> type[Method]:
    """The class of the method ``name``.

    Raises:
        UsageError: there is none.
    """
    found: type[Method] = _METHODS.find(name)
    return found
