"""Dimensions of the tensors within a network: the content of each, and how views deal with them.

An axis of a tensor has one dimension, or none where it has length 1 and nobody said more. A view
may merge dimensions, and part them again: (n, h * w, c) becomes (n, h, w, c).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum


class Role(Enum):
    """The content of a dimension."""

    EXAMPLE = "example"
    CHANNEL = "channel"
    PART = "part of channels"  #: such as heads; some parts turn out to be positions
    POSITION = "position"
    BOTH = "features and positions"  #: merged, such as the pixels of a patch
    MIXED = "mixed positions"  #: units of a layer that runs over positions
    UNCLEAR = "unclear"


class Dimension:
    """One dimension, shared by the tensors that have it.

    Its role may be found out after it is made: a convolution says what the view before it meant.

    Args:
        size: its length.
        role: None where nothing says yet.
        whole: the dimension that this is a part of.
        merged: the dimensions that this is made of, of which the last varies fastest.
        added: it is of the network's own making, and no input has it: the functions of a basis.
        of_positions: the features of a layer that has them for each of several positions.
        beside: a part of channels beside positions, which is none of these, whatever follows.
    """

    __slots__ = ("_parts", "_role", "_whole", "added", "beside", "merged", "of_positions", "size")

    def __init__(
        self,
        size: int,
        role: Role | None = None,
        *,
        whole: Dimension | None = None,
        merged: Sequence[Dimension] = (),
        added: bool = False,
        of_positions: bool = False,
        beside: bool = False,
    ) -> None:
        self.size = size
        self.added = added
        self.of_positions = of_positions
        self.beside = beside
        self.merged = tuple(merged)
        self._role = role
        self._whole = whole
        self._parts: dict[int, tuple[Dimension, Dimension]] = {}

    @property
    def role(self) -> Role | None:
        if self._role is not None:
            return self._role
        if self.merged:
            return _role_of_merged({each.role for each in self.merged})
        found = None if self._whole is None else self._whole.role
        return Role.PART if found is Role.CHANNEL else found

    def suggest(self, role: Role) -> None:
        """Take a role if there is none yet; a part of channels may be any, and a patch features.

        A part of channels beside positions that is taken for one of these is unclear.
        """
        if self.role in OPEN:
            lost = self.beside and self.role is Role.PART and role is Role.POSITION
            self._role = Role.UNCLEAR if lost else role

    def split(self, first: int, *, beside: bool) -> tuple[Dimension, Dimension]:
        """Two dimensions; the slower one is ``first`` long.

        Args:
            first: its length.
            beside: there are positions beside them.
        """
        if first not in self._parts:
            sizes = first, self.size // first
            self._parts[first] = (
                Dimension(sizes[0], whole=self),
                Dimension(sizes[1], whole=self),
            )
        for each in self._parts[first]:
            each.beside = each.beside or beside
        return self._parts[first]

    def atoms(self) -> Iterator[Dimension]:
        """The dimensions that this is made of in the end."""
        for each in self.merged:
            yield from each.atoms()
        if not self.merged and self.size != 1:
            yield self


#: Roles that are not settled.
OPEN = (None, Role.PART, Role.BOTH)

#: Roles of features.
FEATURES = frozenset({Role.CHANNEL, Role.PART})


def _role_of_merged(roles: set[Role | None]) -> Role | None:
    """The role of several dimensions as one."""
    if roles <= FEATURES:
        return Role.CHANNEL
    if len(roles) == 1:
        return next(iter(roles))
    if roles & {Role.EXAMPLE, Role.UNCLEAR, Role.MIXED}:
        return Role.UNCLEAR
    return Role.BOTH if roles & (FEATURES | {Role.BOTH}) else None


Axis = tuple[Dimension, ...]
Axes = tuple[Axis, ...]


def fresh(shape: Iterable[int]) -> Axes:
    """Axes of unknown roles."""
    return tuple((Dimension(size),) for size in shape)


def size_of(axis: Axis) -> int:
    """The length of an axis."""
    return axis[0].size if axis else 1


def role_of(axis: Axis) -> Role | None:
    """The role of an axis."""
    return axis[0].role if axis else None


def examples_in(axes: Axes) -> list[int]:
    """The places of axes that hold examples, as functions of the network take them."""
    return [k for k, axis in enumerate(axes) if role_of(axis) is Role.EXAMPLE]


def suggest(axis: Axis, role: Role) -> None:
    """Give an axis a role, if it has none yet."""
    if axis:
        axis[0].suggest(role)


def resized(axis: Axis, size: int) -> Axis:
    """The axis, or one of another length with the same role."""
    if size_of(axis) == size:
        return axis
    kept = bool(axis) and axis[0].of_positions
    return (Dimension(size, role_of(axis), of_positions=kept),)


def regroup(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes of a view with another shape; unknown ones where it cuts through a dimension."""
    if tuple(map(size_of, axes)) == tuple(shape):
        return axes
    waiting = [atom for axis in axes for each in axis for atom in each.atoms()][::-1]
    beside = any(each.size > 1 and each.role is Role.POSITION for each in waiting)
    found = [_taken(waiting, size, beside=beside) for size in shape]
    return fresh(shape) if None in found else tuple(axis for axis in found if axis is not None)


def _taken(waiting: list[Dimension], size: int, *, beside: bool) -> Axis | None:
    """The next dimensions that make up an axis, ``beside`` positions; None where they do not."""
    left = size
    taken: list[Dimension] = []
    while left > 1:
        if not waiting:
            return None
        each = waiting.pop()
        if each.size > left and each.size % left == 0:
            each, rest = each.split(left, beside=beside)
            waiting.append(rest)
        if left % each.size:
            return None
        left //= each.size
        taken.append(each)
    return tuple(taken) if len(taken) < 2 else (Dimension(size, merged=taken),)


def join(a: Axis, b: Axis) -> Axis:
    """The axis of an operation on each pair of elements, where one of both may be stretched."""
    if size_of(a) == 1 or size_of(b) == 1:
        return b if size_of(b) > 1 or not a else a
    for role, other in ((role_of(a), b), (role_of(b), a)):
        if role is not None and role not in (*OPEN, Role.UNCLEAR):
            suggest(other, role)
    ours, theirs = role_of(a), role_of(b)
    if ours is theirs or None in (ours, theirs):
        return a if ours is not None else b
    if {ours, theirs} == {Role.POSITION, Role.MIXED}:
        return a if ours is Role.POSITION else b
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
