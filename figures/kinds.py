"""Figures of results, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from repsim.results import Result
from repsim.results.figure import FigureData

#: From a result and the estimator of similarities to its figures, by the suffix of their files.
Builder = Callable[[Result, str], dict[str, FigureData]]

_B = TypeVar("_B", bound=Callable[..., dict[str, FigureData]])

#: From results of one kind to the figures that they have together.
TogetherBuilder = Callable[[Sequence[Any]], dict[str, FigureData]]

_BUILDERS: dict[type[Result], Builder] = {}
_TOGETHER: dict[type[Result], TogetherBuilder] = {}


def figures_of_kind(kind: type[Result]) -> Callable[[_B], _B]:
    """Register a function as the one that makes the figures of a kind of result."""

    def register(builder: _B) -> _B:
        _BUILDERS[kind] = builder
        return builder

    return register


def figures_together(kind: type[Result]) -> Callable[[TogetherBuilder], TogetherBuilder]:
    """Register a function as the one that makes the figures of several results of a kind."""

    def register(builder: TogetherBuilder) -> TogetherBuilder:
        _TOGETHER[kind] = builder
        return builder

    return register


def figures_of_all(results: Sequence[Result]) -> dict[str, FigureData]:
    """The figures that results of one kind have together, by the suffix of their file names; none
    where they have no such figures."""
    builder = _TOGETHER.get(type(results[0])) if results else None
    return {} if builder is None else builder(results)


def figures_of(result: Result, *, estimator: str = "unbiased") -> dict[str, FigureData]:
    """The figures that belong to a result, as data, by the suffix of their file names.

    The suffix of a figure that is a result by itself, a ``FigureData``, is empty.

    Args:
        result: of any kind.
        estimator: of the similarities in maps.

    Raises:
        TypeError: a kind without figures.
    """
    for kind in type(result).__mro__:
        if kind in _BUILDERS:
            return _BUILDERS[kind](result, estimator)
    raise TypeError(f"no figure for a {type(result).__name__}")


@figures_of_kind(FigureData)
def _itself(data: FigureData, estimator: str) -> dict[str, FigureData]:
    return {"": data}
