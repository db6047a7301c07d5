"""The examples that a loader gives and their order, as far as it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, Subset

from repsim.errors import UsageError


def sampling_of(loader: Any) -> dict[str, str]:
    """The sampler and batch sampler of a ``DataLoader`` where they are not torch's sequential ones.

    Names of their classes by ``sampler`` and ``batch_sampler``; empty where the examples come in
    the order of the data set, or the loader is another one.
    """
    if not isinstance(loader, DataLoader):
        return {}
    plain = {"sampler": SequentialSampler, "batch_sampler": BatchSampler}
    found = {part: getattr(loader, part, None) for part in plain}
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
    order = getattr(loader, "order", None)
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


def count_examples(loader: Any, examples: int | None = None) -> int:
    """The number of examples that a loader gives, or that were announced.

    Raises:
        UsageError: the loader shuffles, or does not say.
    """
    return _count(loader) if examples is None else _checked(examples)


def _count(loader: Any) -> int:
    sampler = getattr(loader, "sampler", None)
    if isinstance(sampler, torch.utils.data.RandomSampler):
        raise UsageError(
            "the loader shuffles, so its rows could not be matched with another harvest's; pass "
            "shuffle=False, or batches (images, labels, ids) and examples=N"
        )
    if getattr(loader, "drop_last", False):
        return len(loader) * loader.batch_size
    try:
        return len(loader.dataset)
    except (AttributeError, TypeError):
        raise UsageError(
            "the loader does not say how many examples it gives; pass examples=N"
        ) from None


def _checked(examples: Any) -> int:
    if isinstance(examples, bool) or not isinstance(examples, int) or examples < 1:
        raise UsageError(f"examples is {examples!r}; expected a whole number of at least 1")
    return examples
