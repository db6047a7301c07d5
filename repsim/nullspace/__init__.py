"""What a linear head sees of its features, what it cannot, and what lies in either part."""

from repsim.nullspace.report import null_space
from repsim.nullspace.subspace import AllOnes, RowSpace, all_ones, random_subspaces, row_space

__all__ = [
    "AllOnes",
    "RowSpace",
    "all_ones",
    "null_space",
    "random_subspaces",
    "row_space",
]
