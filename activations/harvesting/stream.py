"""Activations on their way from a network to a file, while the network runs on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from queue import Queue
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from repsim.activations.store.direct_io import ALIGNMENT
from repsim.activations.store.format import ExampleRows
from repsim.activations.store.writer import StoreWriter
from repsim.errors import NonFiniteError, RepsimError

#: Bytes that may wait to be written; a layer of one batch always fits.
WAITING_BYTES = 256 << 20

Item = TypeVar("Item")


class Stream:
    """Takes activations as hooks give them and writes them in a thread of its own.

    What is taken is copied at once into memory that is used again and again, so that the network
    may change it, and the hooks wait only when that memory is full. On a CUDA device the copy to
    the host runs beside the next layers.

    Args:
        writer: of the store.
        memory: bytes that may wait to be written.
        device: where the activations are.
    """

    def __init__(self, writer: StoreWriter, memory: int, device: torch.device) -> None:
        self._writer = writer
        self._ring = _Ring(memory, pinned=device.type == "cuda")
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._queue: Queue[_Waiting | Callable[[], None] | None] = Queue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="repsim-writer", daemon=True)

    def put(self, layer: str, values: Tensor, dtype: torch.dtype) -> None:
        """Take rows of a layer, to be stored as ``dtype``."""
        place, buffer = self._ring.take(values.numel() * dtype.itemsize)
        self._raise()
        # As they will lie in the file: the processors that run the network share in bringing them
        # there, while whatever the writer's thread does, one of them does alone.
        held = buffer.view(dtype).view(values.shape)
        if self._copies is None:
            held.copy_(values)
            self._queue.put(_Waiting(layer, held, _total(held), place, None))
            return
        # The network may change the values as soon as this returns, so it leaves with a copy made
        # by its own queue of work; that copy crosses to the host in another queue.
        copied = values.to(dtype, copy=True)
        self._copies.wait_stream(torch.cuda.current_stream(values.device))
        with torch.cuda.stream(self._copies):
            held.copy_(copied, non_blocking=True)
            total = torch.empty((), dtype=torch.float32, pin_memory=True)
            total.copy_(_total(copied), non_blocking=True)
            copied.record_stream(self._copies)
            self._queue.put(_Waiting(layer, held, total, place, self._copies.record_event()))

    def commit(self, examples: ExampleRows) -> None:
        """End a batch: once its rows are written they become part of the file."""
        self._raise()
        self._queue.put(partial(self._writer.commit, examples))

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what was taken; after an error, what is committed stays, the rest is dropped."""
        self._queue.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _write(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                if self._error is not None:
                    pass
                elif isinstance(item, _Waiting):
                    self._writer.write(item.layer, item.array())
                else:
                    item()
            except BaseException as error:
                self._error = error
            finally:
                if isinstance(item, _Waiting):
                    self._ring.give_back(item.place)


@dataclass(frozen=True)
class _Waiting:
    """Rows of a layer on the host, or on their way there."""

    layer: str
    held: Tensor
    total: Tensor
    place: int
    copied: Any

    def array(self) -> np.ndarray:
        """The rows, as a store takes them.

        Raises:
            NonFiniteError: NaN or infinity among them.
        """
        if self.copied is not None:
            self.copied.synchronize()
        # A sum may overflow where no number is infinite, but where one is, the sum is not finite.
        if not bool(self.total.isfinite()) and not bool(torch.isfinite(self.held).all()):
            raise _not_finite(self.layer, self.held)
        bits = self.held.view(torch.uint16) if self.held.dtype == torch.bfloat16 else self.held
        return bits.numpy()


def _total(values: Tensor) -> Tensor:
    return values.sum(dtype=torch.float64 if values.dtype == torch.float64 else torch.float32)


def _not_finite(layer: str, values: Tensor) -> RepsimError:
    if values.dtype == torch.float16:
        return NonFiniteError(
            f"layer {layer!r} gives NaN, infinity, or numbers above 65,504, which float16 cannot "
            "hold; store float32 or bfloat16, or check the network and its input"
        )
    return NonFiniteError(
        f"layer {layer!r} gives NaN or infinity; check the network and its input, or leave the "
        "layer out with --layers"
    )


class _Ring:
    """Memory that is given out in pieces, which come back in the same order."""

    def __init__(self, size: int, *, pinned: bool) -> None:
        self._pinned = pinned
        self._memory = _pages(size, pinned)
        self._given: deque[tuple[int, int]] = deque()
        self._change = threading.Condition()

    def take(self, size: int) -> tuple[int, Tensor]:
        """A piece of ``size`` bytes and its beginning, as soon as there is room."""
        whole = -(-max(size, 1) // ALIGNMENT) * ALIGNMENT
        with self._change:
            if whole > len(self._memory):  # a batch larger than all before it
                self._change.wait_for(lambda: not self._given)
                self._memory = _pages(whole, self._pinned)
            self._change.wait_for(lambda: self._free(whole) is not None)
            start = self._free(whole)
            assert start is not None
            self._given.append((start, start + whole))
        return start, self._memory[start : start + size]

    def give_back(self, place: int) -> None:
        """Take the piece that begins at ``place``, the oldest that is out."""
        with self._change:
            start, _ = self._given.popleft()
            assert start == place
            self._change.notify()

    def _free(self, size: int) -> int | None:
        """A free place of ``size`` bytes, behind the youngest piece or at the start, or None."""
        if not self._given:
            return 0
        first, last = self._given[0][0], self._given[-1][1]
        if last > first:  # what is out lies in one piece
            if last + size <= len(self._memory):
                return last
            last = 0
        return last if last + size <= first else None


def _pages(size: int, pinned: bool) -> Tensor:
    """At least ``size`` bytes of memory that begin on a page, as direct writes need them."""
    whole = -(-size // ALIGNMENT) * ALIGNMENT
    memory = torch.empty(whole + ALIGNMENT, dtype=torch.uint8, pin_memory=pinned)
    skip = -memory.data_ptr() % ALIGNMENT
    return memory[skip : skip + whole]


def ahead(items: Iterator[Item], by: int = 1) -> Generator[Item, None, None]:
    """``items``, each got in another thread while the ones before it are worked on."""
    waiting: Queue[Any] = Queue(by)
    stopped = threading.Event()

    def get() -> None:
        try:
            for item in items:
                waiting.put((item, None))
                if stopped.is_set():
                    return
            waiting.put((None, StopIteration()))
        except BaseException as error:
            waiting.put((None, error))

    thread = threading.Thread(target=get, name="repsim-reader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item
    finally:
        # A thread that is still there when Python ends would take the process down with it.
        stopped.set()
        while thread.is_alive():
            while not waiting.empty():
                waiting.get_nowait()
            thread.join(0.01)
