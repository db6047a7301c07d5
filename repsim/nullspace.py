"""What a linear head can and cannot see of its features (Mao et al., Propositions 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Real
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError
from repsim.measures.layer import varies
from repsim.probes import probe
from repsim.results import NullSpaceReport
from repsim.sources import as_tensor


class RowSpace(NamedTuple):
    """The row space of a head: an orthonormal basis and the spectrum that decided its rank."""

    basis: Float[Tensor, "d r"]
    singular_values: Float[Tensor, " k"]
    tolerance: float

    @property
    def rank(self) -> int:
        """Dimensions of the row space, r."""
        return self.basis.shape[1]

    def split(self, features: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
        """Features as (f_r, f_n), the part the head sees and the part it cannot; (n, d) each."""
        row = (features @ self.basis) @ self.basis.T
        return row, features - row


def row_space(weight: Real[Tensor, "out d"], *, rank_tolerance: float | None = None) -> RowSpace:
    """Row space of ``weight`` (out, d) by singular value decomposition, in float64.

    Args:
        weight: the head's matrix A, as in ``torch.nn.Linear``.
        rank_tolerance: singular values up to this fraction of the largest count as zero; by default
            max(out, d) times the machine epsilon of ``weight``'s own dtype, as a head stored in
            float32 is no more exact than that. Halves and integers count as float32, since with a
            half's epsilon a head of a thousand columns would have rank 0.
    """
    dtype = weight.dtype if weight.dtype == torch.float64 else torch.float32
    epsilon = torch.finfo(dtype).eps
    relative = max(weight.shape) * epsilon if rank_tolerance is None else rank_tolerance
    _, values, basis = torch.linalg.svd(weight.double(), full_matrices=False)
    tolerance = relative * float(values.max())
    return RowSpace(basis[values > tolerance].T, values, tolerance)


def null_space(
    features: Any,
    weight: Any,
    *,
    labels: Any | None = None,
    test_features: Any | None = None,
    test_labels: Any | None = None,
    rank_tolerance: float | None = None,
    name: str = "features",
    provenance: Mapping[str, Any] | None = None,
) -> NullSpaceReport:
    """Split features against a head y = A f + b and report what lies in each part.

    The bias b plays no part: it moves the outputs and neither subspace.

    Args:
        features: (n, d) array or tensor that the head takes.
        weight: (out, d) the head's matrix A.
        labels: (n,) integers; with them a linear probe is trained on the full, the row-space and
            the null-space features.
        test_features: (m, d) held-out features for the probes and, where given, for every other
            number as well; without them the probes hold out a fifth of ``features``.
        test_labels: (m,) their labels.
        rank_tolerance: see ``row_space``.
        name: what the features belong to, for tables and figures.
        provenance: what to record of where they come from; JSON values.

    Raises:
        ShapeError: features, test features and weight differ in d.
        NonFiniteError: NaN or infinity in one of them.
        DegenerateError: all features are zero or the same.
    """
    f, head = as_tensor(features), as_tensor(weight)
    tests = f if test_features is None else as_tensor(test_features)
    for what, values in (("features", f), ("test_features", tests)):
        if values.ndim != 2 or head.ndim != 2 or values.shape[1] != head.shape[1]:
            raise ShapeError(
                f"{what} have shape {tuple(values.shape)}, the head {tuple(head.shape)}; expected "
                "(n, d) and (out, d) with the same d"
            )
    for what, values in (("features", f), ("test_features", tests), ("weight", head)):
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteError(f"NaN or infinity in {what}")
    space = row_space(head, rank_tolerance=rank_tolerance)
    train, held = f.double(), tests.double()
    row, null = space.split(held)
    centred = held - held.mean(0)
    if not varies(float(centred.square().sum()), float(held.square().sum()), len(held)):
        raise DegenerateError("the features are the same for every example; nothing to split")

    probes: dict[str, float] = {}
    if labels is not None:
        parts = {"full": train, **dict(zip(("row", "null"), space.split(train), strict=True))}
        held_parts = {"full": held, "row": row, "null": null}
        empty = {0: "row", f.shape[1]: "null"}.get(space.rank)
        for part in (name for name in parts if name != empty):  # an empty subspace knows nothing
            probes[part] = probe(
                parts[part],
                labels,
                test_features=None if test_features is None else held_parts[part],
                test_labels=test_labels,
            ).accuracy
    mean_row = row.mean(0).norm()
    return NullSpaceReport(
        name=name,
        n=len(held),
        dim=held.shape[1],
        rank=space.rank,
        tolerance=space.tolerance,
        singular_values=space.singular_values.tolist(),
        row_energy=float(row.square().sum() / held.square().sum()),
        row_energy_centred=float((centred @ space.basis).square().sum() / centred.square().sum()),
        chance=space.rank / held.shape[1],
        constancy=float(row.std(0).norm() / mean_row) if float(mean_row) > 0 else float("nan"),
        residual=_residual(null, head.double(), held),
        probes=probes,
        provenance=dict(provenance or {}),
    )


def _residual(null: Tensor, weight: Tensor, features: Tensor) -> float:
    """Largest |A f_n| relative to |A| |f|: zero but for rounding."""
    scale = float(torch.linalg.matrix_norm(weight, 2) * features.norm(dim=1).max())
    return float((null @ weight.T).norm(dim=1).max()) / scale if scale > 0 else 0.0
