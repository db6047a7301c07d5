"""A report on what a linear head can and cannot see (Mao et al., Propositions 4 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError
from repsim.measures.layer import varies
from repsim.nullspace.subspace import row_space
from repsim.probes import probe
from repsim.results import NullSpaceReport
from repsim.sources import as_tensor


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
