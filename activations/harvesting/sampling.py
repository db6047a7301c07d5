"""The examples that a loader gives and their order, as far as it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
)

from repsim.activations.capture.batches import ids_of, inputs_of
from repsim.activations.capture.reading import attribute, measuring, read
from repsim.errors import UsageError

#: Attributes of loaders that take their batches from another one.
_INNER = ("loader", "dataloader", "base_dataloader", "_loader", "_dataloader")


def sampling_of(loader: Any) -> dict[str, str]:
    """The sampler and batch sampler of a ``DataLoader`` where they are not torch's sequential ones.

    Names of their classes by ``sampler`` and ``batch_sampler``; empty where the examples come in
    the order of the data set, or the loader is another one.
    """
    if not isinstance(loader, DataLoader):
        return {}
    plain = {"sampler": SequentialSampler, "batch_sampler": BatchSampler}
    found = {part: attribute(loader, part) for part in plain}
    return {
        part: type(each).__name__
        for part, each in found.items()
        if each is not None and type(each) is not plain[part]
    }


def order_of(loader: Any, n: int) -> np.ndarray | None:
    """The place in its data set of each of the n examples that a loader gives, int64 (n,).

    Known of a loader with an attribute ``order``, and of torch's where a ``Subset`` is read from
    its beginning, or the sampler is a list. None where the loader does not say.
    """
    order = attribute(loader, "order")
    if order is None and isinstance(loader, DataLoader):
        order = _order_of_dataloader(loader)
    if order is None:
        return None
    places = np.asarray(order)
    fits = places.ndim == 1 and places.dtype.kind in "iu" and len(places) >= n
    return places[:n].astype(np.int64) if fits else None


def _order_of_dataloader(loader: DataLoader[Any]) -> Sequence[int] | None:
    if type(loader.batch_sampler) is not BatchSampler:
        return None
    sampler = loader.sampler
    if isinstance(sampler, SequentialSampler) and isinstance(loader.dataset, Subset):
        return loader.dataset.indices
    return sampler if isinstance(sampler, (list, tuple, range)) else None


def check_rows(loader: Any, first: Any = None) -> None:
    """Check that rows without ids come in a known order: then their numbers tell them apart.

    Samplers and batch samplers are looked at, also those of a loader within another one.

    Args:
        loader: of the batches.
        first: a batch of it; one with ids may come in any order.

    Raises:
        UsageError: examples without ids come in an order that is not known to be sequential.
    """
    if (repeating := _repeats(loader)) is not None:
        raise UsageError(
            f"the loader draws its examples by a {repeating} with replacement, which gives some of "
            "them twice and others never; pass one without that sampler"
        )
    if first is not None and ids_of(first) is not None:
        return
    if (reason := _disorder(loader)) is not None:
        raise UsageError(
            f"the loader {reason[0]}, so that rows could not be told apart by their number; "
            f"{reason[1]}, or give batches (inputs, labels, ids)"
        )


def check_repeats(loader: Any) -> None:
    """Check that a loader of unknown order begins with the same batch each time.

    Loaders whose order is known, and those that can be read only once, are left alone; so are
    batches with ids.

    Raises:
        UsageError: it begins with other inputs.
    """
    known = isinstance(loader, (Sequence, Iterator, Tensor)) or _is_map(loader)
    if known or _disorder(loader) is not None:
        return
    twice = [next(read(loader), None) for _ in range(2)]
    if twice[0] is None or ids_of(twice[0]) is not None:
        return
    if not _equal(*map(inputs_of, twice)):
        raise UsageError(
            "the loader gives other inputs when it is read again: it shuffles or augments, so that "
            "rows could not be told apart by their number; pass one that repeats, or batches "
            "(inputs, labels, ids)"
        )


def _is_map(loader: Any) -> bool:
    """True for torch's loader of a data set that is read by place."""
    return isinstance(loader, DataLoader) and not isinstance(loader.dataset, IterableDataset)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return np.array_equal(np.asarray(a), np.asarray(b))


def _disorder(loader: Any) -> tuple[str, str] | None:
    """The reason why a loader may give its examples in another order, and the remedy, if any."""
    for each in _loaders(loader):
        for part in _samplers(each):
            if not _is_sequential(part):
                return f"draws its examples by a {type(part).__name__}", _remedy(part)
        if attribute(each, "num_workers") and attribute(each, "in_order") is False:
            return "takes batches as its workers finish (in_order=False)", "pass in_order=True"
    return None


def _remedy(sampler: Any) -> str:
    """The way to a loader in order, from one that draws by a sampler."""
    if type(sampler) is RandomSampler and not sampler.replacement:
        return "pass one without shuffle=True and without that sampler"
    return "pass one without that sampler (shuffle=False leaves a sampler in place)"


def _repeats(loader: Any) -> str | None:
    """The name of a sampler that may draw an example twice; None where there is none."""
    drawn = [part for each in _loaders(loader) for part in _samplers(each)]
    found = (part for part in drawn if getattr(part, "replacement", False) is True)
    return next((type(part).__name__ for part in found), None)


def _loaders(loader: Any) -> list[Any]:
    """A loader, and those within it that it takes its batches from."""
    found = [loader]
    for each in found:
        inner = [attribute(each, name) for name in _INNER]
        found += [one for one in inner if one is not None and all(one is not f for f in found)]
    return found


def _samplers(loader: Any) -> list[Any]:
    parts = [attribute(loader, name) for name in ("batch_sampler", "sampler", "_index_sampler")]
    parts += [attribute(part, "sampler") for part in parts]
    return [part for part in parts if part is not None]


def _is_sequential(sampler: Any) -> bool:
    """True where places follow one another from 0, or the data set itself deals the examples."""
    if isinstance(sampler, (list, tuple, range, np.ndarray)):
        places = [place for each in sampler for place in np.atleast_1d(each).tolist()]
        return places == list(range(len(places)))
    step = type(sampler).__iter__ if hasattr(type(sampler), "__iter__") else None
    own = (SequentialSampler.__iter__, BatchSampler.__iter__)
    return step in own or type(sampler).__name__ == "_InfiniteConstantSampler"


def count_examples(loader: Any, examples: int | None = None) -> int:
    """The number of examples that a loader gives, or that were announced.

    Raises:
        UsageError: the loader shuffles, or does not say.
    """
    return _count(loader) if examples is None else _checked(examples)


def _count(loader: Any) -> int:
    sampler = attribute(loader, "sampler")
    if isinstance(sampler, RandomSampler):
        raise UsageError(
            "the loader shuffles, so its rows could not be matched with another harvest's; pass "
            "one without shuffle=True and without a RandomSampler, or batches (inputs, labels, "
            "ids) and examples=N"
        )
    if attribute(loader, "drop_last"):
        return len(loader) * loader.batch_size
    with measuring():
        try:
            return len(loader.dataset)
        except (AttributeError, TypeError, NotImplementedError):
            raise UsageError(
                "the loader does not say how many examples it gives; pass examples=N, the sum over "
                "its batches"
            ) from None


def _checked(examples: Any) -> int:
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
        raise UsageError(f"examples is {examples!r}; expected a whole number of at least 1")
    return examples
