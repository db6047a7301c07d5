"""Layers whose positions are those of a mask: the network runs on fewer, and shapes follow."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

from torch import nn

from repsim.activations.capture.batches import dictionary_of
from repsim.activations.capture.evidence import Evidence
from repsim.activations.capture.masks import Mask, kind_of
from repsim.activations.capture.placement import misplaced
from repsim.activations.capture.trials import Axes, Shape, Trials, possible_positions
from repsim.activations.capture.unchanged import Unchanged


@dataclass(frozen=True)
class Followers:
    """The layers whose positions are made of those of a mask.

    Attributes:
        exact: position for position, and the axis: of activations as the network gives them.
        other: otherwise, such as fewer of a longer stride; or where that is not known.
        kind: of the mask, as the network uses it; empty where that does not show.
        inputs: entries that have these positions too, and their axes.
        maps: the axis made of the positions, of layers with further axes of positions.
        pairs: layers of ``exact`` with the positions along a second axis, as weights of attention.
    """

    exact: Mapping[str, int]
    other: frozenset[str]
    kind: str = ""
    inputs: Mapping[str, Axes] = field(default_factory=dict)
    maps: Mapping[str, int] = field(default_factory=dict)
    pairs: frozenset[str] = frozenset()

    def across(self, channels: Mapping[str, Sequence[int]]) -> set[str]:
        """The layers of ``exact`` whose channels are the positions, such as keys of attention.

        Args:
            channels: the places of the channels of layers, where the examples come first.
        """
        alone = {name: axis for name, axis in self.exact.items() if name not in self.pairs}
        return {name for name, axis in alone.items() if max(1, axis) in channels.get(name, ())}


@dataclass(frozen=True)
class _Sequence:
    """Inputs that have positions in common.

    Attributes:
        axes: along which each is cut, beside the mask.
        shapes: of the layers where they are cut.
    """

    axes: Mapping[str, Axes]
    shapes: Mapping[str, Shape]


def followers(
    model: nn.Module, batch: Any, mask: Mask, layers: Mapping[str, str], *, grad: bool = False
) -> Followers:
    """The layers whose positions are made of those of a mask.

    The network runs on a few examples whose inputs have only the first half of their positions. The
    inputs that belong together are the fewest, beside the mask, with which it runs. A layer that
    gets shorter is made of their positions: one that has as many as the mask, both times, of each
    single one. Another tower, the side that queries in cross-attention, and what has no positions
    stay as they were. Where several inputs could be the mask's, they are those whose positions have
    no effect on others as soon as the mask marks them as padding.

    Args:
        model: not wrapped, where it is to run; it is left as it was.
        batch: a dictionary with the mask, where the network lies.
        mask: of the batch.
        layers: addresses by name.
        grad: as for ``Capture``.
    """
    with warnings.catch_warnings(), Unchanged(model) as kept:
        warnings.simplefilter("ignore")
        with kept.watching():
            lengths = possible_positions(mask, dictionary_of(batch))
            possible = [
                Trials(model, batch, mask, layers, kept.restore, grad=grad, length=length)
                for length in lengths
            ]
            others = filter(None, map(_found, possible))
            told = next(others, None) or _unshortened(possible[0], alone=len(possible) == 1)
            if told.maps:
                told = replace(told, maps=_agreed(told, others, dictionary_of(batch)))
    exact = {name: axis for name, axis in told.exact.items() if name in layers}
    return replace(told, exact=exact, other=told.other & set(layers))


def _agreed(
    told: Followers, others: Iterable[Followers], entries: Mapping[str, Any]
) -> dict[str, int]:
    """The axes of maps, of those that no other axis of the inputs may mean as well."""
    for name, axes in told.inputs.items():
        shape = tuple(entries[name].shape)[1:]
        if len(axes) == 1 and shape.count(shape[axes[0] - 1]) > 1:
            return {}
    rest = list(others)
    return {
        name: axis
        for name, axis in told.maps.items()
        if all(each.maps.get(name, axis) == axis for each in rest)
    }


def _found(trials: Trials) -> Followers | None:
    """The layers that follow the positions of a mask; None where the network cannot be cut so."""
    before = trials.shapes({})
    found = _sequences(trials, before) if before else []
    return _chosen(trials, before or {}, found) if found else None


def _sequences(trials: Trials, before: Mapping[str, Shape]) -> list[_Sequence]:
    """The inputs that can be the mask's: the fewest that can be cut with it; then the rest."""
    partners = trials.partners()
    for size in range(0 if trials.mask.is_input else 1, len(partners) + 1):
        ran = [_cut(trials, names, partners) for names in combinations(partners, size)]
        found = [each for each in ran if each is not None and each.shapes != before]
        if found:
            found = [_with_contents(trials, each, partners) or each for each in found]
            rest = [name for name in partners if all(name not in each.axes for each in found)]
            if rest and not trials.mask.is_input and trials.shapes({trials.mask.name: ()}):
                others = _cut(trials, rest, partners)
                found += [others] if others is not None and others.shapes != before else []
            return found
    return []


def _with_contents(
    trials: Trials, sequence: _Sequence, partners: Mapping[str, list[Axes]]
) -> _Sequence | None:
    """A part of a square, such as rows of an adjacency, cut whole and with the fewest others.

    The rows can be cut alone where nodes are aggregated once; these have no contents of their own.
    None for other inputs, and where the network does not run so.
    """
    whole = {name: partners[name][-1:] for name in sequence.axes}
    if any(len(way) < 2 or sequence.axes[name] == way for name, (way,) in whole.items()):
        return None
    others = [name for name in partners if name not in whole]
    for size in range(1, len(others) + 1):
        for names in combinations(others, size):
            found = _cut(trials, [*whole, *names], {**partners, **whole})
            if found is not None:
                return found
    return None


def _cut(
    trials: Trials, names: Sequence[str], partners: Mapping[str, list[Axes]]
) -> _Sequence | None:
    """Some inputs cut together, in the first of the ways with which the network runs."""
    for ways in product(*(partners[name] for name in names)):
        axes = dict(zip(names, ways, strict=True))
        shapes = trials.shapes({trials.mask.name: (), **axes})
        if shapes is not None:
            return _Sequence(axes, shapes)
    return None


def _chosen(trials: Trials, before: Mapping[str, Shape], found: Sequence[_Sequence]) -> Followers:
    """The layers that follow one of several sequences; none for certain where it does not show."""
    told = [_compared(trials, before, each) for each in found]
    if trials.mask.is_input:
        return told[0]
    if len(told) == 1 and (not told[0].exact or trials.is_by_convention):
        return told[0]
    kinds = [
        Evidence(trials, each.axes, one.exact).kind() for each, one in zip(found, told, strict=True)
    ]
    alike = len({tuple(sorted(one.exact)) for one in told}) == 1
    evident = [k for k, kind in enumerate(kinds) if kind] or [0] * alike
    if len(evident) == 1 or alike:
        k = evident[0]
        return _in_place(trials, found[k].axes, replace(told[k], kind=kinds[k]))
    return Followers({}, frozenset().union(*(one.other | set(one.exact) for one in told)))


def _in_place(trials: Trials, axes: Mapping[str, Axes], told: Followers) -> Followers:
    """The layers without those that have their positions in another order."""
    lost = set() if trials.is_by_convention else misplaced(trials, axes, told.exact)
    exact = {name: axis for name, axis in told.exact.items() if name not in lost}
    return replace(told, exact=exact, other=told.other | lost)


def _compared(trials: Trials, before: Mapping[str, Shape], sequence: _Sequence) -> Followers:
    after = sequence.shapes
    before = {name: shape for name, shape in before.items() if name in after}
    changed = {
        name: [k for k, size in enumerate(shape) if after[name][k] != size]
        for name, shape in before.items()
        if after[name] != shape and len(after[name]) == len(shape)
    }
    whole = (trials.length, trials.half)
    exact = {
        name: axes[0]
        for name, axes in changed.items()
        if len(before[name]) == 3 and (before[name][axes[0]], after[name][axes[0]]) == whole
    }
    pairs = {
        name
        for name, axes in changed.items()
        if name in exact and {(before[name][k], after[name][k]) for k in axes} == {whole}
        if len(axes) > 1
    }
    other = {name for name, shape in before.items() if after[name] != shape} - set(exact)
    maps = {name: k for name, (k, *more) in changed.items() if len(before[name]) > 3 and not more}
    return Followers(exact, frozenset(other), "", sequence.axes, maps, frozenset(pairs))


def _unshortened(trials: Trials, *, alone: bool) -> Followers:
    """The layers of a network that runs on one length only: certain if it has one sequence.

    Args:
        trials: of it.
        alone: the mask can be about no other number of positions.
    """
    partners, sequences = trials.partners(), trials.sequences()
    contents = [name for name in partners if "mask" not in name and not kind_of(name)]
    contents = [name for name in contents if not name.endswith(("type_ids", "position_ids"))]
    one = len(contents) == 1 and set(sequences) <= set(partners)
    length, shapes = trials.length, trials.shapes({}) or {}
    exact = {
        name: 1
        for name, shape in shapes.items()
        if one and len(shape) == 3 and shape[1] == length != shape[2]
    }
    maps = {
        name: shape.index(length, 1)
        for name, shape in (shapes if one and alone else {}).items()
        if len(shape) > 3 and shape[1:].count(length) == 1
    }
    told = Followers(exact, frozenset(set(trials.layers) - set(exact)), maps=maps)
    axes = {name: (1,) for name in contents if (1,) in partners[name]}
    # No module need give positions: a pooling of any length may be the first one.
    cut = _cut(trials, contents, partners) if one else None
    told = replace(told, inputs=cut.axes if cut is not None else {})
    return _in_place(trials, axes, told) if exact else told
