"""CKA of all pairs of layers of two networks, or of one network with itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from repsim.ambient import full_precision, settled
from repsim.devices import default_memory, float64_device, in_units
from repsim.errors import DegenerateError, NonFiniteError, UsageError
from repsim.layers import select_layers
from repsim.measures.algebra import Algebra, choose, operations, pair_sums
from repsim.measures.hsic import GramSums
from repsim.measures.kernels import RBF, Kernel, KernelLike, parse_kernel
from repsim.measures.layer import Layer
from repsim.measures.prepare import common_dtype, prepare_layer, prepare_together
from repsim.measures.uncertainty import permutation_test, standard_errors
from repsim.measures.validity import (
    FLOOR,
    biased_floors,
    check_examples,
    floor_warning,
    without_rounding,
)
from repsim.progress import Progress, notebook_bar
from repsim.repeats import examples_of_rows
from repsim.results import SimilarityMap
from repsim.results.compared import networks_of
from repsim.sources import ActivationSource, as_source, check_comparable


@settled()
def cka_map(
    a: ActivationSource | dict[str, Any],
    b: ActivationSource | dict[str, Any] | None = None,
    *,
    kernel: KernelLike = "linear",
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    stderr: bool = True,
    permutations: int = 0,
    seed: int = 0,
    device: torch.device | str | None = None,
    memory: int | None = None,
    tf32: bool = False,
    algebra: Algebra | None = None,
    progress: Progress = notebook_bar,
) -> SimilarityMap:
    """CKA of all pairs of layers, exact, with both estimators, in one sweep.

    A layer on which CKA is undefined (constant, or with NaN or infinity) gives NaN in its row or
    column and its reason in ``notes``; the rest of the map stands.

    Args:
        a: an ``ActivationSource`` (an open store, say) or a dict of layer name to (n, ...) array;
            memory maps (``numpy.load(..., mmap_mode="r")``) are read by blocks of rows.
        b: the other network on the same examples; None compares ``a`` with itself.
        kernel: as in ``cka``.
        layers_a: layers of ``a``: addresses or globs, ``"odd"``, ``"even"``; by default all, in
            order of execution.
        layers_b: layers of ``b``.
        stderr: with the standard error of every unbiased value. They hold n numbers a pair.
        permutations: where above 0, p-values from so many permutations of the examples. They hold
            all Gram matrices.
        seed: of the permutations.
        device: where to compute; by default where the tensors of ``a`` lie, or the CPU.
        memory: bytes that rows, matrices and tiles may take; by default a quarter of what is free.
            Layers that do not fit are read again from the source.
        tf32: allow TF32 products on CUDA, which keep three digits.
        algebra: ``"gram"`` or ``"features"``; by default the one of fewer operations. It has no
            influence on the values beyond rounding.
        progress: told the steps done.

    Raises:
        MismatchError: a and b hold different examples, or were pooled differently.
        DegenerateError: fewer than four examples.
        UsageError: a layer that is not there, or more memory needed than allowed.
    """
    kernel = parse_kernel(kernel)
    a = as_source(a, "a")
    b = None if b is None else as_source(b, "b")
    target = float64_device(device if device is not None else getattr(a, "device", "cpu"))
    networks = _read_networks(a, b, layers_a, layers_b)
    memory = default_memory(target) if memory is None else memory
    _check_counts(memory=memory, permutations=permutations, seed=seed)
    if stderr:
        _check_memory(a.n, networks.pairs, memory)
    examples = examples_of_rows(*([a] if b is None else [a, b]))
    with full_precision(tf32=tf32):
        layers = _prepare(networks, kernel, target, memory)
        tables: dict[str, np.ndarray] = {}
        swept: dict[str, Any] = {}
        if layers.a and layers.b:
            algebra = choose(layers.a, layers.right, terms=stderr) if algebra is None else algebra
            options: dict[str, Any] = {"memory": memory, "progress": progress}
            sums = pair_sums(layers.a, layers.right, terms=stderr, algebra=algebra, **options)
            tables = _tables(sums, layers, networks.labels, examples)
            if permutations:
                tables["p_value"], tables["p_value_max"] = permutation_test(
                    layers.a, layers.b, permutations=permutations, seed=seed, **options
                )
            swept = {"algebra": algebra, "operations": layers.operations(algebra, terms=stderr)}
    wanted = ["unbiased", "biased"] + ["stderr"] * stderr
    wanted += ["p_value", "p_value_max"] if permutations else []
    sides = {"a": a.provenance(), "b": networks.b.provenance()}
    return SimilarityMap(
        layers_a=tuple(networks.names_a),
        layers_b=tuple(networks.names_b),
        **cast(dict[str, Any], _with_gaps(tables, wanted, networks, layers)),
        n=_count(a.n, examples),
        name_a=a.name,
        name_b=networks.b.name,
        kernel=str(kernel),
        notes={**layers.notes, **_repeats(a.n, examples)},
        provenance={
            **sides,
            "device": str(target),
            "precision": _precision(layers.dtype, target, tf32),
            "sums": "float64",
            **swept,
            **({"permutations": permutations, "seed": seed} if permutations else {}),
            **_bandwidths(networks.labels, layers),
        },
        networks=networks_of(sides),
    )


@dataclass(frozen=True)
class _Networks:
    """The chosen layers of two networks, or of one with itself.

    Attributes:
        a: the first network.
        b: the second, or the first again.
        names_a: chosen layers of ``a``.
        names_b: of ``b``.
        labels: of both in the keys of notes.
        itself: whether the same layers of one network stand on both sides.
    """

    a: ActivationSource
    b: ActivationSource
    names_a: list[str]
    names_b: list[str]
    labels: tuple[str, str]
    itself: bool

    @property
    def pairs(self) -> int:
        """The number of pairs of layers."""
        return len(self.names_a) * len(self.names_b)

    @property
    def sides(self) -> list[tuple[ActivationSource, list[str], str]]:
        """Network, layers and label of both sides, or of the only one."""
        first = (self.a, self.names_a, self.labels[0])
        return [first] if self.itself else [first, (self.b, self.names_b, self.labels[1])]


def _read_networks(
    a: ActivationSource,
    b: ActivationSource | None,
    layers_a: str | Sequence[str] | None,
    layers_b: str | Sequence[str] | None,
) -> _Networks:
    other = a if b is None else b
    names_a = select_layers(a.layers, layers_a, of=a.name)
    chosen_b = layers_a if b is None and layers_b is None else layers_b
    names_b = select_layers(other.layers, chosen_b, of=other.name)
    check_examples(a.n, a.n)
    if b is not None:
        check_comparable(a, b)
    labels = (a.name, other.name) if b is None or a.name != other.name else ("a", "b")
    return _Networks(a, other, names_a, names_b, labels, b is None and names_a == names_b)


@dataclass(frozen=True)
class _Layers:
    """The layers on which CKA is defined, and why the others have none.

    Attributes:
        a: of the first side.
        b: of the second; the same list where a network is compared with itself.
        notes: reasons and cautions by ``LABEL:LAYER``.
        dtype: in which rows and tiles are computed.
    """

    a: list[Layer]
    b: list[Layer]
    notes: dict[str, str]
    dtype: torch.dtype

    @property
    def right(self) -> list[Layer] | None:
        """``b``, or None where it is ``a``, whose pairs are then computed once."""
        return None if self.a is self.b else self.b

    def operations(self, algebra: str, *, terms: bool) -> float:
        """Floating-point operations of the sums, see ``operations``."""
        widths_a = [layer.features for layer in self.a]
        widths_b = None if self.right is None else [layer.features for layer in self.right]
        return operations(widths_a, widths_b, self.a[0].n, algebra, terms=terms)


def _prepare(networks: _Networks, kernel: Kernel, device: torch.device, memory: int) -> _Layers:
    """Mean, scale and bandwidth of all layers, in float64 where one of them needs it."""
    dtype = common_dtype((source, name) for source, names, _ in networks.sides for name in names)
    count = sum(len(names) for _, names, _ in networks.sides)
    keep = 2 * count * networks.a.n**2 * dtype.itemsize <= memory
    notes: dict[str, str] = {}
    sides: list[list[Layer]] = []

    def prepare(dtype: torch.dtype) -> list[Layer]:
        notes.clear()
        sides.clear()
        for source, names, label in networks.sides:
            side: list[Layer] = []
            for name in names:
                try:
                    layer = prepare_layer(
                        source, name, kernel, device, dtype, keep=keep, memory=memory
                    )
                    side.append(layer)
                except (NonFiniteError, DegenerateError) as error:
                    notes[f"{label}:{name}"] = str(error)
            sides.append(side)
        return [layer for side in sides for layer in side]

    layers = prepare_together(dtype, prepare)
    return _Layers(sides[0], sides[-1], notes, layers[0].dtype if layers else dtype)


def _tables(
    sums: GramSums, layers: _Layers, labels: tuple[str, str], examples: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The values of a map by the names of its fields; the notes explain NaN and give cautions."""
    hsic, biased = sums.unbiased(), sums.biased()
    unbiased = without_rounding(hsic, layers.a, layers.b, layers.notes, labels).cka()
    tables = {"unbiased": unbiased, "biased": biased.cka()}
    if sums.terms is not None:
        groups = None if examples is None else torch.from_numpy(examples)
        tables["stderr"] = torch.where(unbiased.isnan(), torch.nan, standard_errors(sums, groups))
        if (n := _count(sums.n, examples)) < 5:
            layers.notes["stderr"] = f"{n} examples arrived; standard errors need at least 5"
    if (floor := float(biased_floors(hsic, biased).max())) > FLOOR:
        layers.notes["biased"] = floor_warning(floor, sums.n)
    return {key: table.cpu().numpy() for key, table in tables.items()}


def _count(rows: int, examples: np.ndarray | None) -> int:
    """The number of different examples."""
    return rows if examples is None else int(examples.max()) + 1


def _repeats(rows: int, examples: np.ndarray | None) -> dict[str, str]:
    """The note on examples that come several times."""
    if examples is None:
        return {}
    return {
        "repeats": f"{rows:,} rows are of {_count(rows, examples):,} different examples by their "
        "inputs, which n and the standard errors count; the values count all rows, and pairs of "
        "equal ones raise them: leave repeated examples out"
    }


def _with_gaps(
    tables: dict[str, np.ndarray], wanted: list[str], networks: _Networks, layers: _Layers
) -> dict[str, np.ndarray]:
    """Tables of all chosen layers: NaN where a layer has no values."""
    at = np.ix_(
        [networks.names_a.index(layer.name) for layer in layers.a],
        [networks.names_b.index(layer.name) for layer in layers.b],
    )
    shape = (len(networks.names_a), len(networks.names_b))
    whole = {key: np.full(shape, np.nan) for key in wanted}
    for key, table in tables.items():
        whole[key][at] = table
    return whole


def _precision(dtype: torch.dtype, device: torch.device, tf32: bool) -> str:
    if tf32 and device.type == "cuda" and dtype == torch.float32:
        return "tf32"
    return str(dtype).removeprefix("torch.")


def _bandwidths(labels: tuple[str, str], layers: _Layers) -> dict[str, Any]:
    """σ of every layer in the layer's own units, for kernels that have one."""
    found = {
        f"{label}:{layer.name}": layer.scale
        for label, side in zip(labels, (layers.a, layers.b), strict=True)
        for layer in side
        if isinstance(layer.kernel, RBF)
    }
    return {"bandwidth": found} if found else {}


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        least = 1 if name == "memory" else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _check_memory(n: int, pairs: int, memory: int) -> None:
    needed = 4 * 8 * n * pairs
    if needed > memory:
        raise UsageError(
            f"standard errors of {pairs} {'pair' if pairs == 1 else 'pairs'} on {n} examples take "
            f"{in_units(needed)}, and "
            f"{in_units(memory)} are allowed; choose fewer layers, allow more memory, or do "
            "without them (--no-stderr, stderr=False)"
        )
