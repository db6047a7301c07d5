"""CKA from a stream of batches that is never stored (Nguyen et al. 2021, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim.ambient import settled
from repsim.devices import default_memory
from repsim.errors import (
    DegenerateError,
    MismatchError,
    ShapeError,
    UsageError,
    choices,
)
from repsim.measures.answers import alone, together
from repsim.measures.batch_layer import BatchLayer, Scratch, reducing
from repsim.measures.batch_spread import Means, Squares
from repsim.measures.gram import gram_sums
from repsim.measures.hsic import HSIC
from repsim.measures.kernels import KernelLike, Linear, parse_kernel
from repsim.measures.layer import Layer
from repsim.measures.shown import Shown
from repsim.names import check_rows
from repsim.results import SimilarityMap

#: Batches whose means differ this many standard deviations more than those of shuffled ones would
#: are called sorted.
SORTED = 6.0

#: Batches of fewer examples on average are called small: they tell little about the whole, and too
#: little about their order.
SMALL = 32


class MinibatchCKA:
    """The ratio of summed unbiased HSICs of the batches, for all pairs of layers.

    Sums of HSIC, never a mean of ratios: with shuffled batches each HSIC is unbiased for the whole
    set, and so is their sum, in which a batch counts by its examples. Batches of sorted examples
    are not exchangeable, and give another number; shuffle the loader. The map has a note where the
    means of the batches differ by more than shuffling explains. Another note gives the size of
    small batches: their value may be far from the value of one batch of all examples.

    Standard errors are from the spread of the batches, with Student's t. Batches of several passes
    share examples, which are known by their ids; without ids there are no standard errors.

    Streams on several devices or machines are added up with ``merge``.

    Args:
        layers_a: layers of the first network.
        layers_b: layers of the second.
        kernel: as in ``repsim.cka``. An RBF bandwidth is taken from each batch.
    """

    @settled()
    def __init__(
        self, layers_a: Sequence[str], layers_b: Sequence[str], *, kernel: KernelLike = "linear"
    ) -> None:
        self.layers_a, self.layers_b = tuple(layers_a), tuple(layers_b)
        self.kernel = parse_kernel(kernel)
        a, b = len(self.layers_a), len(self.layers_b)
        self._sums = HSIC(*(torch.zeros(s, dtype=torch.float64) for s in ((a, b), (a,), (b,))))
        self._squares = Squares(a, b)
        self._means = Means(), Means()
        self._scratch = Scratch()
        self._widths: dict[tuple[str, str], int] = {}
        self._shown = Shown()
        self.batches = 0
        self.skipped = 0
        self.notes: dict[tuple[str, str], str] = {}

    @property
    def examples(self) -> int:
        """The number of different examples in batches of four or more.

        Without ids every one is taken for another.
        """
        return self._shown.examples

    @settled()
    def reduce(self, layer: str, activations: Any) -> BatchLayer:
        """Reduce a layer's activations (n, ...), which are not kept, for ``update``.

        A hook that reduces each layer as it comes holds one layer at a time in place of all.
        """
        return alone(reducing(layer, activations, self.kernel, self._scratch))

    @settled()
    def update(
        self,
        a: Mapping[str, Any],
        b: Mapping[str, Any],
        ids: Sequence[Hashable] | np.ndarray | Tensor | None = None,
    ) -> None:
        """Add one batch: layer name to activations (n, ...), the same examples in a and b.

        A batch of fewer than four examples has no unbiased HSIC; it is counted and left out.

        Args:
            a: activations, or layers that ``reduce`` made of them, of at least ``layers_a``.
            b: of ``layers_b``.
            ids: (n,) of the examples, by which those are known that come in several batches.

        Raises:
            UsageError: a layer is missing, or a or b is no dict.
            ShapeError: numbers of examples or ids differ, or a layer has other features than
                before.
        """
        chosen: list[tuple[str, Any]] = []
        for side, given, layers in (("a", a, self.layers_a), ("b", b, self.layers_b)):
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"{side} is a {type(given).__name__}; expected a dict of layer name to "
                    "activations (n, ...)"
                )
            for name in layers:
                if name not in given:
                    raise UsageError(f"{side} has no layer {name!r}; {choices(name, given)}")
            chosen += [(name, given[name]) for name in layers]
        reduced_all = self._reduced(chosen)
        count = len(self.layers_a)
        sides = [reduced_all[:count], reduced_all[count:]]
        n = _same_examples(sides)
        self._check_widths(sides)
        if n < 4:
            self.skipped += n
            return
        self._shown.update(n, ids)
        self._move_to(sides)
        names = (self.layers_a, self.layers_b)
        for side, of_side, reduced, own in zip("ab", names, sides, self._sums[1:], strict=True):
            for index, (name, layer) in enumerate(zip(of_side, reduced, strict=True)):
                if layer.error is not None:
                    self.notes[side, name] = f"batch {self.batches}: {layer.error}"
                    own[index] = torch.nan
        self._add([[layer.layer for layer in layers] for layers in sides], n)
        self.batches += 1

    @settled()
    def merge(self, other: MinibatchCKA) -> None:
        """Add the sums of ``other``, as if one pass had gone over both streams.

        Raises:
            MismatchError: it is of other layers, of another kernel or of layers of other widths.
            UsageError: it is this stream itself, or none.
        """
        if not isinstance(other, MinibatchCKA) or other is self:
            raise UsageError("merge takes another MinibatchCKA, of a stream of its own")
        mine = (self.layers_a, self.layers_b, self.kernel)
        if (other.layers_a, other.layers_b, other.kernel) != mine:
            raise MismatchError(
                f"{len(other.layers_a)} x {len(other.layers_b)} layers with the {other.kernel} "
                f"kernel cannot be added to {len(self.layers_a)} x {len(self.layers_b)} with the "
                f"{self.kernel} kernel; merge streams of the same layers and kernel"
            )
        for (side, name), width in other._widths.items():
            if self._widths.get((side, name), width) != width:
                raise MismatchError(
                    f"layer {name!r} of {side} is of width {self._widths[side, name]} in one "
                    f"stream and of width {width} in the other; merge streams of the same networks"
                )
        self._widths |= other._widths
        for total, part in zip(self._sums, other._sums, strict=True):
            total += part.to(total.device)
        self._squares.merge(other._squares)
        for mean, more in zip(self._means, other._means, strict=True):
            mean.merge(more)
        self.notes = {**other.notes, **self.notes}
        self._shown.merge(other._shown)
        self.batches += other.batches
        self.skipped += other.skipped

    @settled()
    def compute(self, *, name_a: str = "a", name_b: str = "b") -> SimilarityMap:
        """The map of all that was seen, of so many different examples.

        Raises:
            DegenerateError: no batch of four or more examples was seen.
        """
        if not self.batches:
            raise DegenerateError(
                f"no batch of at least 4 examples arrived ({self.skipped} examples in smaller ones)"
            )
        sums = self._sums_on_cpu()
        values = sums.cka()
        return SimilarityMap(
            layers_a=self.layers_a,
            layers_b=self.layers_b,
            unbiased=values.numpy(),
            biased=None,
            n=self.examples,
            name_a=name_a,
            name_b=name_b,
            kernel=str(self.kernel),
            notes=self._all_notes(name_a, name_b),
            provenance={
                "method": "minibatch",
                "batches": self.batches,
                "rows": self._shown.rows,
                "sums": "float64",
            },
            **self._certainty(sums, values),
        )

    def _sums_on_cpu(self) -> HSIC:
        return HSIC(*(total.cpu() for total in self._sums))

    def _certainty(self, sums: HSIC, values: Tensor) -> dict[str, Any]:
        """Standard errors and their degrees of freedom, where the batches tell of them."""
        shown, freedom = self._shown, self._shown.freedom
        if not shown.known or freedom <= 0:
            return {}
        stderr = self._squares.standard_errors(sums, values, self.batches, shown).numpy()
        return {"stderr": stderr, "freedom": np.full_like(stderr, freedom)}

    def _all_notes(self, name_a: str, name_b: str) -> dict[str, str]:
        """Notes on layers and on the batches, for the map."""
        names = {"a": name_a, "b": name_b} if name_a != name_b else {"a": "a", "b": "b"}
        notes = {f"{names[side]}:{layer}": note for (side, layer), note in self.notes.items()}
        for side, layers, own in zip(
            "ab", (self.layers_a, self.layers_b), self._sums[1:], strict=True
        ):
            for layer, value in zip(layers, own.tolist(), strict=True):
                if value <= 0:
                    notes[f"{names[side]}:{layer}"] = (
                        f"its summed self-HSIC is {value:.2g}, not positive: it is constant in "
                        "every batch, or the batches are too small for its features"
                    )
        if self.skipped:
            notes["batches"] = f"{self.skipped} examples lay in batches of fewer than 4; left out"
        if self.batches > 1 and self._shown.rows < SMALL * self.batches:
            notes["estimate"] = self._small()
        if not self._shown.known and self.batches > 1:
            notes["stderr"] = (
                "without ids of the examples it is not known if some came in several batches; pass "
                "ids to update"
            )
        elif self._shown.passes > 1:
            rows, different = f"{self._shown.rows:,}", f"{self.examples:,}"
            notes["passes"] = f"{rows} rows are of {different} different examples, which n counts"
        if self._shown.beside:
            notes["repeats"] = (
                f"{self._shown.beside:,} rows repeat an example of the same batch, which looks as "
                "alike to itself as no two examples are: the values are too high; let a batch have "
                "an example once"
            )
        ratio = max(mean.ratio() for mean in self._means)
        # Of one effective dimension, the ratio has a variance of 2 / (batches - 1), of more a
        # smaller one.
        if self.batches > 1 and ratio > 1 + SORTED * (2 / (self.batches - 1)) ** 0.5:
            notes["order"] = (
                f"the means of the batches differ {ratio:.1f} times as much as those of shuffled "
                "batches would; if the loader is sorted, by class say, the values depend on the "
                "size of the batches: shuffle it"
            )
        return notes

    def _small(self) -> str:
        """The note on small batches: the examples of each, and a way to compare all at once."""
        each = self._shown.rows / self.batches
        return (
            f"from {self.batches:,} batches of {each:.3g} examples each, which see differences "
            "within a batch alone: shuffle the loader and take larger batches, or "
            f"compare all {self.examples:,} at once (repsim.harvest, then repsim.cka_map)"
        )

    def _reduced(self, chosen: list[tuple[str, Any]]) -> list[BatchLayer]:
        """All layers of a batch, those that are not reduced yet side by side."""
        reduced = {k: value for k, (_, value) in enumerate(chosen) if isinstance(value, BatchLayer)}
        others = [k for k in range(len(chosen)) if k not in reduced]
        askings = [reducing(*chosen[k], self.kernel, self._scratch) for k in others]
        reduced |= zip(others, together(askings), strict=True)
        return [reduced[k] for k in range(len(chosen))]

    def _check_widths(self, sides: list[list[BatchLayer]]) -> None:
        widths = {
            (side, name): layer.features
            for side, names, layers in zip("ab", (self.layers_a, self.layers_b), sides, strict=True)
            for name, layer in zip(names, layers, strict=True)
        }
        for (side, name), width in widths.items():
            before = self._widths.get((side, name), width)
            if width != before:
                raise ShapeError(
                    f"layer {name!r} of {side} is of width {width} in a batch and was of width "
                    f"{before} before; expected the same features in every batch"
                )
        self._widths = widths

    def _move_to(self, sides: list[list[BatchLayer]]) -> None:
        """Bring layers and sums to the device of the first layer that has one."""
        layers = [each.layer for side in sides for each in side if each.layer is not None]
        if not layers:
            return
        device = layers[0].device
        for layer in layers:
            if layer.device != device:
                layer.to(device)
        if self._sums.ab.device != device:
            move = _zeros_on(device) if not self.batches else (lambda total: total.to(device))
            self._sums = HSIC(*map(move, self._sums))
            self._squares.move(move)

    def _add(self, sides: list[list[Layer | None]], n: int) -> None:
        """Add the HSICs of the layers that vary in the batch; the others add nothing."""
        good = [[layer for layer in layers if layer is not None] for layers in sides]
        for layers, mean in zip(sides, self._means, strict=True):
            if layers and layers[-1] is not None:
                mean.update(layers[-1])
        varying = [layer for layers in good for layer in layers]
        if any(layer.dtype == torch.float64 for layer in varying):
            for layer in varying:
                layer.to_float64()
        batch = HSIC(*(torch.zeros_like(total) for total in self._sums))
        if varying:
            # Where no layer of one side varies, those of the other still have their own HSIC.
            both = good if good[0] and good[1] else (varying, None)
            memory = default_memory(varying[0].device)
            batch = self._placed(gram_sums(*both, memory=memory).unbiased(), sides, batch)
        for total, part in zip(self._sums, batch, strict=True):
            total += n * part
        self._squares.update(batch, n)

    def _placed(self, hsic: HSIC, sides: list[list[Layer | None]], batch: HSIC) -> HSIC:
        """``batch``, zeros, with the HSICs of the layers that vary at their places."""
        good = [[layer for layer in layers if layer is not None] for layers in sides]
        at = [[k for k, layer in enumerate(layers) if layer is not None] for layers in sides]
        units = [self._units(*each) for each in zip(good, (hsic.aa, hsic.bb), strict=True)]
        for k, own in enumerate((hsic.aa, hsic.bb)):
            if good[k]:
                _put(batch[k + 1], at[k : k + 1], own[: len(good[k])] * units[k].square())
        if good[0] and good[1]:
            _put(batch.ab, at, hsic.ab * units[0][:, None] * units[1])
        return batch

    def _units(self, layers: list[Layer], own: Tensor) -> Tensor:
        """The factor that scaling of rows took out of each Gram matrix.

        0 where a layer is rounding alone, so that it adds nothing, like a constant one.
        """
        linear = isinstance(self.kernel, Linear)
        scales = [layer.scale**2 if linear else 1.0 for layer in layers]
        noise = [layer.noise**2 for layer in layers]
        units, bounds = (_vector(each, own.device) for each in (scales, noise))
        return torch.where(own[: len(layers)] > bounds, units, 0.0)


def _zeros_on(device: torch.device) -> Callable[[Tensor], Tensor]:
    return lambda total: torch.zeros_like(total, device=device)


def _vector(numbers: list[float], device: torch.device) -> Tensor:
    """Numbers as a float64 vector, filled in on the device: nothing has to be sent there."""
    vector = torch.empty(len(numbers), dtype=torch.float64, device=device)
    for place, number in zip(vector, numbers, strict=True):
        place.fill_(number)
    return vector


def _put(whole: Tensor, places: list[list[int]], values: Tensor) -> None:
    """Put ``values`` into ``whole`` at places along each axis."""
    if values.shape == whole.shape:
        whole.copy_(values)
    else:
        whole[torch.meshgrid(*map(torch.tensor, places), indexing="ij")] = values


def _same_examples(sides: list[list[BatchLayer]]) -> int:
    """The number of examples of a batch, the same in all layers.

    Raises:
        ShapeError: it differs.
        MismatchError: data frames whose rows have the same names in another order.
    """
    named = {
        f"{layer.name!r} of {side}": layer.row_names
        for side, layers in zip("ab", sides, strict=True)
        for layer in layers
    }
    check_rows(named)
    sizes = {(side, layer.n) for side, layers in zip("ab", sides, strict=True) for layer in layers}
    if len({n for _, n in sizes}) > 1:
        (first, n), *rest = sorted(sizes)
        other = next((side, m) for side, m in rest if m != n)
        raise ShapeError(
            f"a batch has {n} examples in {first} and {other[1]} in {other[0]}; expected the "
            "same examples in every layer"
        )
    return sizes.pop()[1]
