"""Dimensions of the tensors within a network: what each holds, and how reshaping deals with them.

An axis of a tensor is a tuple of dimensions, of which the last varies fastest: (n, h * w, c) has
the axes (n,), (h, w) and (c,). Views only deal the dimensions out anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import Enum


class Role(Enum):
    """The content of a dimension."""

    EXAMPLE = "example"
    CHANNEL = "channel"
    PART = "part of channels"  #: such as heads; some parts turn out to be positions
    POSITION = "position"
    MIXED = "mixed positions"  #: units of a layer that runs over positions
    UNCLEAR = "unclear"


class Dimension:
    """One dimension, shared by the tensors that have it.

    Its role may be found out after it is made: a convolution says what the view before it meant.

    Args:
        size: its length.
        role: None where nothing says yet.
        whole: the dimension that this is a part of.
    """

    __slots__ = ("_parts", "_role", "_whole", "size")

    def __init__(self, size: int, role: Role | None = None, whole: Dimension | None = None) -> None:
        self.size = size
        self._role = role
        self._whole = whole
        self._parts: dict[int, tuple[Dimension, Dimension]] = {}

    @property
    def role(self) -> Role | None:
        if self._role is not None or self._whole is None:
            return self._role
        found = self._whole.role
        return Role.PART if found is Role.CHANNEL else found

    def suggest(self, role: Role) -> None:
        """Take a role if there is none yet; a part of channels may be any."""
        if self.role in (None, Role.PART):
            self._role = role

    def split(self, first: int) -> tuple[Dimension, Dimension]:
        """Two dimensions, the slower of which is ``first`` long."""
        if first not in self._parts:
            rest = self.size // first
            self._parts[first] = Dimension(first, None, self), Dimension(rest, None, self)
        return self._parts[first]


Axis = tuple[Dimension, ...]
Axes = tuple[Axis, ...]


def fresh(shape: Iterable[int]) -> Axes:
    """Axes of which nothing is known."""
    return tuple((Dimension(size),) for size in shape)


def size_of(axis: Axis) -> int:
    """The length of an axis."""
    return math.prod(each.size for each in axis)


def role_of(axis: Axis) -> Role | None:
    """The role of an axis: features where channels are among several dimensions."""
    roles = {each.role for each in axis if len(axis) == 1 or each.size > 1}
    if len(roles) == 1:
        (role,) = roles
        merged = role is Role.PART and len(axis) > 1
        return Role.CHANNEL if merged else role
    if Role.EXAMPLE in roles or Role.UNCLEAR in roles:
        return Role.UNCLEAR
    if roles & {Role.CHANNEL, Role.PART}:
        return Role.CHANNEL
    return Role.MIXED if Role.MIXED in roles else None


def suggest(axis: Axis, role: Role) -> None:
    """Give an axis of one dimension a role, if it has none yet."""
    if len(axis) == 1:
        axis[0].suggest(role)


def resized(axis: Axis, size: int) -> Axis:
    """The axis, or one of another length with the same role."""
    return axis if size_of(axis) == size else (Dimension(size, role_of(axis)),)


def regroup(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of a view with another shape; unknown ones where it cuts through a dimension."""
    waiting = [each for axis in axes for each in axis if each.size != 1][::-1]
    found: list[Axis] = []
    for size in shape:
        axis: list[Dimension] = []
        while size > 1:
            if not waiting:
                return fresh(shape)
            each = waiting.pop()
            if each.size > size:
                if each.size % size:
                    return fresh(shape)
                each, rest = each.split(size)
                waiting.append(rest)
            if size % each.size:
                return fresh(shape)
            size //= each.size
            axis.append(each)
        found.append(tuple(axis))
    return tuple(found)


def join(a: Axis, b: Axis) -> Axis:
    """The axis of an operation on each pair of elements, where one of both may be stretched."""
    if size_of(a) == 1 or size_of(b) == 1:
        return a if size_of(b) == 1 and (size_of(a) > 1 or a) else b
    ours, theirs = role_of(a), role_of(b)
    if ours is theirs or theirs is None:
        _adopt(b, ours)
        return a
    if ours is None:
        _adopt(a, theirs)
        return b
    return _settled(a, b, {ours, theirs})


def _adopt(axis: Axis, role: Role | None) -> None:
    if role is not None:
        suggest(axis, role)


def _settled(a: Axis, b: Axis, roles: set[Role]) -> Axis:
    """The axis of two whose roles differ."""
    for pair in ((Role.POSITION, Role.MIXED), (Role.CHANNEL, Role.PART)):
        if roles == set(pair):
            return a if role_of(a) is pair[0] else b
    if Role.PART in roles and Role.POSITION in roles:
        return a if role_of(a) is Role.POSITION else b
    return (Dimension(size_of(a), Role.UNCLEAR),)


def join_all(every: Sequence[Axes]) -> Axes:
    """The axes of an operation on each element of several tensors, aligned at the end."""
    ndim = max(map(len, every), default=0)
    joined: list[Axis] = []
    for place in range(-ndim, 0):
        axis: Axis = ()
        for axes in every:
            if len(axes) >= -place:
                axis = join(axis, axes[place]) if axis else axes[place]
        joined.append(axis)
    return tuple(joined)
