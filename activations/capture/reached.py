"""The modules and tensors that functions reach: by closures, arguments of partials, globals."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

#: Values that reach others, and have no state of their own.
FUNCTIONS = (types.FunctionType, types.MethodType, functools.partial)

_CONTAINERS = (Mapping, list, tuple, set)

#: Larger containers hold data rather than modules.
_MOST = 1000


def functions_of(module: nn.Module) -> Iterator[Any]:
    """The functions, modules and tensors of a module's classes, without those of torch."""
    for kind in type(module).__mro__:
        if kind.__module__.partition(".")[0] not in ("torch", "builtins"):
            yield from map(_plain, vars(kind).values())


def _plain(value: Any) -> Any:
    """The function of a property, a static or a class method; other values as they are."""
    if isinstance(value, property):
        return value.fget
    return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value


def reached(values: Iterable[Any]) -> Iterator[nn.Module | Tensor]:
    """The modules and tensors that functions or containers reach, themselves among them.

    Functions within are followed, those in globals as far as they are of the same file. Containers
    are searched, and the objects of other classes not.
    """
    seen: set[int] = set()
    waiting = list(values)
    while waiting:
        each = waiting.pop()
        if isinstance(each, (nn.Module, Tensor)):
            yield each
        elif id(each) not in seen and (inside := _inside(each)):
            seen.add(id(each))
            waiting += inside


def _inside(value: Any) -> list[Any]:
    """The values that a function or a container holds."""
    if isinstance(value, types.MethodType):
        owner = value.__self__
        return [value.__func__, *([owner] if isinstance(owner, nn.Module) else [])]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.FunctionType):
        return [*_enclosed(value), *_globals(value), *(value.__defaults__ or ())]
    if not isinstance(value, _CONTAINERS) or len(value) > _MOST:
        return []
    return list(value.values() if isinstance(value, Mapping) else value)


def _enclosed(function: types.FunctionType) -> Iterator[Any]:
    """The values of a function's closure."""
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty one
            yield cell.cell_contents


def _globals(function: types.FunctionType) -> list[Any]:
    """The globals that a function names, with the functions of its file."""
    names = _names_in(function.__code__)
    found = (function.__globals__[name] for name in names if name in function.__globals__)
    return [each for each in found if _is_near(each, function)]


@functools.lru_cache(maxsize=10_000)  # every harvest looks at the same functions, several times
def _names_in(code: types.CodeType) -> frozenset[str]:
    """The names that a code uses, with the codes that it defines."""
    return frozenset(name for each in _codes(code) for name in each.co_names)


def _is_near(value: Any, function: types.FunctionType) -> bool:
    """True for a value of data, and for a function of the same file as another."""
    plain = inspect.unwrap(value) if isinstance(value, types.FunctionType) else value
    if isinstance(plain, types.FunctionType):
        return plain.__globals__ is function.__globals__
    return isinstance(value, (nn.Module, Tensor, *_CONTAINERS, *FUNCTIONS))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of a function and of those that it defines."""
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)
