"""A linear head, what arrives with it, and how many random subspaces it affords."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.dense import as_labels, as_numbers, as_tensor
from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.names import check_columns, check_rows, column_names, row_names
from repsim.nullspace.chance import affordable, cost_of
from repsim.nullspace.population import Population
from repsim.nullspace.subspace import RowSpace, random_subspaces, row_space
from repsim.probes.splits import check_seed

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Head:
    """A head y = A f + b, and what is drawn for it from which seed.

    Attributes:
        weight: A, in float64.
        bias: b.
        space: the row space of A.
        seed: of resamples and random subspaces.
        draws: random subspaces.
        resamples: of the examples.
        columns: the pandas index of the features, where A came as a data frame; else None.
    """

    weight: Float[Tensor, "out d"]
    bias: Float[Tensor, " out"]
    space: RowSpace
    seed: int
    draws: int
    resamples: int
    columns: Any = None

    @property
    def d(self) -> int:
        """Dimension of the features."""
        return self.weight.shape[1]

    @property
    def parts(self) -> list[str]:
        """The parts of the space that are not empty."""
        sizes = {"row": self.space.rank, "null": self.d - self.space.rank}
        return [part for part, size in sizes.items() if size]

    def subspaces(
        self, populations: list[Population], r: int, step: int, inside: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Random subspaces of r dimensions, as many as are affordable on these populations.

        Args:
            populations: whose forms will be computed on them.
            r: dimensions.
            step: a number that tells one kind of them from another.
            inside: an orthonormal basis of a space that they are to lie in.
        """
        mapped = 0 if inside is None else self.d * r * inside.shape[1]
        draws = affordable(self.draws, cost_of(populations, r) + mapped)
        return random_subspaces(self.d, r, draws, [self.seed, step], inside)


def read_head(
    weight: Any, bias: Any, tolerance: float | None, seed: int, draws: int, resamples: int
) -> Head:
    """The head of a matrix and a bias as they arrive.

    Raises:
        ShapeError: a bias that does not fit the matrix.
        NonFiniteError: NaN or infinity in one of them.
        UsageError: no draws or too few resamples.
    """
    check_seed(seed)
    matrix = as_tensor(as_numbers(weight, "weight"))
    shift = (
        matrix.new_zeros(matrix.shape[:1]) if bias is None else as_tensor(as_numbers(bias, "bias"))
    )
    check_rows({"weight": row_names(weight), "bias": row_names(bias)})
    if matrix.ndim != 2 or not matrix.numel() or shift.shape != matrix.shape[:1]:
        raise ShapeError(
            f"weight has shape {tuple(matrix.shape)}, bias {tuple(shift.shape)}; expected "
            "(out, d) and (out,)"
        )
    for name, values in (("weight", matrix), ("bias", shift)):
        if not bool(torch.isfinite(values).all()):
            raise NonFiniteError(f"NaN or infinity in {name}")
    if draws < 1 or resamples < 2:
        raise UsageError(f"{draws} draws and {resamples} resamples; expected 1 and 2 or more")
    if tolerance is not None and not 0 <= tolerance < 1:
        raise UsageError(f"rank_tolerance is {tolerance}; expected from 0 to below 1")
    space = row_space(matrix, rank_tolerance=tolerance)
    columns = column_names(weight)
    return Head(matrix.double(), shift.double(), space, seed, draws, resamples, columns)


def check_frames(
    features: tuple[str, Any], noisy: Mapping[str, Any] | None, others: Mapping[str, Any]
) -> None:
    """Check the names in data frames: of the rows of ``features`` under noise, of all columns.

    Args:
        features: their name in errors, and the features.
        noisy: the same examples by the name of a noise.
        others: further features of the head.

    Raises:
        MismatchError: the same names in another order.
    """
    under = {f"noisy[{name!r}]": each for name, each in (noisy or {}).items()}
    same = dict([features], **under)
    check_rows({name: row_names(each) for name, each in same.items()})
    check_columns({name: column_names(each) for name, each in (same | dict(others)).items()})


def read_features(
    head: Head, values: Any, labels: Any | None, name: str, labels_name: str
) -> tuple[Tensor, Tensor | None]:
    """Features (n, d) in float64 where the head is, and their labels (n,).

    Raises:
        ShapeError: features that the head does not take, or labels that are not one integer each.
        MismatchError: data frames whose rows or columns have the same names in another order.
        NonFiniteError: NaN or infinity in the features.
        DegenerateError: no examples.
    """
    check_rows({name: row_names(values), labels_name: row_names(labels)})
    check_columns({"weight": head.columns, name: column_names(values)})
    f = as_tensor(as_numbers(values, name)).to(head.weight.device)
    if f.ndim != 2 or f.shape[1] != head.d:
        raise ShapeError(
            f"{name} have shape {tuple(f.shape)}, the head {tuple(head.weight.shape)}; expected "
            "(n, d) and (out, d) with the same d"
        )
    if not bool(torch.isfinite(f).all()):
        raise NonFiniteError(f"NaN or infinity in {name}")
    if not len(f):
        raise DegenerateError(f"{name} hold no examples")
    largest = float(f.abs().max())
    if largest > 1e150 or 0 < largest < 1e-150:
        raise NonFiniteError(
            f"{name} are of the order of {largest:.0e}, and their squares do not fit in float64; "
            "scale them"
        )
    if labels is None:
        return f.double(), None
    y = as_labels(labels, labels_name)
    if y.shape != f.shape[:1] or y.is_floating_point():
        raise ShapeError(
            f"{labels_name} have shape {tuple(y.shape)} and type {y.dtype}, {name} {len(f)} rows; "
            "expected an integer for each"
        )
    return f.double(), y
