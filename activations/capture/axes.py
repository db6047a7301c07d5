"""The axes of a layer: which holds the examples, which the channels, which are positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from repsim.activations.capture import dimensions
from repsim.activations.capture.dimensions import Role, role_of, size_of
from repsim.errors import ShapeError

#: Names of positions, by their number.
_POSITIONS = {1: ("position",), 2: ("height", "width"), 3: ("depth", "height", "width")}

#: Modules whose class says where their output has the channels, where nothing else does.
_LAST = ("Linear", "LayerNorm", "RMSNorm", "Embedding", "EmbeddingBag", "MultiheadAttention")
_FIRST = ("Conv", "BatchNorm", "InstanceNorm", "GroupNorm", "LazyConv", "LazyBatchNorm")


@dataclass(frozen=True)
class LayerAxes:
    """The axes of a layer's output.

    Attributes:
        ndim: dimensions, with the examples.
        channels: the places of channels when the examples have come first; None where nothing says.
        batch: the axis of the examples.
        other: another axis that a function of the network takes for the examples, if there is one.
    """

    ndim: int
    channels: tuple[int, ...] | None
    batch: int = 0
    other: int | None = None

    @classmethod
    def usual(cls, ndim: int) -> LayerAxes:
        """The axes of maps (n, c, ...) with two or more positions, or of tokens (n, tokens, d)."""
        return cls(ndim, (2,) if ndim == 3 else (1,))

    @classmethod
    def named(cls, names: str) -> LayerAxes:
        """The axes of a stored layer, from their names."""
        each = names.split(",")
        features = ("channel", "feature")
        channels = tuple(k for k, name in enumerate(each) if name.startswith(features))
        return cls(len(each), channels or None)

    def examples_first(self, x: Tensor) -> Tensor:
        """Move the examples of the layer's values to the first axis."""
        return x.movedim(self.batch, 0) if self.batch else x

    def usually_ordered(self, x: Tensor, layer: str) -> Tensor:
        """(n, c, ...) maps, or (n, tokens, d), of activations whose examples come first.

        Several axes of channels, such as heads and the features of each head, become one.

        Raises:
            ShapeError: nothing says where the channels are.
        """
        if x.ndim <= 2:
            return x
        if self.channels is None:
            raise self._unordered(tuple(x.shape), layer)
        positions = [k for k in range(1, x.ndim) if k not in self.channels]
        if len(positions) == 1:
            return x.permute(0, *positions, *self.channels).flatten(2)
        return x.permute(0, *self.channels, *positions).flatten(1, len(self.channels))

    def _unordered(self, shape: tuple[int, ...], layer: str) -> ShapeError:
        if self.other is not None:
            return ShapeError(
                f"layer {layer!r} gives {shape}, and the network takes axis {self.other} for the "
                f"one that holds the examples, not axis {self.batch}; say --batch-axis "
                f"{self.other} (batch_axis={self.other}), or choose other layers"
            )
        return ShapeError(
            f"layer {layer!r} gives {shape}, and nothing says which axis holds its channels; say "
            f"channels_last or channels_first, as in --pooling "
            f"'{layer}=channels_last+avg,*=avg', keep it whole by none where neither is right, or "
            "choose other layers"
        )

    def names(self, *, given: bool = False) -> str:
        """Names of the axes, the examples first or, if ``given``, as the layer gives them."""
        found = ["example", *self._names()]
        if given:
            found.insert(self.batch, found.pop(0))
        return ",".join(found)

    def _names(self) -> list[str]:
        if self.ndim == 2:
            return ["feature"]
        if self.channels is None:
            return [f"axis{k}" for k in range(1, self.ndim)]
        positions = iter(self._positions())
        names = iter(self._channels())
        return [next(names if k in self.channels else positions) for k in range(1, self.ndim)]

    def _positions(self) -> Sequence[str]:
        assert self.channels is not None
        count = self.ndim - 1 - len(self.channels)
        if self.channels == (2,) and count == 1:
            return ("token",)
        return _POSITIONS.get(count, [f"position{k}" for k in range(count)])

    def _channels(self) -> Sequence[str]:
        assert self.channels is not None
        if self.channels == (2,) and self.ndim == 3:
            return ("feature",)
        if len(self.channels) == 1:
            return ("channel",)
        return [f"channel{k}" for k in range(len(self.channels))]


def layer_axes(followed: dimensions.Axes, module: str, batch: int, inputs: int) -> LayerAxes:
    """The axes of a layer.

    Args:
        followed: its dimensions, as they were followed through the network.
        module: the class of its module, which decides where nothing else says.
        batch: the axis of the examples.
        inputs: their axis in the inputs, which is no other one: copies of the examples may lie
            along it.
    """
    others = followed[:batch] + followed[batch + 1 :]
    if len(others) < 2:
        return LayerAxes(len(followed), (1,), batch)
    channels = channels_of(others)
    if channels is None and all(role_of(axis) is None for axis in others):
        channels = by_class(module, len(followed))
    others_with_examples = (k for k in dimensions.examples_in(followed) if k not in (batch, inputs))
    other = next(others_with_examples, None) if channels is None else None
    return LayerAxes(len(followed), channels, batch, other)


def channels_of(axes: dimensions.Axes) -> tuple[int, ...] | None:
    """The places of the channels among the axes after the examples, counted from 1.

    None where nothing says: no channels, nothing but channels, or a layer that mixed positions as
    if they were channels.
    """
    places = {k: role_of(axis) for k, axis in enumerate(axes, start=1)}
    roles = set(places.values())
    if roles & {Role.UNCLEAR, Role.MIXED, Role.EXAMPLE}:
        return None
    if Role.BOTH in roles and (Role.PART in roles or Role.CHANNEL not in roles):
        return None
    wide = {role for k, role in places.items() if size_of(axes[k - 1]) > 1}
    if Role.PART in roles and None in wide:
        return None
    wanted = dimensions.FEATURES if Role.POSITION in roles else {Role.CHANNEL}
    found = tuple(k for k, role in places.items() if role in wanted)
    added = [k for k in places if _is_added(axes[k - 1])]
    if found and added and (Role.POSITION in roles or added[-1] > found[-1]):
        return None  # such as centroids beside positions, or the functions of a basis for channels
    if not found and roles == {Role.POSITION, None}:  # one number for each position, say
        found = tuple(k for k in places if places[k] is None and size_of(axes[k - 1]) == 1)
    return found if found and len(found) < len(axes) else None


def _is_added(axis: dimensions.Axis) -> bool:
    """True for an axis that no input has, of which nothing says what it holds."""
    return bool(axis) and axis[0].added and axis[0].role is None


def by_class(module: str, ndim: int) -> tuple[int, ...] | None:
    """The place of the channels by the name of a module's class."""
    if module in _LAST:
        return (ndim - 1,)
    return (1,) if module.startswith(_FIRST) and module[-2:] in ("1d", "2d", "3d", "rm") else None
