"""Shapes in the annotations of packages, checked at every call while the tests run.

Annotations without shapes are left to mypy. The answer of a check depends on the types, shapes and
dtypes of the arguments and of the result, so that each combination is checked once.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType
from typing import Any, Literal, TypeVar, get_type_hints

import beartype
import jaxtyping
import numpy as np
from beartype.door import is_bearable
from torch import Tensor

C = TypeVar("C", bound=Callable[..., Any])

_SHAPES = {"Bool", "Float", "Int", "Integer", "Real"}
# Modules import these for mypy alone: an installation does without jaxtyping.
_NAMES = {name: getattr(jaxtyping, name) for name in _SHAPES}
_frozen = getattr(beartype, "FrozenDict", None) or beartype.BeartypeHintOverrides
# An int passes for a float, as for mypy. Names of estimators and solvers are literals for mypy, but
# any text may arrive at run time, where repsim answers with its own error.
_CONF = beartype.BeartypeConf(
    is_pep484_tower=True,
    hint_overrides=_frozen(
        {
            Literal["unbiased", "biased"]: str,
            Literal["gram", "features"]: str,
            Literal["lbfgs", "sgd", "mlp", "ridge", "knn"]: str,
        }
    ),
)


class WrongShapeError(TypeError):
    """An argument or a result does not fit its annotation."""


def checked(of: C) -> C:
    """A function with its annotations checked; or a dataclass, at construction."""
    if not isinstance(of, type):
        return _checked_calls(of)
    of.__init__ = _checked_calls(of.__init__)  # type: ignore[misc]
    return of


def _checked_calls(function: Any) -> Any:
    signature = inspect.signature(function)
    known: set[Any] = set()

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = _kind(args), _kind(kwargs)
        if given not in known:
            _check(function, signature.bind(*args, **kwargs).arguments)
            known.add(given)
        result = function(*args, **kwargs)
        if (given, _kind(result)) not in known:
            arguments = signature.bind(*args, **kwargs).arguments
            _check(function, {**arguments, "return": result})
            known.add((given, _kind(result)))
        return result

    return call


def _kind(value: Any) -> Any:
    """The part of a value that decides if it fits."""
    if getattr(value, "is_nested", False):
        return type(value), "nested"  # has no shape to ask for
    if isinstance(value, Tensor | np.ndarray):
        return type(value), tuple(value.shape), value.dtype
    if isinstance(value, tuple | list):
        return type(value), *map(_kind, value)
    if isinstance(value, dict):
        return dict, *value, *map(_kind, value.values())
    return value if isinstance(value, str) else type(value)


def _check(function: Any, values: Mapping[str, Any]) -> None:
    """Refuse values that do not fit the annotations of a function, names of axes included."""
    hints = get_type_hints(function, localns=_NAMES)
    with jaxtyping.jaxtyped("context"):
        for name, value in values.items():
            if name in hints and not is_bearable(value, hints[name], conf=_CONF):
                raise WrongShapeError(
                    f"{function.__qualname__}: {name} is {_kind(value)}; expected {hints[name]}"
                )


class Shapes(MetaPathFinder):
    """A finder of the modules in these packages that checks their functions and dataclasses."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = tuple(f"{package}." for package in packages)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module as Python finds it, with another loader."""
        if not f"{name}.".startswith(self._packages):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec

    def install(self) -> None:
        """Come before the finders of Python."""
        sys.meta_path.insert(0, self)


class _Loader(SourceFileLoader):
    """A loader that decorates; never from or to the bytecode, which is without decorators."""

    def path_stats(self, path: Any) -> Any:
        raise OSError

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        tree = ast.parse(data)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and _has_shapes(_annotations(node)):
                node.decorator_list.append(_decorator(node))  # below those that cache or register
            elif isinstance(node, ast.ClassDef) and _is_dataclass(node) and _has_shapes(node.body):
                node.decorator_list.insert(0, _decorator(node))
        code: CodeType = compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


def _decorator(node: ast.FunctionDef | ast.ClassDef) -> ast.expr:
    """An expression for ``checked``, on the line of a definition."""
    made = ast.parse("__import__('checked_shapes').checked", mode="eval").body
    for each in ast.walk(made):
        ast.copy_location(each, node)
    return made


def _annotations(node: ast.FunctionDef) -> list[ast.expr | None]:
    every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
    return [*(each.annotation for each in every), node.returns]


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in node.decorator_list)


def _has_shapes(nodes: Sequence[ast.AST | None]) -> bool:
    """True for annotations, or fields among the statements of a class, with shapes."""
    hints = [each.annotation if isinstance(each, ast.AnnAssign) else each for each in nodes]
    return any(
        isinstance(part, ast.Subscript) and getattr(part.value, "id", None) in _SHAPES
        for hint in hints
        if isinstance(hint, ast.expr)
        for part in ast.walk(hint)
    )
