"""Targets: values that a set gives for each example, and the one that is chosen as its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from repsim.errors import ShapeError, UsageError, choices

#: The name of a target that came without one.
LABEL = "label"

L = TypeVar("L", bound="Labelled")

#: Labels of a batch: classes (n,), targets by name, or none.
Labels = Tensor | dict[str, Tensor] | None


@dataclass(frozen=True, eq=False)
class Target:
    """A named target: a class for each example, or a row of zeros and ones.

    Attributes:
        name: such as ``label`` or ``left``.
        values: int64, shape (n,), indices into ``classes``; or uint8, shape (n, k), zeros and ones.
        classes: the name of each class, or of each of the k columns.

    Raises:
        ShapeError: values of another type or shape.
    """

    name: str
    values: Tensor = field(repr=False)
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        dtype = {1: torch.int64, 2: torch.uint8}.get(self.values.ndim)
        if self.values.dtype != dtype:
            raise ShapeError(
                f"target {self.name!r}: expected int64 of shape (n,) or uint8 of shape (n, k), got "
                f"{self.values.dtype} of shape {tuple(self.values.shape)}"
            )
        if self.values.ndim == 2 and len(self.classes) != self.values.shape[1]:
            raise ShapeError(
                f"target {self.name!r} has {self.values.shape[1]} columns but "
                f"{len(self.classes)} names of them"
            )
        if self.values.ndim == 2 and bool((self.values > 1).any()):
            raise ShapeError(f"target {self.name!r}: expected zeros and ones in its columns")

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Target:
        """The target of some of the examples."""
        return replace(self, values=self.values[rows])

    @property
    def is_class(self) -> bool:
        """True if each example has one class, rather than a row of zeros and ones."""
        return self.values.ndim == 1


def label_target(
    values: Tensor | None, classes: Sequence[str], name: str = LABEL
) -> tuple[Target, ...]:
    """The targets of a set that has one class an example, or none where ``values`` is None."""
    return () if values is None else (Target(name, values, tuple(classes)),)


class Labelled:
    """Examples with targets, one of which is chosen; a mixin of frozen dataclasses.

    Attributes:
        name: of the set.
        targets: all of them, in the order of the set.
        chosen: name of the target that ``labels`` and ``classes`` are of; empty for the first.
    """

    name: str
    targets: tuple[Target, ...]
    chosen: str

    @property
    def target(self) -> Target | None:
        """The chosen target; None where the set has none."""
        if not self.chosen:
            return self.targets[0] if self.targets else None
        return next(each for each in self.targets if each.name == self.chosen)

    @property
    def has_labels(self) -> bool:
        """True if the chosen target is one class an example."""
        return self.target is not None and self.target.is_class

    @property
    def labels(self) -> Tensor | None:
        """The chosen classes, int64, shape (n,), indices into ``classes``; None without targets.

        Raises:
            UsageError: the chosen target is rows of zeros and ones.
        """
        if self.target is None:
            return None
        if not self.target.is_class:
            raise not_a_class(self.name, self.target.name, self._class_names)
        return self.target.values

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, or columns, of the chosen target."""
        return () if self.target is None else self.target.classes

    @property
    def _class_names(self) -> list[str]:
        return [each.name for each in self.targets if each.is_class]

    def labels_at(self, rows: Any) -> Labels:
        """The labels of some of the examples, as a loader gives them.

        One target of classes alone comes as a tensor; other targets as a dictionary by name.
        """
        if not self.targets:
            return None
        if len(self.targets) == 1 and self.has_labels and self.targets[0].name == LABEL:
            return self.targets[0].values[rows]
        return {each.name: each.values[rows] for each in self.targets}

    def choose(self: L, target: str) -> L:
        """The same examples with ``target`` as their labels; an empty name is the first.

        Raises:
            UsageError: there is no such target.
        """
        check_target(self.name, target, [each.name for each in self.targets])
        return replace(self, chosen=target)  # type: ignore[type-var]

    def check_targets(self, count: int, what: str) -> None:
        """Raise ``ShapeError`` unless each target has ``count`` values, and a name of its own."""
        for each in self.targets:
            if len(each) != count:
                raise ShapeError(f"{self.name} has {count} {what} but {len(each)} {each.name}s")
        names = [each.name for each in self.targets]
        if len(set(names)) < len(names):
            raise ShapeError(f"{self.name} has two targets of one name: {', '.join(names)}")


def check_target(of: str, target: str, known: Sequence[str]) -> None:
    """Raise ``UsageError`` unless ``target`` is empty or one of ``known``."""
    if target and target not in known:
        there = choices(target, known) if known else "it has none"
        raise UsageError(f"{of} has no target {target!r}; {there}")


def not_a_class(of: str, target: str, classes: Sequence[str]) -> UsageError:
    """The refusal of zeros and ones where one class an example is needed."""
    instead = f"choose {' or '.join(classes)}" if classes else "it has no other"
    return UsageError(
        f"target {target!r} of {of} is a row of zeros and ones an example; expected one class an "
        f"example: {instead} with --target"
    )
