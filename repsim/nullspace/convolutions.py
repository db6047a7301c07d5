"""The null space of a convolutional or linear layer, among the patches that it reads.

A convolution is a linear layer on patches (Mao et al., Proposition 4, layer by layer): with its
weight as a matrix (out, in kh kw), a patch has a part in the row space and one in the null space,
which no output depends on. Nothing is unfolded here: the energy of all patches in a subspace is the
squared sum of a convolution whose filters are an orthonormal basis of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from repsim.nullspace.subspace import row_space
from repsim.nullspace.windows import Window

#: Numbers that one step holds at once.
_AT_ONCE = 1 << 24

#: Share of the raw energy that rounding leaves about the mean where all patches are the same.
MEAN_ROUNDING = 1e-12


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

    def to(self, device: torch.device) -> PatchSpace:
        """The same on a device."""
        return replace(self, basis=self.basis.to(device))

    def filters(self) -> Float[Tensor, "filters d kh kw"]:
        """The basis as filters."""
        return self.basis.transpose(1, 2).flatten(0, 1).unflatten(1, (-1, *self.window.kernel))

    def within(self, patches: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The part of patches that lies in the space of the basis."""
        parts = patches.unflatten(1, self.basis.shape[:2])
        basis = self.basis.double()
        return torch.einsum("ngd,gdk,gek->nge", parts, basis, basis).flatten(1)


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
    positions: int


def patch_energies(x: Float[Tensor, "n c h w"], space: PatchSpace) -> Energies:
    """The energy of the patches of ``x``, and what of it lies in the null space.

    Convolutions are taken in the type of the basis; sums are float64.

    Args:
        x: what the layer is given, without its border.
        space: of the layer, on the same device.
    """
    parts = [_energies(part, space) for part in x.split(_examples_at_once(x, space))]
    null, whole = (torch.cat(each) for each in zip(*parts, strict=True))
    return Energies(null, whole, space.window.positions(x.shape[2:]))


def _examples_at_once(x: Tensor, space: PatchSpace) -> int:
    channels = max(x.shape[1], space.basis.shape[0] * space.basis.shape[2])
    return max(1, _AT_ONCE // max(1, channels * x.shape[2] * x.shape[3]))


def _energies(x: Tensor, space: PatchSpace) -> tuple[Tensor, Tensor]:
    window = space.window
    x = _laid_out(x, window, space.basis.dtype)
    rows, columns = (each.to(x.device) for each in window.taps(x.shape[2:]))
    # How many patches a pixel lies in: so often its square counts.
    whole = x.double().square().sum(1).matmul(columns.sum(0)).matmul(rows.sum(0))
    inside = torch.zeros_like(whole)
    if space.basis.shape[2]:
        found = F.conv2d(
            x,
            space.filters(),
            stride=window.stride,
            padding=window.border or 0,
            dilation=window.dilation,
            groups=window.groups,
        )
        inside = found.double().square().sum((1, 2, 3))
    return inside if space.of_null else whole - inside, whole


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


def about(
    energies: Energies,
    sums: Float[Tensor, "n d"],
    means: Float[Tensor, "n d"],
    space: PatchSpace,
) -> Energies:
    """Energies of the same patches about ``means``: Σ|p - m|² = Σ|p|² - 2⟨m, Σp⟩ + positions |m|².

    Args:
        energies: of the patches as they are.
        sums: of each example's patches.
        means: the patch that is subtracted from each example's.
        space: of the layer.
    """
    inside = space.within(means)
    null = inside if space.of_null else means - inside
    n = energies.positions
    return Energies(
        energies.null + (null * (n * null - 2 * sums)).sum(1),
        energies.whole + (means * (n * means - 2 * sums)).sum(1),
        n,
    )
