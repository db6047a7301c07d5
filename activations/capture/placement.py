"""Layers that have the positions of an input in another order than the input."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim.activations.capture.differences import spread
from repsim.activations.capture.trials import Axes, Trials

#: At most so many positions are changed one by one.
_PLACES = 12

#: A small change, as a share of the spread of an input: it moves no sorted position.
_SMALL = 0.02

#: An answer below this share of the strongest is none.
_NONE = 1e-5

#: Shares of the positions that have to answer elsewhere: not at all in place, or less than there.
_MOST, _MANY = 2 / 3, 3 / 4


@dataclass(frozen=True)
class _Changes:
    """An input whose content is another one in some positions.

    Attributes:
        name: of the input.
        value: as it is, with the positions along ``axis``.
        other: its other content.
        axis: of the positions.
    """

    name: str
    value: Tensor
    other: Tensor
    axis: int

    @property
    def differs(self) -> Tensor:
        """True in (n, positions) where the other content differs."""
        return (self.value != self.other).movedim(self.axis, 1).unsqueeze(-1).flatten(2).any(2)

    def at(self, chosen: Tensor) -> dict[str, Tensor]:
        """The input with its other content where (n, positions) is True."""
        shape = [1] * self.value.ndim
        shape[0], shape[self.axis] = chosen.shape
        mixed = torch.where(chosen.view(shape).to(self.value.device), self.other, self.value)
        return {self.name: mixed}


def misplaced(trials: Trials, sequence: Mapping[str, Axes], exact: Mapping[str, int]) -> set[str]:
    """Layers whose positions are those of some inputs, but in another order.

    Inputs are changed in single positions, and in halves of all positions that tell each position
    by the halves that it is in. A layer is misplaced if its positions answer to another position
    each, and never to their own; if most do not answer in their place, and others do; or if the
    strongest answer of most is elsewhere, and stands out. Layers that mix all positions, as
    attention does, answer to their own as well, and are misplaced only with others before them.

    Args:
        trials: of the network and a mask.
        sequence: inputs, and the axes of their positions.
        exact: layers with as many positions, and their axis.
    """
    before = trials.sampled({}, exact)
    found: set[str] = set()
    for changes in _contents(trials, sequence):
        answers = _Answers(trials, before, exact, changes)
        lost = {name for name in exact if answers.are_elsewhere(name)}
        found |= lost | ({name for name in exact if answers.are_weak(name)} if lost else set())
    return found


def _contents(trials: Trials, sequence: Mapping[str, Axes]) -> Iterator[_Changes]:
    """The other contents of inputs: slightly other numbers, and those of other examples."""
    for name, axes in sequence.items():
        if "mask" in name or name.endswith("position_ids") or len(axes) != 1 or axes[0] == 0:
            continue
        value = trials.value(name)
        if len(value) != len(trials.marks):
            continue
        if value.is_floating_point():
            drawn = torch.rand(value.shape, generator=torch.Generator().manual_seed(0)) < 0.5
            signs = (2 * drawn.to(value.device, value.dtype)) - 1
            yield _Changes(name, value, value + signs * (_SMALL * spread(value)), axes[0])
        yield _Changes(name, value, value.roll(1, 0).flip(axes[0]), axes[0])


class _Answers:
    """The answers of layers to changes of an input.

    Args:
        trials: of the network and a mask.
        before: the values of the layers without a change.
        exact: layers with as many positions, and their axis.
        changes: of the input.
    """

    def __init__(
        self,
        trials: Trials,
        before: Mapping[str, Tensor],
        exact: Mapping[str, int],
        changes: _Changes,
    ) -> None:
        self._differs = changes.differs.cpu()
        n, length = self._differs.shape
        self._single = [self._places(k, n, length) for k in range(-(-min(length, _PLACES) // n))]
        self._halves = _halves(length).unsqueeze(1).expand(-1, n, -1)
        shown = [*(_marked(places, length) for places in self._single), *self._halves]
        self._found: dict[str, list[Tensor]] = {}
        for each in shown:
            after = trials.sampled(changes.at(each), exact)
            for name in set(exact) & set(before) & set(after):
                if before[name].shape == after[name].shape and before[name].shape[1] == length:
                    found = _sizes(before[name], after[name])
                    self._found.setdefault(name, []).append(found)
        self._found = {k: v for k, v in self._found.items() if len(v) == len(shown)}

    @staticmethod
    def _places(run: int, n: int, length: int) -> Tensor:
        """The position that is changed in each example of a run."""
        total = min(length, _PLACES)
        which = torch.arange(run * n, run * n + n) % total
        return which * (length - 1) // max(1, total - 1)

    def are_elsewhere(self, layer: str) -> bool:
        """True for a layer that certainly has the positions in another order."""
        if layer not in self._found:
            return False
        seen = self._seen(layer)
        none = sum(float(each[place]) <= _NONE * float(each.max()) for each, place in seen)
        if len(seen) > 1 and none > _MOST * len(seen):
            return True
        return self._stand_out(seen) or self._are_permuted(layer)

    def are_weak(self, layer: str) -> bool:
        """True for a layer in which most positions answer less in their place than elsewhere."""
        seen = self._seen(layer) if layer in self._found else []
        weak = sum(3 * float(each[place]) < float(each.max()) for each, place in seen)
        return weak > len(seen) / 2

    def _seen(self, layer: str) -> list[tuple[Tensor, int]]:
        """The answers (positions,) to the change of one position, and that position."""
        answers = zip(self._found[layer], self._single, strict=False)
        return [
            (answer[k], int(place))
            for answer, places in answers
            for k, place in enumerate(places)
            if self._differs[k, place] and float(answer[k].max()) > 0
        ]

    @staticmethod
    def _stand_out(seen: list[tuple[Tensor, int]]) -> bool:
        """True if the strongest answers of most are elsewhere, and not as far away for all."""
        shifts = Counter(
            int(each.argmax()) - place
            for each, place in seen
            if 3 * float(each[place]) < float(each.max()) and _is_alone(each)
        )
        votes = shifts.total()
        return votes > 3 and votes >= _MANY * len(seen) and 2 * max(shifts.values()) <= votes

    def _are_permuted(self, layer: str) -> bool:
        """True if some positions answer as often as another one changes, and only then."""
        answers = torch.stack(self._found[layer][len(self._single) :])
        answered = answers > _NONE * answers.max()
        changed = self._halves & self._differs
        return any(
            _is_permutation(_codes(changed[:, k]), _codes(answered[:, k]))
            for k in range(len(self._differs))
        )


def _halves(length: int) -> Tensor:
    """Halves of all positions, True in (2 * bits, positions): those with a bit, and those without.

    Any two positions are in different ones.
    """
    bits = torch.arange((length - 1).bit_length()).unsqueeze(1)
    within = (torch.arange(length) >> bits) % 2 == 1
    return torch.cat((within, ~within))


def _marked(places: Tensor, length: int) -> Tensor:
    """True in (n, positions) at one place of each example."""
    return torch.arange(length) == places.unsqueeze(1)


def _sizes(before: Tensor, after: Tensor) -> Tensor:
    """The largest differences of each position, (n, positions)."""
    off = (after.cpu().double() - before.cpu().double()).abs().nan_to_num(0)
    return off.flatten(2).amax(2)


def _is_alone(answer: Tensor) -> bool:
    """True if the strongest answer is twice as strong as any other."""
    first, second = answer.topk(2).values.tolist()
    return bool(2 * second < first)


def _codes(marks: Tensor) -> list[int]:
    """A number for each column of marks (halves, positions)."""
    powers = 2 ** torch.arange(len(marks))
    return [int(each) for each in (marks * powers.unsqueeze(1)).sum(0)]


def _is_permutation(changed: list[int], answered: list[int]) -> bool:
    """True if two or more positions answer to one another instead of to themselves."""
    place = {code: k for k, code in enumerate(changed) if code}
    moved = {
        k: place[code] for k, code in enumerate(answered) if code in place and code != changed[k]
    }
    return len(moved) > 1 and set(moved) == set(moved.values())
