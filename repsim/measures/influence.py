"""The influence of each example on the CKA of two layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim.ambient import settled
from repsim.errors import DegenerateError
from repsim.measures.cka import sums_of_pair
from repsim.measures.inputs import as_arrays
from repsim.measures.kernels import KernelLike, parse_kernel
from repsim.measures.uncertainty import leave_one_out
from repsim.measures.validity import check_defined, rounding


@settled()
def influence(x: Any, y: Any, *, kernel: KernelLike = "linear") -> np.ndarray:
    """Contribution of each example to the unbiased CKA of two layers.

    The value with all examples less the value without this one.

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
    arrays = as_arrays(x, y)
    layers, sums = sums_of_pair(arrays, parse_kernel(kernel), terms=True)
    if sums.n < 5:
        raise DegenerateError(f"{sums.n} examples arrived; influence needs at least 5")
    value = float(check_defined(sums.unbiased(), rounding(layers)).cka())
    return (value - leave_one_out(sums)[:, 0, 0]).cpu().numpy()
