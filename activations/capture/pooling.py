"""The reduction of a layer's activations before they are kept."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, max_pool2d, pad

from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.rules import matches, pair
from repsim.activations.capture.tokens import check_some, narrowed, token_at
from repsim.errors import ShapeError, UsageError, choices

#: Steps and their effects, for help texts; K is a number, NAME the name of an entry of the batches.
STEPS = {
    "none": "keeps every value",
    "avg": "averages over positions, or over the tokens that are not padding",
    "grid:K": "averages a map over each cell of a K x K grid",
    "max:K": "keeps the largest value of each square of a map, of squares that leave K features",
    "cls": "keeps the first token that is not padding",
    "first": "keeps the first token that is not padding",
    "last": "keeps the last token that is not padding",
    "token:K": "keeps token K of those that are not padding, from 0, or from the end if negative",
    "mask:NAME": "goes on with the tokens that are 1 there, as in mask:answer+avg",
    "positions": "makes every position, or token, an example of its own",
    "project:K": "projects onto K random directions, seeded",
    "channels_last": "says that the channels come last: (n, h, w, c) or (n, length, c)",
    "channels_first": "says that they come first: (n, c, h, w) or (n, c, length)",
}

_NUMBER = r"[1-9]\d*"

#: Form of the part behind the colon of a step, and the step as it is expected.
_AFTER = {
    "grid": (_NUMBER, "grid:K with a whole number K"),
    "max": (_NUMBER, "max:K with a whole number K"),
    "project": (_NUMBER, "project:K with a whole number K"),
    "token": (r"\d+|-[1-9]\d*", "token:K with a whole number K, negative from the end"),
    "mask": (r"[^\W\d]\w*", "mask:NAME with the name of an entry of the batches"),
}

#: Steps that can follow mask:NAME.
_OF_TOKENS = ("avg", "cls", "first", "last", "token", "positions", "mask")

_Step = Callable[[Tensor, int, Tensor | None, str], Tensor]


@dataclass(frozen=True)
class Pooling:
    """Steps that are applied to a layer's activations one after the other, such as ``grid:4``.

    Without axes, a map is (n, c, h, w), also with three dimensions of positions after the channels,
    and a sequence of tokens is (n, tokens, d). ``channels_last`` and ``channels_first`` say
    otherwise, and come before all axes that are given.

    Attributes:
        text: the steps joined by ``+``, as in ``grid:4+project:512``.
    """

    text: str = "none"

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Name of each step, and K or NAME (empty where it has none)."""
        split = (each.strip().partition(":") for each in self.text.split("+"))
        return [(name, after) for name, _, after in split]

    @classmethod
    def parse(cls, text: str) -> Pooling:
        """``text`` if it names steps; ``UsageError`` if not."""
        names = {step.partition(":")[0] for step in STEPS}
        for step in (each.strip() for each in text.split("+")):
            name, colon, after = step.partition(":")
            if name not in names:
                raise UsageError(f"unknown pooling {step!r}; {choices(step, STEPS)}")
            form, expected = _AFTER.get(name, ("", name))
            if bool(form) != bool(colon) or not re.fullmatch(form, after):
                raise UsageError(f"pooling {step!r} is not understood; expected {expected}")
        pooling = cls("+".join(each.strip() for each in text.split("+")))
        for (name, _), following in pairwise([*pooling.steps, ("", "")]):
            if name == "positions" and following[0] not in ("project", ""):
                raise UsageError(f"pooling {text!r}: nothing but project:K can follow positions")
            if name == "mask" and following[0] not in _OF_TOKENS:
                raise UsageError(
                    f"pooling {text!r}: mask:NAME says which tokens, and needs a step that takes "
                    f"them: {', '.join(_OF_TOKENS)}"
                )
        return pooling

    @property
    def masks(self) -> list[str]:
        """Names of the entries of a batch that say which tokens are meant."""
        return [after for name, after in self.steps if name == "mask"]

    @property
    def splits(self) -> bool:
        """True if positions become examples."""
        return any(name == "positions" for name, _ in self.steps)

    @property
    def needs_axes(self) -> bool:
        """True if it matters which axis holds the channels, and no step says so."""
        names = [name for name, _ in self.steps]
        first = next((name for name in names if name not in ("none", "project")), _ORDERS[0])
        return first not in _ORDERS

    def told(self, axes: LayerAxes) -> LayerAxes:
        """The axes of a layer as they are reduced: by a step that says them, else as they are."""
        names = [name for name, _ in self.steps]
        said = {"channels_last": axes.ndim - 1, "channels_first": 1}
        places = [(said[name],) for name in names if name in said]
        return replace(axes, channels=places[0]) if places and axes.ndim > 2 else axes

    @property
    def asks_for_mask(self) -> bool:
        """True if it makes a difference which tokens are padding."""
        return any(name in (*_OF_TOKENS, "grid", "max") for name, _ in self.steps)

    def __call__(
        self,
        activations: Tensor,
        *,
        axes: LayerAxes | None = None,
        mask: Tensor | None = None,
        named: Mapping[str, Tensor] | None = None,
        layer: str = "",
        seed: str = "",
    ) -> Tensor:
        """The reduced activations: (n, ...), or (n * positions, channels) with ``positions``.

        Sums of half-precision values are taken and returned in float32.

        Args:
            activations: (n, ...) of one layer.
            axes: where the layer has its channels, if known.
            mask: (n, tokens), 0 where a token is padding.
            named: the masks (n, tokens) of ``mask:NAME``, by name.
            layer: its address, for errors and as part of the seed of ``project``.
            seed: the other part.

        Raises:
            ShapeError: activations that a step has no meaning for, or whose channels are anywhere.
        """
        values, kept, ordered = activations, mask, axes is None
        for name, after in self.steps:
            if axes is not None and not ordered and name not in _ANY_ORDER:
                values, ordered = axes.usually_ordered(values, layer), True
            if name == "mask":
                kept = _narrowed(kept, after, named, values, layer)
            elif name == "project":
                flat = values.flatten(1) if values.ndim > 1 else values.unsqueeze(1)
                values = project(flat, int(after), f"{seed}/{layer}")
            elif name != "none":
                at = _fitting(kept, values, name, layer)
                values = _STEPS[name](values, int(after or 0), at, layer)
            ordered = ordered or name in _ORDERS
        return values

    def names_of_axes(self, axes: LayerAxes, shape: tuple[int, ...]) -> str:
        """Names of the axes of a layer after pooling, when it has shape (n, ...)."""
        if len(shape) == axes.ndim and all(name in ("none", "project") for name, _ in self.steps):
            return axes.names()
        return LayerAxes.usual(len(shape)).names()


class PoolingRules:
    """The pooling of each layer: the first whose pattern matches its address.

    Args:
        chosen: one pooling for all, as ``"avg"``; or pairs of pattern and pooling, as
            ``"bg1.*=grid:4,*=avg"`` or ``{"bg1.*": "grid:4", "*": "avg"}``. A layer that no pattern
            matches keeps every value.

    Raises:
        UsageError: not understood.
    """

    def __init__(self, chosen: str | Mapping[str, str] = "none") -> None:
        given = map(pair, chosen.split(",")) if isinstance(chosen, str) else chosen.items()
        self._rules = [(pattern, Pooling.parse(steps)) for pattern, steps in given]

    def __str__(self) -> str:
        """As it is written, and as provenance records it."""
        if [pattern for pattern, _ in self._rules] == ["*"]:
            return self._rules[0][1].text
        return ",".join(f"{pattern}={pooling.text}" for pattern, pooling in self._rules)

    def of(self, layer: str) -> Pooling:
        """The pooling of the layer at an address."""
        return next((r for p, r in self._rules if matches(p, layer)), Pooling())

    def axes(self, found: Mapping[str, LayerAxes]) -> dict[str, LayerAxes]:
        """The axes of layers as they are reduced; those kept whole have no channels."""
        return {
            name: self.of(name).told(each)
            if self.of(name).asks_for_mask
            else replace(each, channels=None)
            for name, each in found.items()
        }

    @property
    def masks(self) -> list[str]:
        """Names of the entries of a batch that say which tokens are meant."""
        return list(dict.fromkeys(name for _, pooling in self._rules for name in pooling.masks))

    def check(self, layers: Collection[str]) -> None:
        """Raise ``UsageError`` if one of the patterns is used for no layer."""
        for k, (pattern, _) in enumerate(self._rules):
            before = [each for each, _ in self._rules[:k]]
            mine = [layer for layer in layers if matches(pattern, layer)]
            if all(any(matches(each, layer) for each in before) for layer in mine):
                why = "the rules before it take all of" if mine else "it matches none of"
                raise UsageError(
                    f"pooling rule {pattern!r} is never used: {why} {', '.join(layers)}"
                )


def project(x: Tensor, size: int, seed: str) -> Tensor:
    """Features (n, p) on ``size`` random directions, (n, size); x itself if p is no larger.

    A random permutation deals the features into ``size`` bins of equal length; within a bin they
    are added with random signs (feature hashing, Weinberger et al. 2009, with bins of one size).
    Inner products of rows keep their expectation. Their variance is that of a Gaussian projection,
    (|x|² |y|² + <x, y>²) / size, or less, so HSIC of two layers is kept on average, while HSIC of a
    layer with itself grows by the factor 1 + (1 + r) / size, r = tr(K)² / tr(K²) being the
    effective dimension of its centred Gram matrix K. Linear CKA therefore shrinks towards 0, about
    by the root of the product of both factors.
    """
    n, p = x.shape
    if p <= size:
        return x
    order, signs = _directions(p, size, seed)
    signed = _wide(x.index_select(1, order.to(x.device))) * signs.to(x.device)
    length = -(-p // size)
    return pad(signed, (0, length * size - p)).view(n, length, size).sum(1)


_CACHE: dict[tuple[int, int, str], tuple[Tensor, Tensor]] = {}


def _directions(p: int, size: int, seed: str) -> tuple[Tensor, Tensor]:
    """A permutation of p features and a sign for each; on the CPU, hence the same everywhere."""
    key = (p, size, seed)
    if key not in _CACHE:
        digest = hashlib.sha256(f"{seed}/{p}/{size}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        signs = torch.randint(0, 2, (p,), generator=generator, dtype=torch.int8) * 2 - 1
        _CACHE[key] = torch.randperm(p, generator=generator), signs
    return _CACHE[key]


def _wide(x: Tensor) -> Tensor:
    """Values whose sums are rounded to float32 or finer: those of halves overflow and lose digits.

    A store may keep float32 of a network in half precision.
    """
    return x if x.dtype == torch.float64 else x.float()


def _avg(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    if x.ndim <= 2:
        return x
    wide = _wide(x)
    tokens = wide if x.ndim == 3 else wide.flatten(2)
    axis = 1 if x.ndim == 3 else 2
    if mask is None:
        return tokens.mean(axis)
    marks = mask.flatten(1)
    check_some(marks, layer)
    kept = marks.unsqueeze(3 - axis).to(wide.dtype)
    return (tokens * kept).sum(axis) / kept.sum(axis)


def _grid(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    if x.ndim != 4:
        raise _unfit("grid", "a map (n, c, h, w)", x, layer)
    return adaptive_avg_pool2d(_wide(x), size) if min(x.shape[2:]) > size else x


def _max(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    """The maxima over the smallest squares that leave a map at most ``size`` features.

    One for each channel at least. As Kolesnikov et al. (2019) pool before a probe: what is left
    over beside whole squares is left out. Features without positions stay as they are.
    """
    if x.ndim == 2:
        return x
    if x.ndim != 4:
        raise _unfit("max", "a map (n, c, h, w)", x, layer)
    height, across = x.shape[2:]

    def square(side: int) -> tuple[int, int]:
        return min(side, height), min(side, across)

    def left(side: int) -> int:
        above, beside = square(side)
        return x.shape[1] * (height // above) * (across // beside)

    longest = max(height, across)
    side = next((side for side in range(1, longest) if left(side) <= size), longest)
    return x if side == 1 else max_pool2d(x, square(side))


def _token(step: str, number: int | None = None) -> _Step:
    """The step that keeps one token, of this number or of the one that is given."""

    def take(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
        if x.ndim <= 2:
            return x
        if x.ndim != 3:
            raise _unfit(step, "tokens (n, tokens, d)", x, layer)
        return token_at(x, size if number is None else number, mask, layer)

    return take


def _positions(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    if x.ndim < 3:
        raise _unfit("positions", "a map (n, c, h, w) or tokens (n, tokens, d)", x, layer)
    if x.ndim == 3:
        return x.flatten(0, 1) if mask is None else x[mask != 0]
    return x.flatten(2).transpose(1, 2).flatten(0, 1)


def _channels_last(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    return x.movedim(-1, 1) if x.ndim >= 4 else x


def _channels_first(x: Tensor, size: int, mask: Tensor | None, layer: str) -> Tensor:
    return x.transpose(1, 2) if x.ndim == 3 else x


#: Steps that bring activations to the usual order of axes.
_ORDERS = ("channels_last", "channels_first")

#: Steps for which it does not matter which axis holds the channels.
_ANY_ORDER = ("none", "project", *_ORDERS)

_STEPS: dict[str, _Step] = {
    "avg": _avg,
    "grid": _grid,
    "max": _max,
    "cls": _token("cls", 0),
    "first": _token("first", 0),
    "last": _token("last", -1),
    "token": _token("token"),
    "positions": _positions,
    "channels_last": _channels_last,
    "channels_first": _channels_first,
}


def _narrowed(
    kept: Tensor | None, name: str, named: Mapping[str, Tensor] | None, x: Tensor, layer: str
) -> Tensor | None:
    """The tokens that are left by a mask of the batch; of shapes alone, all."""
    if x.ndim > 3:
        raise _unfit(f"mask:{name}", "tokens (n, tokens, d)", x, layer)
    if x.is_meta or x.ndim < 3:
        return kept
    if named is None or name not in named:
        raise UsageError(
            f"pooling mask:{name} needs the batches that a layer was made of; reduce the layer as "
            "it is harvested"
        )
    return narrowed(_fitting(kept, x, "mask", layer), name, named[name], x, layer)


def _fitting(mask: Tensor | None, x: Tensor, step: str, layer: str) -> Tensor | None:
    """The mask of these tokens; none once they are pooled."""
    if mask is None or x.ndim < 3 or step.startswith("channels_"):
        return None
    positions = x.shape[1:2] if x.ndim == 3 else x.shape[2:]
    if mask.shape[1:] == positions and (x.ndim == 3 or step == "avg"):
        return mask
    if x.ndim > 3 and step != "avg":
        raise ShapeError(
            f"layer {layer!r} gives maps, and {step} would take their padding with them; choose "
            f"avg, which leaves it out, or --masks '{layer}=none' to take all"
        )
    if mask.ndim == 2 and positions.count(mask.shape[1]) == 1:  # of frames
        of_frames = [1] * len(positions)
        of_frames[positions.index(mask.shape[1])] = mask.shape[1]
        return mask.view(len(mask), *of_frames).expand(len(mask), *positions)
    raise ShapeError(
        f"layer {layer!r} gives {tuple(x.shape)}, and its mask is {tuple(mask.shape)}; say where "
        "its channels are, as in --pooling channels_first+avg, give a mask of all its positions, "
        "or choose none"
    )


def _unfit(step: str, expected: str, x: Tensor, layer: str) -> ShapeError:
    return ShapeError(
        f"layer {layer!r} gives {tuple(x.shape)}, but {step} needs {expected}; give the layer a "
        f"pooling of its own, as in --pooling '{layer}=none,*={step}'"
    )


def width(shape: tuple[int, ...]) -> int:
    """Features of activations (n, ...)."""
    return math.prod(shape[1:])
