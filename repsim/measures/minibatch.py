"""CKA from a stream of batches that is never stored (Nguyen et al. 2021, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from repsim.devices import default_memory
from repsim.errors import (
    DegenerateError,
    MismatchError,
    NonFiniteError,
    ShapeError,
    UsageError,
    choices,
)
from repsim.measures.gram import gram_sums
from repsim.measures.hsic import HSIC
from repsim.measures.kernels import Kernel, KernelLike, Linear, parse_kernel
from repsim.measures.layer import Layer, prepare_layer, prepare_together, uncentred_layer
from repsim.measures.product import full_precision
from repsim.results import SimilarityMap
from repsim.sources import ArraySource, as_floats

#: Batches whose means differ this many standard deviations more than those of shuffled ones would
#: are called sorted.
SORTED = 6.0


class BatchLayer:
    """What the sums need of one layer of one batch, made from its activations at once.

    A Gram matrix where the batch has fewer examples than the layer has features, the centred rows
    otherwise; the activations themselves are not kept.

    Attributes:
        n: examples.
        features: of each example.
        layer: None where the layer is the same for every example of the batch.
        error: what is wrong with the activations, or None.
    """

    def __init__(self, name: str, activations: Any, kernel: Kernel, scratch: _Scratch) -> None:
        maps = isinstance(activations, Tensor) and activations.ndim == 4
        if maps and activations.is_contiguous(memory_format=torch.channels_last):
            # In the order in which they lie in memory: CKA knows no order of features.
            activations = activations.permute(0, 2, 3, 1)
        source = ArraySource({name: activations}, name=name)
        self.n = source.n
        self.features = math.prod(source.rows(name, 0, 0).shape[1:])
        self.layer: Layer | None = None
        self.error: NonFiniteError | None = None
        if self.n >= 4:
            with full_precision(source.device):
                try:
                    self.layer = _batch_layer(source, kernel, scratch)
                except DegenerateError:
                    pass
                except NonFiniteError as error:
                    self.error = error


def _batch_layer(source: ArraySource, kernel: Kernel, scratch: _Scratch) -> Layer:
    """The only layer of ``source``, of which it then needs nothing more."""
    (name,), n = source.layers, source.n
    x = as_floats(source.rows(name, 0, n)).flatten(1)
    layer = None
    if isinstance(kernel, Linear) and n < x.shape[1]:
        layer = uncentred_layer(x, name)
    if layer is None:
        (layer,) = prepare_together(
            x.dtype,
            lambda dtype: [prepare_layer(source, name, kernel, source.device, dtype, keep=True)],
        )
    if layer.gram is None and n < layer.features:
        layer.hold_gram(scratch.of(layer), n)
    elif layer.gram is None:
        layer.held = layer.rows(0, n)
    del layer.source
    return layer


class _Scratch:
    """Memory for the rows of one layer after another: fresh memory is slow."""

    def __init__(self) -> None:
        self._memory = torch.empty(0)

    def of(self, layer: Layer) -> Tensor:
        """Room for the rows of ``layer``."""
        needed, memory = layer.n * layer.features, self._memory
        alike = (memory.dtype, memory.device) == (layer.dtype, layer.device)
        if not alike or memory.numel() < needed:
            self._memory = torch.empty(needed, dtype=layer.dtype, device=layer.device)
        return self._memory


class MinibatchCKA:
    """The ratio of summed unbiased HSICs of the batches, for all pairs of layers.

    Sums of HSIC, never a mean of ratios: with shuffled batches each HSIC is unbiased for the whole
    set, and so is their sum, in which a batch counts by its examples. Batches of sorted examples
    are not exchangeable, and give another number; shuffle the loader. The map has a note where the
    means of the batches differ by more than shuffling explains.

    Streams on several devices or machines are added up with ``merge``.

    Args:
        layers_a: layers of the first network.
        layers_b: layers of the second.
        kernel: as in ``repsim.cka``. An RBF bandwidth is taken from each batch.
    """

    def __init__(
        self, layers_a: Sequence[str], layers_b: Sequence[str], *, kernel: KernelLike = "linear"
    ) -> None:
        self.layers_a, self.layers_b = tuple(layers_a), tuple(layers_b)
        self.kernel = parse_kernel(kernel)
        a, b = len(self.layers_a), len(self.layers_b)
        self._sums = HSIC(*(torch.zeros(s, dtype=torch.float64) for s in ((a, b), (a,), (b,))))
        self._squares = _Squares(a, b)
        self._means = _Means(), _Means()
        self._scratch = _Scratch()
        self._widths: dict[tuple[str, str], int] = {}
        self.examples = 0
        self.batches = 0
        self.skipped = 0
        self.notes: dict[tuple[str, str], str] = {}

    def reduce(self, layer: str, activations: Any) -> BatchLayer:
        """What ``update`` needs of a layer's activations (n, ...), which are not kept.

        A hook that reduces each layer as it comes holds one layer at a time in place of all.
        """
        return BatchLayer(layer, activations, self.kernel, self._scratch)

    def update(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """Add one batch: layer name to activations (n, ...), the same examples in a and b.

        A batch of fewer than four examples has no unbiased HSIC; it is counted and left out.

        Args:
            a: activations, or what ``reduce`` made of them, of at least ``layers_a``.
            b: of ``layers_b``.

        Raises:
            UsageError: a layer is missing, or a or b is no dict.
            ShapeError: numbers of examples differ, or a layer has other features than before.
        """
        sides: list[list[BatchLayer]] = []
        for side, given, layers in (("a", a, self.layers_a), ("b", b, self.layers_b)):
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"{side} is a {type(given).__name__}; expected a dict of layer name to "
                    "activations (n, ...)"
                )
            for name in layers:
                if name not in given:
                    raise UsageError(f"{side} has no layer {name!r}; {choices(name, given)}")
            sides.append([self._reduced(name, given[name]) for name in layers])
        sizes = {
            (side, layer.n) for side, layers in zip("ab", sides, strict=True) for layer in layers
        }
        if len({n for _, n in sizes}) > 1:
            (first, n), *rest = sorted(sizes)
            other = next((side, m) for side, m in rest if m != n)
            raise ShapeError(
                f"a batch has {n} examples in {first} and {other[1]} in {other[0]}; expected the "
                "same examples in every layer"
            )
        self._check_widths(sides)
        n = sizes.pop()[1]
        if n < 4:
            self.skipped += n
            return
        names = (self.layers_a, self.layers_b)
        for side, of_side, reduced, own in zip("ab", names, sides, self._sums[1:], strict=True):
            for index, (name, layer) in enumerate(zip(of_side, reduced, strict=True)):
                if layer.error is not None:
                    self.notes[side, name] = f"batch {self.batches}: {layer.error}"
                    own[index] = torch.nan
        self._add([[layer.layer for layer in layers] for layers in sides], n)
        self.batches += 1
        self.examples += n

    def merge(self, other: MinibatchCKA) -> None:
        """Add what ``other`` has seen: the result is that of one pass over both streams.

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
            total += part
        self._squares.merge(other._squares)
        for mean, more in zip(self._means, other._means, strict=True):
            mean.merge(more)
        self.notes = {**other.notes, **self.notes}
        self.examples += other.examples
        self.batches += other.batches
        self.skipped += other.skipped

    def compute(self, *, name_a: str = "a", name_b: str = "b") -> SimilarityMap:
        """The map of all that was seen; standard errors are from the spread of the batches.

        Raises:
            DegenerateError: no batch of four or more examples was seen.
        """
        if not self.batches:
            raise DegenerateError(
                f"no batch of at least 4 examples arrived ({self.skipped} examples in smaller ones)"
            )
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
        ratio = max(mean.ratio() for mean in self._means)
        # Of one effective dimension, the ratio has a variance of 2 / (batches - 1), of more a
        # smaller one.
        if self.batches > 1 and ratio > 1 + SORTED * (2 / (self.batches - 1)) ** 0.5:
            notes["order"] = (
                f"the means of the batches differ {ratio:.1f} times as much as those of shuffled "
                "batches would; if the loader is sorted, by class say, the values depend on the "
                "size of the batches: shuffle it"
            )
        values = self._sums.cka()
        stderr = self._squares.standard_errors(self._sums, values, self.batches)
        return SimilarityMap(
            layers_a=self.layers_a,
            layers_b=self.layers_b,
            unbiased=values.numpy(),
            biased=None,
            n=self.examples,
            name_a=name_a,
            name_b=name_b,
            kernel=str(self.kernel),
            notes=notes,
            provenance={"method": "minibatch", "batches": self.batches, "sums": "float64"},
            stderr=stderr.numpy() if self.batches > 1 else None,
        )

    def _reduced(self, name: str, value: Any) -> BatchLayer:
        return value if isinstance(value, BatchLayer) else self.reduce(name, value)

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

    def _add(self, sides: list[list[Layer | None]], n: int) -> None:
        """Add the HSICs of the layers that vary in the batch; the others add nothing."""
        good = [[layer for layer in layers if layer is not None] for layers in sides]
        for layers, mean in zip(sides, self._means, strict=True):
            if layers and layers[-1] is not None:
                mean.update(layers[-1])
        together = [layer for layers in good for layer in layers]
        if any(layer.dtype == torch.float64 for layer in together):
            for layer in together:
                layer.to_float64()
        batch = HSIC(*(torch.zeros_like(total) for total in self._sums))
        if together:
            device = together[0].device
            with full_precision(device):
                # Where no layer of one side varies, those of the other still have their own HSIC.
                both = good if good[0] and good[1] else (together, None)
                hsic = gram_sums(*both, memory=default_memory(device)).unbiased()
            units = [self._units(*each) for each in zip(good, (hsic.aa, hsic.bb), strict=True)]
            at = [
                torch.tensor([k for k, layer in enumerate(layers) if layer is not None])
                for layers in sides
            ]
            for k, own in enumerate((hsic.aa, hsic.bb)):
                if good[k]:
                    batch[k + 1][at[k]] = own.cpu() * units[k].square()
            if good[0] and good[1]:
                batch.ab[at[0][:, None], at[1]] = hsic.ab.cpu() * units[0][:, None] * units[1]
        for total, part in zip(self._sums, batch, strict=True):
            total += n * part
        self._squares.update(batch, n)

    def _units(self, layers: list[Layer], own: Tensor) -> Tensor:
        """What the engine's scaling of rows took out of each Gram matrix; 0 where what is left of
        a layer is rounding alone, so that it adds nothing, like a constant one."""
        linear = isinstance(self.kernel, Linear)
        scales = [layer.scale**2 if linear else 1.0 for layer in layers]
        noise = [layer.noise**2 for layer in layers]
        units, bounds = (torch.tensor(each, dtype=torch.float64) for each in (scales, noise))
        return torch.where(own.cpu()[: len(layers)] > bounds, units, 0.0)


class _Squares:
    """Sums of products of the batches' HSICs, from which the ratio's standard error follows."""

    def __init__(self, a: int, b: int) -> None:
        shapes = {"ab_ab": (a, b), "ab_aa": (a, b), "ab_bb": (a, b), "aa_bb": (a, b)}
        shapes |= {"aa_aa": (a, 1), "bb_bb": (1, b)}
        self._of = {key: torch.zeros(s, dtype=torch.float64) for key, s in shapes.items()}

    def update(self, batch: HSIC, n: int) -> None:
        of = {"ab": batch.ab, "aa": batch.aa[:, None], "bb": batch.bb[None]}
        for key, total in self._of.items():
            left, right = key.split("_")
            total += n**2 * of[left] * of[right]

    def merge(self, other: _Squares) -> None:
        for key, total in self._of.items():
            total += other._of[key]

    def standard_errors(self, sums: HSIC, values: Tensor, batches: int) -> Tensor:
        """Of a ratio of sums over independent batches, by the delta method.

        √(B/(B-1) Σ zₖ²), with zₖ = nₖ [ab/√(AA BB) - CKA/2 (aa/AA + bb/BB)] of batch k and
        capitals for sums over batches.
        """
        root = (sums.aa[:, None] * sums.bb).sqrt()
        u, v, w = 1 / root, -values / (2 * sums.aa[:, None]), -values / (2 * sums.bb)
        of = self._of
        total = u * u * of["ab_ab"] + v * v * of["aa_aa"] + w * w * of["bb_bb"]
        total = total + 2 * (u * v * of["ab_aa"] + u * w * of["ab_bb"] + v * w * of["aa_bb"])
        return (total * (batches / max(1, batches - 1))).sqrt()


class _Means:
    """How much the means of the batches differ, beside what shuffling explains (ANOVA's F)."""

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sum: Tensor | float = 0.0
        self._squares = self._within = 0.0
        self._n = self._batches = 0

    def update(self, layer: Layer) -> None:
        # The rest of the mean is in units of the scale, as the norms are.
        mean = layer.mean.double() + layer.rest.double() * layer.scale
        if self._first is None:
            self._first = mean
        beyond = mean - self._first
        self._sum = self._sum + layer.n * beyond
        self._squares += layer.n * float(beyond.square().sum())
        self._within += float(layer.norms.sum()) * layer.scale**2
        self._n += layer.n
        self._batches += 1

    def merge(self, other: _Means) -> None:
        if other._first is None:
            return
        if self._first is None:
            self._first = other._first
        offset = (other._first - self._first).to(self._first.device)
        self._squares += other._squares + float(
            2 * (offset * other._sum).sum() + other._n * offset.square().sum()
        )
        self._sum = self._sum + other._sum + other._n * offset
        self._within += other._within
        self._n += other._n
        self._batches += other._batches

    def ratio(self) -> float:
        """Variance between batches over that within; about 1 for shuffled ones."""
        if self._batches < 2 or self._n <= self._batches or not self._within > 0:
            return 1.0
        assert isinstance(self._sum, Tensor)
        between = self._squares - float(self._sum.square().sum()) / self._n
        return (between / (self._batches - 1)) / (self._within / (self._n - self._batches))
