"""Centered kernel alignment, of one pair of layers and of all pairs of two networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from repsim.devices import float64_device
from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError, choices
from repsim.layers import select_layers
from repsim.measures.gram import Layer, default_memory, gram_sums, prepare_layer, varies
from repsim.measures.hsic import HSIC, GramSums
from repsim.measures.kernels import (
    RBF,
    Kernel,
    KernelLike,
    bandwidth,
    parse_kernel,
    squared_distances,
)
from repsim.progress import Progress, silent
from repsim.results import SimilarityMap
from repsim.sources import (
    ActivationSource,
    ArraySource,
    as_tensor,
    check_comparable,
)

Estimator = Literal["unbiased", "biased"]


def cka(
    x: Any, y: Any, *, kernel: KernelLike = "linear", estimator: Estimator = "unbiased"
) -> float | Tensor:
    """Centered kernel alignment of two layers on the same examples.

    HSIC(K, L) / √(HSIC(K, K) HSIC(L, L)), K and L the Gram matrices of x and y (Kornblith et
    al. 2019, section 3), with either estimator of HSIC. Unchanged by rotations, isotropic scalings
    and shifts of the features; not by invertible linear maps.

    Args:
        x: (n, p) or (n, ...) array or tensor, n ≥ 4; row i is example i. Halves and integers are
            computed in float32, float64 in float64.
        y: (n, q) or (n, ...); the same examples in the same order.
        kernel: ``"linear"``, ``"rbf"`` (half the median distance) or ``repsim.RBF(fraction)``.
        estimator: ``"unbiased"`` (Song et al. 2012; may be slightly negative), or ``"biased"``,
            which drifts towards 1 as p / n grows.

    Returns:
        A float; where x or y requires gradients, a 0-d tensor through which they flow.

    Raises:
        ShapeError: x and y differ in rows, or there are fewer than two dimensions.
        NonFiniteError: NaN or infinity in x or y.
        DegenerateError: fewer than four examples, a constant layer, or an unbiased self-HSIC that
            is not positive (features that look like noise to n examples).
    """
    if estimator not in ("unbiased", "biased"):
        raise UsageError(
            f"unknown estimator {estimator!r}; {choices(estimator, ['unbiased', 'biased'])}"
        )
    parsed = parse_kernel(kernel)
    arrays = {"x": _as_array(x, "x"), "y": _as_array(y, "y")}
    if any(isinstance(v, Tensor) and v.requires_grad for v in arrays.values()):
        return _differentiable(arrays["x"], arrays["y"], parsed, estimator)
    a, b = (ArraySource({name: array}, name=name) for name, array in arrays.items())
    _check_rows(a.n, b.n)
    layers = []
    for source in (a, b):
        try:
            layers.append(prepare_layer(source, source.name, parsed, source.device))
        except (NonFiniteError, DegenerateError) as error:
            raise type(error)(f"{source.name}: {error}") from None
    sums = gram_sums([layers[0]], [layers[1]], a.n, memory=default_memory())
    hsic = sums.unbiased() if estimator == "unbiased" else sums.biased()
    return float(_checked(hsic).cka())


def cka_map(
    a: ActivationSource | dict[str, Any],
    b: ActivationSource | dict[str, Any] | None = None,
    *,
    kernel: KernelLike = "linear",
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    device: torch.device | str | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> SimilarityMap:
    """CKA of all pairs of layers, exact, with both estimators, in one sweep.

    A layer on which CKA is undefined (constant, or with NaN or infinity) gives NaN in its row or
    column and its reason in ``notes``; the rest of the map stands.

    Args:
        a: an ``ActivationSource`` (an open store, say) or a dict of layer name to (n, ...) array.
        b: the other network on the same examples; None compares ``a`` with itself.
        kernel: as in ``cka``.
        layers_a: layers of ``a``: addresses or globs, ``"odd"``, ``"even"``; by default all, in
            order of execution.
        layers_b: layers of ``b``.
        device: where to compute; by default where the tensors of ``a`` lie, or the CPU.
        memory: bytes that rows and tiles may take; by default a quarter of the machine's. Layers
            that do not fit are read again from the source, tile row by tile row.
        progress: told the tiles done.

    Raises:
        MismatchError: a and b hold different examples, or were pooled differently.
        DegenerateError: fewer than four examples.
        UsageError: a layer that is not there.
    """
    kernel = parse_kernel(kernel)
    a = _as_source(a, "a")
    b = None if b is None else _as_source(b, "b")
    other = a if b is None else b
    target = float64_device(device if device is not None else getattr(a, "device", "cpu"))
    names_a = select_layers(a.layers, layers_a, of=a.name)
    chosen_b = layers_a if b is None and layers_b is None else layers_b
    names_b = select_layers(other.layers, chosen_b, of=other.name)
    _check_rows(a.n, a.n)
    if b is not None:
        check_comparable(a, b)

    notes: dict[str, str] = {}
    prepared_a = _prepare(a, names_a, kernel, target, notes)
    itself = b is None and names_a == names_b
    prepared_b = None if itself else _prepare(other, names_b, kernel, target, notes)
    good_b = prepared_a if prepared_b is None else prepared_b
    shape = (len(names_a), len(names_b))
    unbiased = torch.full(shape, torch.nan, dtype=torch.float64)
    biased = unbiased.clone()
    if prepared_a and good_b:
        sums = gram_sums(
            list(prepared_a.values()),
            None if prepared_b is None else list(prepared_b.values()),
            a.n,
            memory=default_memory() if memory is None else memory,
            progress=progress,
        )
        at_a = [names_a.index(name) for name in prepared_a]
        at_b = [names_b.index(name) for name in good_b]
        for values, hsic in ((unbiased, sums.unbiased()), (biased, sums.biased())):
            values[torch.tensor(at_a)[:, None], torch.tensor(at_b)] = hsic.cka().cpu()
        own = sums.unbiased()
        for source, names, self_hsic in ((a, prepared_a, own.aa), (other, good_b, own.bb)):
            for name, value in zip(names, self_hsic.tolist(), strict=True):
                if not value > 0:
                    notes[f"{source.name}:{name}"] = (
                        f"its unbiased self-HSIC is {value:.2g}, not positive: {a.n} examples are "
                        "too few for its features"
                    )
    return SimilarityMap(
        layers_a=tuple(names_a),
        layers_b=tuple(names_b),
        unbiased=unbiased.numpy(),
        biased=biased.numpy(),
        n=a.n,
        name_a=a.name,
        name_b=other.name,
        kernel=str(kernel),
        notes=notes,
        provenance={
            "a": a.provenance(),
            "b": other.provenance(),
            "device": str(target),
            "sums": "float64",
            **_bandwidths(a, prepared_a, other, good_b),
        },
    )


def _prepare(
    source: ActivationSource,
    names: Sequence[str],
    kernel: Kernel,
    device: torch.device,
    notes: dict[str, str],
) -> dict[str, Layer]:
    """The layers on which CKA is defined; ``notes`` says why of the others."""
    prepared = {}
    for name in names:
        try:
            prepared[name] = prepare_layer(source, name, kernel, device)
        except (NonFiniteError, DegenerateError) as error:
            notes[f"{source.name}:{name}"] = str(error)
    return prepared


def _as_source(value: Any, name: str) -> ActivationSource:
    if isinstance(value, dict):
        return ArraySource(value, name=name)
    if not isinstance(value, ActivationSource):
        raise UsageError(
            f"{name} is a {type(value).__name__}; expected a dict of layer name to array, or an "
            "open store (repsim.open_store)"
        )
    return value


def _check_rows(n: int, m: int) -> None:
    if n != m:
        raise ShapeError(f"x has {n} rows, y has {m}; expected the same examples in both")
    if n < 4:
        raise DegenerateError(f"{n} examples arrived; CKA needs at least 4")


def _as_array(value: Any, name: str) -> Any:
    array = value if isinstance(value, Tensor) else as_tensor(value)
    if array.ndim < 2:
        raise ShapeError(
            f"{name} has shape {tuple(array.shape)}; expected (n, p), one row an example"
        )
    return array


def _differentiable(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """CKA from whole Gram matrices, in float64 where the device has it; gradients flow."""
    _check_rows(len(x), len(y))
    grams = []
    for name, rows in (("x", x), ("y", y)):
        rows = rows.reshape(len(rows), -1)
        if not bool(torch.isfinite(rows).all()):
            raise NonFiniteError(f"{name}: it holds NaN or infinity")
        rows = rows.to(float64_device(rows.device)).double()
        free = rows.detach()
        squares = (free - free.mean(0)).square().sum()
        if not varies(float(squares), float(free.square().sum()), len(rows)):
            raise DegenerateError(f"{name}: it is the same for every example")
        try:
            grams.append(_gram(rows, kernel))
        except DegenerateError as error:
            raise DegenerateError(f"{name}: {error}") from None
    sums = GramSums.of(*grams)
    hsic = sums.unbiased() if estimator == "unbiased" else sums.biased()
    return _checked(hsic).cka().squeeze()


def _gram(rows: Float[Tensor, "n p"], kernel: Kernel) -> Float[Tensor, "n n"]:
    rows = rows - rows.mean(0)
    if not isinstance(kernel, RBF):
        return rows @ rows.T
    # The bandwidth follows the data but is not differentiated through: a median has no useful
    # gradient.
    return torch.exp(-squared_distances(rows, rows) / (2 * bandwidth(rows.detach(), kernel) ** 2))


def _checked(hsic: HSIC) -> HSIC:
    for name, value in (("x", hsic.aa.item()), ("y", hsic.bb.item())):
        if not (value > 0 and math.isfinite(value)):
            raise DegenerateError(
                f"{name}: its self-HSIC is {value:.2g}, not positive, so CKA is undefined; it is "
                "constant, or the examples are too few for its features"
            )
    return hsic


def _bandwidths(
    a: ActivationSource, of_a: dict[str, Layer], b: ActivationSource, of_b: dict[str, Layer]
) -> dict[str, Any]:
    """σ of every layer in the layer's own units, for kernels that have one."""
    found = {
        f"{source.name}:{name}": layer.sigma * layer.scale
        for source, layers in ((a, of_a), (b, of_b))
        for name, layer in layers.items()
        if layer.sigma is not None
    }
    return {"bandwidth": found} if found else {}
