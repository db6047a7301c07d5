"""Values beside the rows of a store, read whole and held against what the format says of them."""

from __future__ import annotations

import h5py
import numpy as np

from repsim.reading import Damaged


def target_values(dataset: h5py.Dataset) -> np.ndarray:
    """The values of a target: (n,) int64 classes from 0, or (n, k) uint8 zeros and ones.

    Raises:
        Damaged: other numbers.
    """
    values = dataset[:]
    if values.ndim == 2:
        if not np.isin(values, (0, 1)).all():
            raise Damaged(f"{dataset.name} holds other numbers than zeros and ones")
        return values.astype(np.uint8, copy=False)
    if values.size and not 0 <= values.min() <= values.max() < 1 << 63:
        raise Damaged(f"{dataset.name} has class {values.min()}; expected classes from 0")
    return values.astype(np.int64, copy=False)


def order_values(dataset: h5py.Dataset) -> np.ndarray:
    """(n,) int64 places of the examples in the data set of their loader, from 0.

    Raises:
        Damaged: other numbers.
    """
    values = dataset[:]
    if not 0 <= values.min() <= values.max() < 1 << 63:
        raise Damaged(f"{dataset.name} has place {values.min()}; expected places from 0")
    return values.astype(np.int64, copy=False)
