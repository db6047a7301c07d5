"""Calls of torch's functions, as rules on their dimensions read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

from repsim.activations.capture.dimensions import Axes


@dataclass(frozen=True)
class Call:
    """A function with its arguments.

    Attributes:
        function: of torch, or a method of tensors.
        args: by place.
        kwargs: by name.
        axes: gives the axes of a tensor.
        is_given: False for weights, and for what is made of them alone.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    axes: Callable[[Tensor], Axes]
    is_given: Callable[[Tensor], bool]

    @property
    def name(self) -> str:
        """The name of the function, without the underscore of one that works in place."""
        name = str(getattr(self.function, "__name__", ""))
        if name == "__get__":  # of an attribute, such as ``mT``
            return str(getattr(getattr(self.function, "__self__", None), "__name__", ""))
        return name if name.startswith("__") else name.removesuffix("_")

    @cached_property
    def tensors(self) -> list[Tensor]:
        """The tensors among the arguments."""
        return tensors_of((self.args, tuple(self.kwargs.values())))

    @property
    def first(self) -> Tensor:
        """The first tensor among them."""
        return self.tensors[0]

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by its place or its name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def numbers(self, place: int, name: str) -> tuple[int, ...]:
        """Whole numbers that come as one argument, as a sequence or one after the other."""
        value = self.get(place, name)
        if isinstance(value, (tuple, list)):
            return tuple(value)
        rest = self.args[place:] if len(self.args) > place else (value,)
        return tuple(each for each in rest if isinstance(each, int) and not isinstance(each, bool))


def tensors_of(value: Any) -> list[Tensor]:
    """The tensors in tuples and lists."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [x for each in value for x in tensors_of(each)]
    return []
