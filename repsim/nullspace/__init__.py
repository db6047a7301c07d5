"""The row space and the null space of a linear head, and what lies in either."""

from repsim.nullspace.measure import measure
from repsim.nullspace.report import null_space
from repsim.nullspace.subspace import AllOnes, RowSpace, all_ones, random_subspaces, row_space
from repsim.nullspace.verdicts import Verdict, verdicts

__all__ = [
    "AllOnes",
    "RowSpace",
    "Verdict",
    "all_ones",
    "measure",
    "null_space",
    "random_subspaces",
    "row_space",
    "verdicts",
]
