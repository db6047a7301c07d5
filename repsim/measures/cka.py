"""Centered kernel alignment, of one pair of layers and of all pairs of two networks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from repsim.devices import default_memory, float64_device, in_units
from repsim.errors import (
    DegenerateError,
    NonFiniteError,
    RepsimWarning,
    ShapeError,
    UsageError,
    choices,
)
from repsim.layers import select_layers
from repsim.measures.algebra import Algebra, choose, operations, pair_sums
from repsim.measures.hsic import HSIC, GramSums
from repsim.measures.inputs import as_array
from repsim.measures.kernels import (
    RBF,
    Kernel,
    KernelLike,
    bandwidth,
    parse_kernel,
    squared_distances,
)
from repsim.measures.layer import Layer, centring, prepare_layer, prepare_together, varies
from repsim.measures.product import full_precision
from repsim.measures.uncertainty import leave_one_out, permutation_test, standard_errors
from repsim.progress import Progress, silent
from repsim.results import SimilarityMap
from repsim.sources import (
    ActivationSource,
    ArraySource,
    as_floats,
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
    arrays = {"x": as_array(x, "x"), "y": as_array(y, "y")}
    if any(isinstance(v, Tensor) and v.requires_grad for v in arrays.values()):
        x, y = (v if isinstance(v, Tensor) else as_tensor(v) for v in arrays.values())
        return _differentiable(x, y, parsed, estimator)
    layers, sums = _pair(arrays, parsed, terms=False)
    unbiased, biased = sums.unbiased(), sums.biased()
    hsic = unbiased if estimator == "unbiased" else biased
    value = float(_checked(hsic, _noise(layers)).cka())
    if estimator == "biased" and (floor := float(_floors(unbiased, biased)[0, 0])) > FLOOR:
        warnings.warn(_warning(floor, sums.n), RepsimWarning, stacklevel=2)
    return value


def influence(x: Any, y: Any, *, kernel: KernelLike = "linear") -> np.ndarray:
    """What each example adds to the unbiased CKA of two layers: the value less that without it.

    Exact for the linear kernel, and for RBF at the bandwidth of all examples. Examples of large
    influence drive the value; of negative influence, they are what the layers see differently.

    Args:
        x: as in ``cka``, n ≥ 5.
        y: as in ``cka``.
        kernel: as in ``cka``.

    Returns:
        (n,) float64, in units of CKA.

    Raises:
        ShapeError: as ``cka``.
        NonFiniteError: as ``cka``.
        DegenerateError: as ``cka``, or fewer than five examples.
    """
    arrays = {"x": as_array(x, "x"), "y": as_array(y, "y")}
    layers, sums = _pair(arrays, parse_kernel(kernel), terms=True)
    if sums.n < 5:
        raise DegenerateError(f"{sums.n} examples arrived; influence needs at least 5")
    value = float(_checked(sums.unbiased(), _noise(layers)).cka())
    return (value - leave_one_out(sums)[:, 0, 0]).cpu().numpy()


def _pair(arrays: dict[str, Any], kernel: Kernel, *, terms: bool) -> tuple[list[Layer], GramSums]:
    """The sums over two arrays."""
    a, b = (ArraySource({name: array}, name=name) for name, array in arrays.items())
    _check_rows(a.n, b.n)

    def prepare(dtype: torch.dtype) -> list[Layer]:
        return [_prepare_array(source, kernel, a.device, dtype) for source in (a, b)]

    with full_precision(a.device):
        layers = prepare_together(_dtype([(a, a.name), (b, b.name)]), prepare)
        memory = default_memory(a.device)
        return layers, pair_sums([layers[0]], [layers[1]], memory=memory, terms=terms)


def _prepare_array(
    source: ArraySource, kernel: Kernel, device: torch.device, dtype: torch.dtype
) -> Layer:
    """The layer of an array, whose errors begin with the array's name."""
    try:
        return prepare_layer(source, source.name, kernel, device, dtype, keep=True)
    except (NonFiniteError, DegenerateError) as error:
        raise type(error)(f"{source.name}: {error}") from None


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
    progress: Progress = silent,
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
    memory = default_memory(target) if memory is None else memory
    _check_counts(memory=memory, permutations=permutations, seed=seed)
    _check_memory(a.n, len(names_a) * len(names_b), stderr, memory)
    itself = b is None and names_a == names_b
    labels = (a.name, other.name) if b is None or a.name != other.name else ("a", "b")

    notes: dict[str, str] = {}
    sides = [(a, names_a, labels[0])] + ([] if itself else [(other, names_b, labels[1])])
    dtype = _dtype([(source, name) for source, names, _ in sides for name in names])
    count = sum(len(names) for _, names, _ in sides)
    keep = 2 * count * a.n**2 * dtype.itemsize <= memory
    prepared: list[list[Layer]] = []

    def prepare(dtype: torch.dtype) -> list[Layer]:
        notes.clear()
        prepared.clear()
        for source, names, label in sides:
            options = {"dtype": dtype, "keep": keep, "memory": memory}
            prepared.append(_prepare(source, names, label, kernel, target, notes, **options))
        return [layer for side in prepared for layer in side]

    tables: dict[str, np.ndarray] = {}
    report: dict[str, Any] = {}
    with full_precision(target, tf32=tf32):
        layers = prepare_together(dtype, prepare)
        precision = layers[0].dtype if layers else dtype
        good_a, good_b = prepared[0], prepared[-1]
        if good_a and good_b:
            right = None if itself else good_b
            algebra = choose(good_a, right, terms=stderr) if algebra is None else algebra
            sums = pair_sums(
                good_a, right, memory=memory, terms=stderr, algebra=algebra, progress=progress
            )
            tables = _tables(sums, good_a, good_b, notes, labels)
            if permutations:
                tables["p_value"], tables["p_value_max"] = permutation_test(
                    good_a,
                    good_b,
                    permutations=permutations,
                    seed=seed,
                    memory=memory,
                    progress=progress,
                )
            report = {
                "algebra": algebra,
                "operations": operations(
                    [layer.features for layer in good_a],
                    None if right is None else [layer.features for layer in right],
                    a.n,
                    algebra,
                    terms=stderr,
                ),
            }
    wanted = ["unbiased", "biased"] + ["stderr"] * stderr
    wanted += ["p_value", "p_value_max"] if permutations else []
    at = np.ix_(
        [names_a.index(layer.name) for layer in good_a],
        [names_b.index(layer.name) for layer in good_b],
    )
    whole = {key: np.full((len(names_a), len(names_b)), np.nan) for key in wanted}
    for key, table in tables.items():
        whole[key][at] = table
    return SimilarityMap(
        layers_a=tuple(names_a),
        layers_b=tuple(names_b),
        **cast(dict[str, Any], whole),
        n=a.n,
        name_a=a.name,
        name_b=other.name,
        kernel=str(kernel),
        notes=notes,
        provenance={
            "a": a.provenance(),
            "b": other.provenance(),
            "device": str(target),
            "precision": "tf32"
            if tf32 and target.type == "cuda" and precision == torch.float32
            else str(precision).removeprefix("torch."),
            "sums": "float64",
            **report,
            **({"permutations": permutations, "seed": seed} if permutations else {}),
            **_bandwidths(labels, good_a, good_b),
        },
    )


def _tables(
    sums: GramSums,
    layers_a: list[Layer],
    layers_b: list[Layer],
    notes: dict[str, str],
    labels: tuple[str, str],
) -> dict[str, np.ndarray]:
    """The values of a map by the names of its fields; ``notes`` says why of a NaN or a warning."""
    hsic, biased = sums.unbiased(), sums.biased()
    unbiased = _without_noise(hsic, layers_a, layers_b, notes, labels).cka()
    tables = {"unbiased": unbiased, "biased": biased.cka()}
    if sums.terms is not None:
        tables["stderr"] = torch.where(unbiased.isnan(), torch.nan, standard_errors(sums))
        if sums.n < 5:
            notes["stderr"] = f"{sums.n} examples arrived; standard errors need at least 5"
    if (floor := float(_floors(hsic, biased).max())) > FLOOR:
        notes["biased"] = _warning(floor, sums.n)
    return {key: table.cpu().numpy() for key, table in tables.items()}


#: Biased values are warned about where those of unrelated layers would be above this.
FLOOR = 0.5


def _floors(unbiased: HSIC, biased: HSIC) -> Float[Tensor, "a b"]:
    """The biased CKA that layers like these have when they are unrelated.

    √(pq / ((n + p)(n + q))) for independent Gaussian features, with p and q their
    effective numbers: how much the diagonal of the Gram matrix has of the self-HSIC.
    """
    shares = [
        (1 - own / with_diagonal).clamp(min=0)
        for own, with_diagonal in ((unbiased.aa, biased.aa), (unbiased.bb, biased.bb))
    ]
    return (shares[0][:, None] * shares[1]).sqrt()


def _warning(floor: float, n: int) -> str:
    return (
        f"the biased CKA of unrelated layers as wide as these would be about {floor:.2f} for {n} "
        "examples; read the unbiased values, or take more examples"
    )


def _without_noise(
    hsic: HSIC,
    layers_a: list[Layer],
    layers_b: list[Layer],
    notes: dict[str, str],
    labels: tuple[str, str],
) -> HSIC:
    """``hsic`` with NaN for a self-HSIC that is rounding alone; ``notes`` says which."""
    found = []
    for label, layers, own in zip(labels, (layers_a, layers_b), (hsic.aa, hsic.bb), strict=True):
        noise = torch.tensor(_noise(layers), dtype=torch.float64, device=own.device)
        found.append(torch.where(own > noise, own, torch.nan))
        for layer, value, bound in zip(layers, own.tolist(), noise.tolist(), strict=True):
            if not value > bound:
                notes[f"{label}:{layer.name}"] = (
                    f"its unbiased self-HSIC is {value:.2g}, not positive beyond rounding: "
                    f"{layer.n} examples are too few for its features"
                )
    return HSIC(hsic.ab, *found)


def _noise(layers: list[Layer]) -> list[float]:
    """What rounding alone can make of each self-HSIC."""
    return [layer.noise**2 for layer in layers]


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        least = 1 if name == "memory" else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UsageError(f"{name} is {value!r}; expected a whole number of at least {least}")


def _check_memory(n: int, pairs: int, stderr: bool, memory: int) -> None:
    needed = 4 * 8 * n * pairs
    if stderr and needed > memory:
        raise UsageError(
            f"standard errors of {pairs} {'pair' if pairs == 1 else 'pairs'} on {n} examples take "
            f"{in_units(needed)}, and "
            f"{in_units(memory)} are allowed; choose fewer layers, allow more memory, or do "
            "without them (--no-stderr, stderr=False)"
        )


def _prepare(
    source: ActivationSource,
    names: Sequence[str],
    label: str,
    kernel: Kernel,
    device: torch.device,
    notes: dict[str, str],
    **options: Any,
) -> list[Layer]:
    """The layers on which CKA is defined; ``notes`` says why of the others."""
    prepared = []
    for name in names:
        try:
            prepared.append(prepare_layer(source, name, kernel, device, **options))
        except (NonFiniteError, DegenerateError) as error:
            notes[f"{label}:{name}"] = str(error)
    return prepared


def _dtype(layers: list[tuple[ActivationSource, str]]) -> torch.dtype:
    """float64 if any layer is, else float32."""
    first = (as_floats(source.rows(name, 0, 1)).dtype for source, name in layers)
    return torch.float64 if torch.float64 in first else torch.float32


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


def _differentiable(x: Tensor, y: Tensor, kernel: Kernel, estimator: Estimator) -> Tensor:
    """CKA from whole Gram matrices, in float64 where the device has it; gradients flow."""
    _check_rows(len(x), len(y))
    grams = []
    for name, rows in (("x", x), ("y", y)):
        rows = rows.reshape(len(rows), -1)
        if not bool(torch.isfinite(rows).all()):
            raise NonFiniteError(f"{name}: it holds NaN or infinity")
        rows = rows.to(float64_device(rows.device)).double()
        centred = rows - rows.mean(0)
        spread = float(centred.detach().square().sum())
        if not varies(spread, float(rows.detach().square().sum()), len(rows)):
            raise DegenerateError(f"{name}: it is the same for every example")
        try:
            # At mean squared norm 1, to which the bound on the noise applies. CKA does not depend
            # on the scale, so the gradient is right without that of the scale.
            grams.append(_gram(centred / (spread / len(rows)) ** 0.5, kernel))
        except DegenerateError as error:
            raise DegenerateError(f"{name}: {error}") from None
    sums = GramSums.of(*grams)
    hsic = sums.unbiased() if estimator == "unbiased" else sums.biased()
    noise = 8 * torch.finfo(torch.float64).eps
    return _checked(hsic, [noise**2] * 2).cka().squeeze()


def _gram(rows: Float[Tensor, "n p"], kernel: Kernel) -> Float[Tensor, "n n"]:
    """K_ij - u_i - u_j of centred rows, with u from ``centring``.

    Neither estimator of HSIC depends on u, so its gradient is not needed; but with it the unbiased
    one is a plain sum of products, in which nothing cancels.
    """
    if isinstance(kernel, RBF):
        # The bandwidth follows the data but is not differentiated through: a median has no useful
        # gradient.
        sigma = bandwidth(rows.detach(), kernel)
        K = torch.exp(-squared_distances(rows, rows) / (2 * sigma**2))
    else:
        K = rows @ rows.T
    free = K.detach()
    u = centring(free.sum(1) - free.diagonal())
    return K - u[:, None] - u


def _checked(hsic: HSIC, noise: list[float]) -> HSIC:
    for name, value, bound in zip("xy", (hsic.aa.item(), hsic.bb.item()), noise, strict=True):
        if not (value > bound and math.isfinite(value)):
            raise DegenerateError(
                f"{name}: its self-HSIC is {value:.2g}, not positive beyond rounding, so CKA is "
                "undefined; it is constant, or the examples are too few for its features"
            )
    return hsic


def _bandwidths(
    labels: tuple[str, str], layers_a: list[Layer], layers_b: list[Layer]
) -> dict[str, Any]:
    """σ of every layer in the layer's own units, for kernels that have one."""
    found = {
        f"{label}:{layer.name}": layer.scale
        for label, layers in zip(labels, (layers_a, layers_b), strict=True)
        for layer in layers
        if isinstance(layer.kernel, RBF)
    }
    return {"bandwidth": found} if found else {}
