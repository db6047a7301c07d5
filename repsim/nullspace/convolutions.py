"""The null space of a convolutional or linear layer, among the patches that it reads.

A convolution is a linear layer on patches (Mao et al., Proposition 4, layer by layer): with its
weight as a matrix (out, in kh kw), a patch has a part in the row space and one in the null space,
which no output depends on. Nothing is unfolded here: the energy of all patches in a subspace is the
squared sum of a convolution whose filters are an orthonormal basis of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from repsim.nullspace.subspace import row_space
from repsim.nullspace.windows import Window

if TYPE_CHECKING:
    from jaxtyping import Float

#: Numbers that one step holds at once.
_AT_ONCE = 1 << 24

#: Share of the raw energy below which nothing is said of the energy about the mean, by the type of
#: the convolutions. Their rounding ε is relative to the patches as they are, and so ε |p| / |p - m|
#: of the parts about the mean: three digits are left where that is 1e4, in float64 at 1e6.
MEAN_ROUNDING = {torch.float32: 1e-8, torch.float64: 1e-12}


@dataclass(frozen=True)
class PatchSpace:
    """The row space of a layer's weight, among the patches that its window reads.

    Attributes:
        window: of the layer.
        basis: (groups, in kh kw / groups, k) orthonormal columns for each group, and columns of
            zeros where another group has more. Of the row space or of the null space, whichever is
            smaller; of the type that convolutions are taken in.
        of_null: whether the basis spans the null space.
        rank: of the weight, over all groups.
        dim: numbers in a patch, in kh kw.
    """

    window: Window
    basis: Float[Tensor, "groups d k"]
    of_null: bool
    rank: int
    dim: int

    @property
    def chance(self) -> float:
        """1 - rank / dim, the null space's share of patches of independent numbers."""
        return 1 - self.rank / self.dim

    @property
    def mean_rounding(self) -> float:
        """Share of the raw energy below which the energy about the mean is rounding."""
        return MEAN_ROUNDING[self.basis.dtype]

    def to(self, device: torch.device) -> PatchSpace:
        """The same on a device."""
        return replace(self, basis=self.basis.to(device))

    def filters(self) -> Float[Tensor, "filters d kh kw"]:
        """The basis as filters."""
        return self.basis.transpose(1, 2).flatten(0, 1).unflatten(1, (-1, *self.window.kernel))

    def along(self, patches: Float[Tensor, "n d"]) -> Float[Tensor, "n filters"]:
        """Products of patches with the filters, (n, groups k) float64."""
        parts = patches.unflatten(1, self.basis.shape[:2])
        return torch.einsum("ngd,gdk->ngk", parts, self.basis.double()).flatten(1)


def patch_space(
    weight: Tensor,
    window: Window | None = None,
    *,
    dtype: torch.dtype = torch.float64,
    rank_tolerance: float | None = None,
) -> PatchSpace:
    """The row space of a layer's weight, by singular value decomposition as in ``row_space``.

    Args:
        weight: (out, in / groups, kh, kw) of a convolution, or (out, in) of a linear layer.
        window: of the convolution.
        dtype: that the convolutions of ``patch_energies`` are to be taken in, float32 or float64.
        rank_tolerance: as for ``row_space``, for each group alone.
    """
    window = Window() if window is None else window
    matrices = weight.detach().cpu().flatten(1).chunk(window.groups)
    bases = [row_space(matrix, rank_tolerance=rank_tolerance).basis for matrix in matrices]
    rank, dim = sum(basis.shape[1] for basis in bases), sum(basis.shape[0] for basis in bases)
    of_null = 2 * rank > dim
    if of_null:  # fewer filters; and a small share is not the difference of large energies
        bases = [torch.linalg.qr(b, mode="complete").Q[:, b.shape[1] :] for b in bases]
    most = max(basis.shape[1] for basis in bases)
    padded = [F.pad(basis, (0, most - basis.shape[1])) for basis in bases]
    return PatchSpace(window, torch.stack(padded).to(dtype), of_null, rank, dim)


class Energies(NamedTuple):
    """Squared norms of each example's patches, summed over its positions; (n,) float64 each."""

    null: Float[Tensor, " n"]
    whole: Float[Tensor, " n"]


class Filtered(NamedTuple):
    """Products of each example's patches with the filters of a space, summed over its positions.

    Attributes:
        sums: (n, filters) Σc, with c = bᵀp; float64, as are the next two.
        squares: (n,) Σ|c|², over all filters.
        whole: (n,) Σ|p|².
        positions: of an example.
    """

    sums: Float[Tensor, "n filters"]
    squares: Float[Tensor, " n"]
    whole: Float[Tensor, " n"]
    positions: int

    def energies(self, space: PatchSpace) -> Energies:
        """The energy of the patches, and what of it lies in the null space."""
        return _energies(self.squares, self.whole, space)

    def about(
        self, sums: Float[Tensor, "n d"], means: Float[Tensor, "n d"], space: PatchSpace
    ) -> Energies:
        """Energies of the patches about ``means``: Σ|p - m|² = Σ|p|² + ⟨m, n m - 2 Σp⟩.

        Within the space, the same of their products with the filters. With sums of the patches
        in its place, the rounding of the convolutions would be relative to the patches as they are,
        and could be more than all of the energy about their mean.

        Args:
            sums: of each example's patches.
            means: the patch that is subtracted from each example's.
            space: of the filters.
        """
        m, n = space.along(means), self.positions
        squares = self.squares + (m * (n * m - 2 * self.sums)).sum(1)
        whole = self.whole + (means * (n * means - 2 * sums)).sum(1)
        return _energies(squares, whole, space)


def _energies(squares: Tensor, whole: Tensor, space: PatchSpace) -> Energies:
    """The energies in the null space, by the energies along the basis."""
    whole = whole.clamp(min=0)  # differences about a mean, which rounding takes below 0
    # So it takes a part below 0 and beyond the whole, where nothing or all lies in the space.
    inside = torch.minimum(squares.clamp(min=0), whole)
    return Energies(inside if space.of_null else whole - inside, whole)


def filtered(x: Float[Tensor, "n c h w"], space: PatchSpace) -> Filtered:
    """Filter the patches of ``x`` by the basis of a space.

    Convolutions are taken in the type of the basis; sums are float64.

    Args:
        x: what the layer is given, without its border.
        space: of the layer, on the same device.
    """
    parts = [_filtered(part, space) for part in x.split(_examples_at_once(x, space))]
    sums, squares, whole = (torch.cat(each) for each in zip(*parts, strict=True))
    return Filtered(sums, squares, whole, space.window.positions(x.shape[2:]))


def _examples_at_once(x: Tensor, space: PatchSpace) -> int:
    channels = max(x.shape[1], space.basis.shape[0] * space.basis.shape[2])
    return max(1, _AT_ONCE // max(1, channels * x.shape[2] * x.shape[3]))


def _filtered(x: Tensor, space: PatchSpace) -> tuple[Tensor, Tensor, Tensor]:
    window = space.window
    x = _laid_out(x, window, space.basis.dtype)
    rows, columns = (each.to(x.device) for each in window.taps(x.shape[2:]))
    # How many patches a pixel lies in: so often its square counts.
    whole = x.double().square().sum(1).matmul(columns.sum(0)).matmul(rows.sum(0))
    if not space.basis.shape[2]:
        return whole.new_zeros(len(x), 0), torch.zeros_like(whole), whole
    found = F.conv2d(
        x,
        space.filters(),
        stride=window.stride,
        padding=window.border or 0,
        dilation=window.dilation,
        groups=window.groups,
    ).double()
    return found.sum((2, 3)), found.square().sum((1, 2, 3)), whole


def _laid_out(x: Tensor, window: Window, dtype: torch.dtype) -> Tensor:
    """Maps as ``Window.taps`` wants them: with their border, but where it is zeros all round."""
    x = x.to(dtype, memory_format=torch.contiguous_format)
    return x if window.border is not None else window.padded(x)


def patch_sums(x: Float[Tensor, "n c h w"], window: Window) -> Float[Tensor, "n d"]:
    """The sum of each example's patches, (n, in kh kw) float64.

    Args:
        x: what the layer is given, without its border.
        window: of the layer.
    """
    sums = []
    for part in x.split(max(1, _AT_ONCE // max(1, x[0].numel()))):
        laid = _laid_out(part, window, torch.float64)
        rows, columns = (each.to(x.device) for each in window.taps(laid.shape[2:]))
        across = laid.matmul(columns.T)  # (n, c, h, kw)
        sums.append(rows.matmul(across).flatten(1))
    return torch.cat(sums)
