"""What a convolutional or linear layer can and cannot see of the patches that it reads.

A convolution is a linear layer on patches (Mao et al., Proposition 4, layer by layer): with its
weight as a matrix (out, in kh kw), a patch has a part in the row space and one in the null space,
which no output depends on. Nothing is unfolded here: the energy of all patches in a subspace is the
squared sum of a convolution whose filters are an orthonormal basis of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from repsim.errors import ShapeError
from repsim.nullspace import row_space

#: Numbers that one step holds at once.
_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Window:
    """Which patches of a map a layer reads, in the words of ``torch.nn.Conv2d``.

    Without arguments that of a linear layer on maps (n, features, positions, 1).

    Attributes:
        kernel: height and width.
        stride: down and right.
        dilation: down and right.
        padding: left, right, top and bottom, as ``torch.nn.functional.pad`` takes them.
        mode: what is padded with: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        groups: into which the channels are divided.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    mode: str = "zeros"
    groups: int = 1

    def positions(self, size: Sequence[int]) -> int:
        """Patches in a map of this height and width, without its border."""
        left, right, top, bottom = self.padding
        rows, columns = (
            _positions(*each)
            for each in zip(
                (size[0] + top + bottom, size[1] + left + right),
                self.kernel,
                self.stride,
                self.dilation,
                strict=True,
            )
        )
        return rows * columns

    def padded(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Maps with their border."""
        if not any(self.padding):
            return x
        return F.pad(x, self.padding, mode="constant" if self.mode == "zeros" else self.mode)

    @property
    def border(self) -> tuple[int, int] | None:
        """Rows above and below, and columns to either side, where they are zeros, as many each."""
        left, right, top, bottom = self.padding
        plain = self.mode == "zeros" and left == right and top == bottom
        return (top, left) if plain else None

    def taps(self, size: Sequence[int]) -> tuple[Float[Tensor, "kh h"], Float[Tensor, "kw w"]]:
        """For each row of the kernel, and each column, on which of a map's it is laid how often.

        Of a map without its border where that is ``border``, which adds nothing to sums; with it
        elsewhere.
        """
        down, right = self.border or (0, 0)
        rows, columns = (
            _taps(length + 2 * edge, *each)[:, edge : edge + length]
            for length, edge, *each in zip(
                size, (down, right), self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return rows, columns


def _positions(size: int, kernel: int, stride: int, dilation: int) -> int:
    return (size - dilation * (kernel - 1) - 1) // stride + 1


def _taps(size: int, kernel: int, stride: int, dilation: int) -> Tensor:
    positions = _positions(size, kernel, stride, dilation)
    at = stride * torch.arange(positions) + dilation * torch.arange(kernel)[:, None]
    return torch.zeros(kernel, size, dtype=torch.float64).scatter_(1, at, 1.0)


@dataclass(frozen=True)
class PatchSpace:
    """The row space of a layer's weight, among the patches that its window reads.

    Attributes:
        window: of the layer.
        basis: (groups, in kh kw / groups, k) orthonormal columns for each group, and columns of
            zeros where another group has more. Of the row space or of the null space, whichever is
            smaller; of the type that convolutions are taken in.
        of_null: whether the basis is that of the null space.
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


#: Of the raw energy: what rounding leaves of ``about`` the mean where all patches are the same.
ROUNDING = 1e-12


class Share(NamedTuple):
    """A ratio of sums over examples, and a 95 % interval of it."""

    value: float
    low: float
    high: float


def share(
    part: Float[Tensor, " n"], whole: Float[Tensor, " m"], *, negligible: float = 0.0
) -> Share:
    """Σ part / Σ whole, with an interval over examples by the delta method.

    The variance of a ratio estimator is n / (n - 1) Σ (part - R whole)² / (Σ whole)² for
    independent examples (Cochran 1977, section 2.11); the interval is R ± 1.96 standard errors. It
    may reach beyond 0 and 1. Energies about a mean may be taken as if the mean were known: what its
    estimation adds is of second order, since the mean is where they are smallest.

    Args:
        part: energy of each example in the part.
        whole: its energy.
        negligible: what rounding may leave of energies about a mean that are zero.

    Returns:
        NaN where the whole is zero or negligible; for a single example the interval is.
    """
    n, total = len(whole), float(whole.sum())
    if len(part) != n:
        raise ShapeError(f"{len(part)} parts of {n} wholes; expected one of each for each example")
    if not total > negligible:
        return Share(*[float("nan")] * 3)
    value = float(part.sum()) / total
    if n < 2:
        return Share(value, float("nan"), float("nan"))
    squares = float((part - value * whole).square().sum())
    reach = NormalDist().inv_cdf(0.975) * (n / (n - 1) * squares) ** 0.5 / total
    return Share(value, value - reach, value + reach)
