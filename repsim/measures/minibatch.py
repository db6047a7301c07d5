"""CKA from a stream of batches that is never stored (Nguyen et al. 2021, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError, choices
from repsim.measures.gram import Layer, default_memory, gram_sums, prepare_layer
from repsim.measures.hsic import HSIC
from repsim.measures.kernels import RBF, KernelLike, parse_kernel
from repsim.results import SimilarityMap
from repsim.sources import ArraySource


class MinibatchCKA:
    """The ratio of summed unbiased HSICs of the batches, for all pairs of layers.

    Sums of HSIC, never a mean of ratios: with shuffled batches each HSIC is unbiased for the whole
    set, and so is their sum. Batches of sorted examples are not exchangeable, and give another
    number; shuffle the loader.

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
        self._ab = torch.zeros(a, b, dtype=torch.float64)
        self._aa = torch.zeros(a, dtype=torch.float64)
        self._bb = torch.zeros(b, dtype=torch.float64)
        self.examples = 0
        self.batches = 0
        self.skipped = 0
        self.notes: dict[tuple[str, str], str] = {}

    def update(self, a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
        """Add one batch: layer name to activations (n, ...), the same examples in a and b.

        A batch of fewer than four examples has no unbiased HSIC; it is counted and left out.
        """
        sources = [ArraySource(dict(a), name="a"), ArraySource(dict(b), name="b")]
        n = sources[0].n
        if n != sources[1].n:
            raise ShapeError(f"a batch has {n} examples in a and {sources[1].n} in b")
        if n < 4:
            self.skipped += n
            return
        prepared: list[list[Layer]] = [[], []]
        kept: list[list[int]] = [[], []]
        for source, layers, good, at in zip(
            sources, (self.layers_a, self.layers_b), prepared, kept, strict=True
        ):
            for index, name in enumerate(layers):
                if name not in source.layers:
                    raise UsageError(
                        f"{source.name} has no layer {name!r}; {choices(name, source.layers)}"
                    )
                try:
                    good.append(prepare_layer(source, name, self.kernel, source.device))
                    at.append(index)
                except DegenerateError:
                    pass  # a layer constant over this batch adds nothing to any sum
                except NonFiniteError as error:
                    self.notes[source.name, name] = f"batch {self.batches}: {error}"
                    self._spoil(source is sources[0], index)
        if any(prepared):
            hsic = gram_sums(prepared[0], prepared[1], n, memory=default_memory()).unbiased()
            units = [self._units(layers) for layers in prepared]
            at_a, at_b = (torch.tensor(at, dtype=torch.long) for at in kept)
            self._ab[at_a[:, None], at_b] += hsic.ab.cpu() * units[0][:, None] * units[1]
            self._aa[at_a] += hsic.aa.cpu() * units[0].square()
            self._bb[at_b] += hsic.bb.cpu() * units[1].square()
        self.batches += 1
        self.examples += n

    def compute(self, *, name_a: str = "a", name_b: str = "b") -> SimilarityMap:
        """The map of all that was seen.

        Raises:
            DegenerateError: no batch of four or more examples was seen.
        """
        if not self.batches:
            raise DegenerateError(
                f"no batch of at least 4 examples arrived ({self.skipped} examples in smaller ones)"
            )
        names = {"a": name_a, "b": name_b}
        notes = {f"{names[side]}:{layer}": note for (side, layer), note in self.notes.items()}
        for side, layers, own in (("a", self.layers_a, self._aa), ("b", self.layers_b, self._bb)):
            for layer, value in zip(layers, own.tolist(), strict=True):
                if value <= 0:
                    notes[f"{names[side]}:{layer}"] = (
                        f"its summed self-HSIC is {value:.2g}, not positive: it is constant in "
                        "every batch, or the batches are too small for its features"
                    )
        if self.skipped:
            notes["batches"] = f"{self.skipped} examples lay in batches of fewer than 4; left out"
        return SimilarityMap(
            layers_a=self.layers_a,
            layers_b=self.layers_b,
            unbiased=HSIC(self._ab, self._aa, self._bb).cka().numpy(),
            biased=None,
            n=self.examples,
            name_a=name_a,
            name_b=name_b,
            kernel=str(self.kernel),
            notes=notes,
            provenance={"method": "minibatch", "batches": self.batches, "sums": "float64"},
        )

    def _units(self, layers: list[Layer]) -> Tensor:
        """What the engine's scaling of rows took out of each Gram matrix."""
        if isinstance(self.kernel, RBF):
            return torch.ones(len(layers), dtype=torch.float64)
        return torch.tensor([layer.scale**2 for layer in layers], dtype=torch.float64)

    def _spoil(self, of_a: bool, index: int) -> None:
        (self._ab[index] if of_a else self._ab[:, index]).fill_(torch.nan)
        (self._aa if of_a else self._bb)[index] = torch.nan
