"""One harvest by several processes: each takes a part of the batches, and one joins them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from repsim.activations.harvesting.harvest import harvest
from repsim.activations.store.parts import join_stores
from repsim.activations.store.reader import ActivationStore
from repsim.errors import StoreError, UsageError
from repsim.files import refuse_existing
from repsim.launch import Processes


class Loader(Protocol):
    """A loader that can be cut between batches."""

    @property
    def batch_size(self) -> int: ...

    @property
    def dataset(self) -> Any: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...

    def part(self, start: int, stop: int) -> Any:
        """The batches from ``start`` to ``stop``."""


def harvest_shard(
    model: nn.Module,
    loader: Loader,
    path: str | os.PathLike[str],
    processes: Processes,
    *,
    compression: str = "none",
    overwrite: bool = False,
    resume: bool = False,
    **options: Any,
) -> ActivationStore:
    """Take this process' part in a harvest, and wait for the store that comes of it.

    The batches are those of a single process, so each row is what it would have given. Every
    process writes a store of its part beside ``path``; the first joins and removes them.

    Args:
        model: the network, the same in every process.
        loader: of all batches.
        path: of the store.
        processes: this one among all.
        compression: of the store.
        overwrite: replace an existing store.
        resume: continue unfinished parts, of as many processes.
        **options: as for ``repsim.harvest``, whose errors are raised.
    """
    path = Path(path)
    options = {**options, "device": processes.device, "resume": resume}
    if processes.world == 1 or (resume and path.exists()):
        return harvest(model, loader, path, compression=compression, overwrite=overwrite, **options)
    refuse_existing(path, overwrite)
    parts = shard_paths(path, processes.world)
    if resume and (others := set(path.parent.glob(f"{path.stem}.part-*")) - _and_unfinished(parts)):
        raise UsageError(
            f"{min(others)} was begun by another number of processes; continue with as many, or "
            "pass --overwrite"
        )
    share = len(loader) / processes.world
    start, stop = round(processes.rank * share), round((processes.rank + 1) * share)
    if start < stop:
        harvest(
            model,
            loader.part(start, stop),
            parts[processes.rank],
            examples=min(stop * loader.batch_size, len(loader.dataset)) - start * loader.batch_size,
            overwrite=overwrite,
            **options,
        ).close()
    try:
        processes.barrier()
    except RuntimeError as error:
        raise StoreError("another process stopped before its part was whole") from error
    if processes.rank == 0:
        join_stores([part for part in parts if part.exists()], path, compression=compression)
        for part in parts:
            part.unlink(missing_ok=True)
    processes.barrier()
    return ActivationStore(path)


def shard_paths(path: Path, world: int) -> list[Path]:
    """The files to which ``world`` processes write their parts of the store ``path``."""
    return [
        path.with_name(f"{path.stem}.part-{rank + 1}-of-{world}{path.suffix}")
        for rank in range(world)
    ]


def _and_unfinished(parts: list[Path]) -> set[Path]:
    return {*parts, *(Path(f"{part}.part") for part in parts)}
