"""Two sources on the examples that both have, by their ids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from repsim.comparable import is_numbered, shared_places
from repsim.data.targets import Target
from repsim.sources import ActivationSource, as_source

#: Rows that are not wanted, and that are read with those around them all the same.
_GAP = 16


class Common(NamedTuple):
    """Two sources of the same examples, in the order of the first.

    Attributes:
        a: the examples of the first source that the second has too.
        b: the same of the second.
    """

    a: SharedRows
    b: SharedRows

    def record(self) -> dict[str, Any]:
        """The number of examples that both have, and of those left out of each."""
        names = [self.a.name, self.b.name]
        return {"n": self.a.n, "left_out": [self.a.left_out, self.b.left_out], "names": names}


def common_examples(a: Any, b: Any) -> Common:
    """Two sources on the examples whose ids both have, in the order of the first.

    Rows are read as they are asked for. Functions that compare sources take what is returned as any
    other, and check labels and digests of the examples: ``repsim.cka_map(*common_examples(a, b))``.

    Args:
        a: an ``ActivationSource`` with example ids, such as an open store.
        b: another.

    Returns:
        The two, each with ``left_out``, the number of its other examples.

    Raises:
        MismatchError: no ids, none in common, one that comes twice, or ids that are numbers of rows
            in both with nothing to tell that these are the same examples.
    """
    a, b = as_source(a, "a"), as_source(b, "b")
    of_a, of_b = shared_places(a, b)
    ids = np.asarray(a.example_ids)[of_a]
    return Common(SharedRows(a, of_a, ids), SharedRows(b, of_b, ids))


class SharedRows:
    """Some rows of a source, in an order of their own; an ``ActivationSource``.

    Args:
        source: that has the rows.
        places: of the rows in it, (n,).
        ids: of the examples, (n,).
    """

    def __init__(self, source: ActivationSource, places: np.ndarray, ids: np.ndarray) -> None:
        self._source = source
        self._places = places
        self._ids = ids

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def layers(self) -> tuple[str, ...]:
        return self._source.layers

    @property
    def n(self) -> int:
        return len(self._places)

    @property
    def example_ids(self) -> np.ndarray:
        return self._ids

    @property
    def left_out(self) -> int:
        """The number of rows of the source that are not among these."""
        return self._source.n - self.n

    @property
    def path(self) -> Any:
        """Of the source; None of one that is no file."""
        return getattr(self._source, "path", None)

    @property
    def device(self) -> torch.device:
        """The device to compute on."""
        found: torch.device = getattr(self._source, "device", torch.device("cpu"))
        return found

    @property
    def numbered(self) -> bool:
        """True if the ids are numbers of the rows of the source."""
        return is_numbered(self._source)

    @property
    def target(self) -> str:
        """Name of the target that ``labels`` are of; empty where there is none."""
        return str(getattr(self._source, "target", ""))

    @cached_property
    def labels(self) -> np.ndarray | None:
        """(n,) class of each example, or None."""
        return self._of_rows("labels")

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """The targets of the examples."""
        places = torch.from_numpy(self._places)
        found = getattr(self._source, "targets", ())
        return tuple(replace(each, values=each.values[places]) for each in found)

    @cached_property
    def inputs(self) -> np.ndarray | None:
        """(n,) digest of the inputs of each example, or None."""
        return self._of_rows("inputs")

    @cached_property
    def order(self) -> np.ndarray | None:
        """(n,) place of each example in its data set, or None."""
        return self._of_rows("order")

    def _of_rows(self, name: str) -> np.ndarray | None:
        values = getattr(self._source, name, None)
        return None if values is None else np.asarray(values)[self._places]

    def rows(self, layer: str, start: int, stop: int) -> Any:
        """Rows ``start`` to ``stop`` of a layer; of the source, no more than about these."""
        places = self._places[start:stop]
        first = int(places[0]) if len(places) else 0
        if np.array_equal(places, np.arange(first, first + len(places))):
            return self._source.rows(layer, first, first + len(places))
        order = np.argsort(places)
        like = self._source.rows(layer, 0, 0)
        found = _empty(like, len(places))
        for run in _runs(places[order]):
            at = places[order[run]]
            read = self._source.rows(layer, int(at[0]), int(at[-1]) + 1)
            found[order[run]] = read[at - at[0]]
        return found

    def provenance(self) -> dict[str, Any]:
        """That of the source, and how many of its examples these are."""
        return {
            **self._source.provenance(),
            "common": {"n": self.n, "left_out": self.left_out},
        }


def _empty(like: Any, n: int) -> Any:
    """Memory for ``n`` rows of a layer."""
    shape = (n, *like.shape[1:])
    return like.new_empty(shape) if isinstance(like, torch.Tensor) else np.empty(shape, like.dtype)


def _runs(places: np.ndarray) -> Iterator[slice]:
    """Runs of rising places that are read at once: close together, and none of more than all."""
    begin = 0
    for k in range(1, len(places)):
        apart = places[k] - places[k - 1] > _GAP
        if apart or places[k] - places[begin] >= len(places):
            yield slice(begin, k)
            begin = k
    yield slice(begin, len(places))
