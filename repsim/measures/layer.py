"""One layer as the engine sees it: rows centred and scaled, and tiles of its Gram matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim.dense import as_floats, as_numbers
from repsim.measures.kernels import RBF, Kernel, squares
from repsim.measures.product import matmul_nt, upper_product
from repsim.measures.tiles import centring, row_sums, upper_tiles
from repsim.sources import ActivationSource

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass
class Layer:
    """A layer of n examples and p features, which enters CKA as K_ij - u_i - u_j.

    Rows are centred, and scaled to mean squared norm 1 (linear kernel) or to bandwidth 1 (RBF); CKA
    depends on neither. That keeps float32 accurate for features whose mean is large beside their
    spread, and far from overflow. Neither estimator of HSIC depends on the shift u; with ``shift``
    from ``centring`` the rows of the Gram matrix sum to zero, and the unbiased HSIC is
    a plain sum of products, in which nothing cancels.

    Attributes:
        mean: (p,) what is subtracted from the rows as they are.
        rest: (p,) what is subtracted from the scaled rows: the part of the mean that its
            rounding left behind.
        scale: what rows are divided by; for RBF, the bandwidth in the layer's own units.
        norms: (n,) float64, squared norms of the rows; of the linear kernel the diagonal.
        shift: (n,) float64, u; None where it is not known before the sweep.
        held: (n, p) centred and scaled rows, where memory allows.
        gram: (n, n) K_ij - u_i - u_j above the diagonal and 0 elsewhere, where memory allows.
        delicate: whether a few rows outweigh the others, or most examples nearly coincide (RBF), so
            that the layer should be computed in float64.
    """

    source: ActivationSource
    name: str
    kernel: Kernel
    n: int
    device: torch.device
    dtype: torch.dtype
    mean: Tensor
    rest: Tensor
    scale: float
    norms: Tensor
    shift: Tensor | None = None
    held: Tensor | None = None
    gram: Tensor | None = None
    delicate: bool = False

    def __post_init__(self) -> None:
        self._eps = torch.finfo(self.dtype).eps

    @property
    def features(self) -> int:
        return self.mean.numel()

    @property
    def noise(self) -> float:
        """Bound on what rounding leaves of an entry of the Gram matrix that should be zero."""
        spread = 1.0
        if isinstance(self.kernel, RBF):
            spread = min(1.0, 0.5 / self.kernel.fraction**2)
        return 8 * self._eps * spread

    def rows(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Rows start..stop, (stop - start, p), centred and scaled, on the device."""
        if self.held is not None:
            return self.held[start:stop]
        raw = read_rows(self.source, self.name, start, stop).to(self.device, self.dtype)
        centred = torch.sub(raw, self.mean, out=out)
        return torch.add(-self.rest, centred, alpha=1 / self.scale, out=centred)

    def tile(self, i: slice, j: slice, out: Tensor) -> None:
        """K_ij - u_i - u_j into ``out``; zero on and below the diagonal of the Gram matrix.

        Args:
            i: rows of the Gram matrix.
            j: columns; the same as ``i``, or beyond them.
            out: (rows of i, columns of j).
        """
        if self.gram is not None:
            out.copy_(self.gram[i, j])
            return
        x = self.rows(i.start, i.stop)
        y = x if i == j else self.rows(j.start, j.stop)
        if i == j:
            upper_product(x, out)
        else:
            matmul_nt(x, y, out)
        if isinstance(self.kernel, RBF):
            out.sub_((squares(x) / 2)[:, None]).sub_(squares(y) / 2)
            self.of_exponents(out)
        if self.shift is not None:
            shift = self.shift.to(out.dtype)
            out.sub_(shift[i, None]).sub_(shift[j])
        if i == j:
            out.triu_(1)

    @property
    def diagonal(self) -> Tensor:
        """K_ii, (n,) float64."""
        if not isinstance(self.kernel, RBF):
            return self.norms
        return torch.full_like(self.norms, float(not self._wide))

    @property
    def _wide(self) -> bool:
        """True if K - 1 is computed in place of K, whose digits a wide kernel would lose."""
        return isinstance(self.kernel, RBF) and self.kernel.fraction >= 1

    def of_exponents(self, exponents: Tensor) -> Tensor:
        """The RBF kernel, less 1 where it is wide, of -|x_i - x_j|² / 2σ², in place."""
        return exponents.expm1_() if self._wide else exponents.exp_()

    # --- what is held in memory

    def hold_gram(self, scratch: Tensor | None, step: int) -> None:
        """Keep the Gram matrix above its diagonal, shifted so that its rows sum to zero.

        Args:
            scratch: room for n p numbers, where the rows lie meanwhile; without it ``step`` of
                them are read at a time, again for each tile.
            step: rows of a tile.
        """
        if scratch is not None:
            self.held = self.rows(0, self.n, out=scratch[: self.n * self.features].view(self.n, -1))
            step = self.n
        self.shift = None  # not before the sums of the rows are known
        K = torch.zeros(self.n, self.n, dtype=self.dtype, device=self.device)
        for i, j in upper_tiles(self.n, step):
            self.tile(i, j, K[i, j])
        self.held = None
        self.hold(K)

    def to(self, device: torch.device) -> None:
        """Go on on ``device`` with what is held."""
        self.device = device
        for name in ("mean", "rest", "norms", "shift", "held", "gram"):
            value = getattr(self, name)
            setattr(self, name, None if value is None else value.to(device))

    def to_float64(self) -> None:
        """Go on in float64 with what is held."""
        self.dtype = torch.float64
        self.held = None if self.held is None else self.held.double()
        self.gram = None if self.gram is None else self.gram.double()

    def hold(self, K: Float[Tensor, "n n"]) -> None:
        """Keep K, given above its diagonal, less the shift that makes its rows sum to zero.

        K is changed in place.
        """
        K.triu_(1)
        self.shift = centring(row_sums(K))
        shift = self.shift.to(K.dtype)
        self.gram = K.sub_(shift[:, None]).sub_(shift).triu_(1)


def read_rows(source: ActivationSource, name: str, start: int, stop: int) -> Tensor:
    """Rows of a layer as a floating tensor (rows, p); halves and integers become float32."""
    rows = as_floats(as_numbers(source.rows(name, start, stop), name))
    return rows.reshape(len(rows), -1)
