"""Examples that come several times: rows whose inputs are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from repsim.sources import ActivationSource

#: Share of examples that may repeat another by chance, as a few images of real data sets do.
BY_CHANCE = 0.01


def examples_of_rows(*sources: ActivationSource) -> np.ndarray | None:
    """Number the examples from 0 by their inputs in all sources: (n,), a number for each row.

    None where no source keeps digests of its inputs, or no more rows repeat another than a data set
    has by chance. Rows that are positions of one example are told apart.
    """
    known = [found for each in sources if (found := getattr(each, "inputs", None)) is not None]
    if not known:
        return None
    if any("positions" in str(each.provenance().get("pooling")) for each in sources):
        known.append(_positions(sources[0].example_ids))
    different, rows = np.unique(np.stack(known, 1), axis=0, return_inverse=True)
    return rows.reshape(-1) if are_many(len(rows), len(different)) else None


def are_many(rows: int, different: int) -> bool:
    """True if more rows repeat an example than a data set has by chance."""
    return rows - different > max(1, BY_CHANCE * rows)


def _positions(ids: Any) -> np.ndarray:
    """Number the positions of rows, as their ids ``EXAMPLE#POSITION`` name them."""
    texts = (each.decode() if isinstance(each, bytes) else str(each) for each in ids)
    positions = [text.rpartition("#")[2] for text in texts]
    return np.unique(positions, return_inverse=True)[1].astype(np.uint64)
