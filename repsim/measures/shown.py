"""The examples that a stream has shown: how many different ones, and the times that each came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any

from repsim.errors import ShapeError


class Shown:
    """The examples of the batches of a stream, by their ids.

    Attributes:
        rows: examples of all batches, each counted whenever it came.
        beside: rows whose example is in the same batch once more.
    """

    def __init__(self) -> None:
        self.rows = self.beside = 0
        self._times: Counter[Hashable] = Counter()
        self._batches: set[frozenset[Hashable]] = set()
        self._named = True

    def update(self, n: int, ids: Any) -> None:
        """Add a batch of n examples, with a list, an array or a tensor of their ids, or None.

        Raises:
            ShapeError: not one id each.
        """
        named = [] if ids is None else ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if ids is not None and len(named) != n:
            raise ShapeError(
                f"a batch of {n} examples came with {len(named)} ids; expected one each"
            )
        self.rows += n
        self._named &= ids is not None
        self._times.update(named)
        different = frozenset(named)
        self.beside += len(named) - len(different)
        self._batches.add(different)

    def merge(self, other: Shown) -> None:
        self.rows += other.rows
        self.beside += other.beside
        self._named &= other._named
        self._times.update(other._times)
        self._batches |= other._batches

    @property
    def known(self) -> bool:
        """True where every batch came with ids."""
        return self._named

    @property
    def examples(self) -> int:
        """The number of different examples; without ids every one is taken for another."""
        return len(self._times) if self._named else self.rows

    @property
    def passes(self) -> float:
        """The mean number of times that an example came."""
        return self.rows / self.examples

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the spread of the batches.

        The different batches, less the mean number of them that an example is in. A pass in the
        same batches again tells nothing new; one in other batches does.
        """
        return len(self._batches) - sum(map(len, self._batches)) / self.examples

    @property
    def repetition(self) -> float:
        """The variance of a sum over all rows, in units of the sum over as many different examples.

        Σ c² / Σ c of the times c that each example came: 1 where none came twice, k in k passes.
        """
        return sum(c * c for c in self._times.values()) / self.rows
