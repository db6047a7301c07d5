"""Figures of results, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from repsim.discovery import import_all
from repsim.results import Result
from repsim.results.figure import FigureData

#: From results of one kind to the figures that they have together.
TogetherBuilder = Callable[[Sequence[Any]], dict[str, FigureData]]

_TOGETHER: dict[type[Result], TogetherBuilder] = {}


@singledispatch
def figures_of(result: Result, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    """The figures that belong to a result, as data, by the suffix of their file names.

    The suffix of a figure that is a result by itself, a ``FigureData``, is empty.
    ``figures_of.register`` makes a function the one for results of a kind.

    Args:
        result: of any kind.
        estimator: of the similarities in maps.

    Raises:
        TypeError: a kind without figures.
    """
    _import_builders()
    builder = figures_of.dispatch(type(result))
    if builder is figures_of.dispatch(object):
        raise TypeError(f"no figure for a {type(result).__name__}")
    return builder(result, estimator=estimator)


@figures_of.register
def _itself(data: FigureData, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    return {"": data}


def figures_together(kind: type[Result]) -> Callable[[TogetherBuilder], TogetherBuilder]:
    """Register a function as the one that makes the figures of several results of a kind."""

    def register(builder: TogetherBuilder) -> TogetherBuilder:
        _TOGETHER[kind] = builder
        return builder

    return register


def figures_of_all(results: Sequence[Result]) -> dict[str, FigureData]:
    """The figures that results of one kind have together, by the suffix of their file names; none
    where they have no such figures."""
    _import_builders()
    builder = _TOGETHER.get(type(results[0])) if results else None
    return {} if builder is None else builder(results)


def _import_builders() -> None:
    """Import the modules that make figures of results, which register themselves here."""
    import_all("repsim.figures")
