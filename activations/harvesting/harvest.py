"""From a network and images to a store of every layer's activations."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim._version import __version__
from repsim.activations.capture.batches import (
    batch_size,
    ids_of,
    labels_of,
    mask_of,
    run,
    to_device,
)
from repsim.activations.capture.hooks import Capture, planned
from repsim.activations.capture.modules import unwrap
from repsim.activations.capture.pooling import Pooling, Reduction
from repsim.activations.harvesting.stream import WAITING_BYTES, Stream, ahead
from repsim.activations.store.format import LayerSpec, part_path
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.writer import COMPRESSIONS, StoreWriter, write_store
from repsim.devices import find_device
from repsim.errors import (
    RepsimWarning,
    ShapeError,
    StoreError,
    UsageError,
    choices,
)
from repsim.files import refuse_existing
from repsim.networks.weights import network_digest
from repsim.progress import Progress, silent

#: Number types that a store can be asked to hold.
DTYPES = {each: getattr(torch, each) for each in ("float32", "float16", "bfloat16")}


@dataclass(frozen=True)
class Plan:
    """What a harvest will store, known before it runs.

    Attributes:
        layers: address to what is stored of it, in order of execution.
        n: rows of each layer.
        rows_each: rows that one example gives; 1 unless positions become examples.
    """

    layers: dict[str, LayerSpec]
    n: int
    rows_each: int

    @property
    def bytes(self) -> int:
        """Size of all layers, uncompressed."""
        return self.n * sum(spec.row_bytes for spec in self.layers.values())


def harvest(
    model: nn.Module,
    loader: Iterable[Any],
    path: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: str | Mapping[str, str] = "none",
    dtype: str | None = None,
    compression: str = "none",
    seed: int = 0,
    examples: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress = silent,
) -> ActivationStore:
    """Run a network over a loader and store the activations of its layers.

    Reading, the network and writing run at the same time. Rows are committed batch by batch. A
    harvest that was stopped continues with ``resume``, with the same loader, and gives the same
    bytes as one that was not.

    Args:
        model: any module; wrappers such as ``DataParallel`` are seen through. It runs in evaluation
            mode.
        loader: gives batches in the same order every time: inputs (n, ...), tuples (inputs, labels)
            or (inputs, labels, ids), or dictionaries of the forward's arguments, with ``labels``
            and ``ids`` among them. Without ids the examples are numbered; a loader that shuffles
            must give ids.
        path: of the store; the file appears when it is whole.
        layers: addresses, globs, ``"odd"``, ``"even"``, ``"type:Conv2d"``, ``"depth:1"``; by
            default the layers the network names itself, or its leaf modules.
        pooling: what is kept of a layer, as in ``"avg"``, ``"grid:4+project:512"`` or
            ``"bg1.*=avg,*=none"``; see ``repsim.activations.capture.pooling``.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``; by default what the network computes.
        compression: ``"none"``, ``"lzf"`` or ``"gzip"``.
        seed: of the directions that ``project`` takes.
        examples: how many the loader gives, where ``len(loader.dataset)`` does not say.
        provenance: what to record about the network and the data; JSON values.
        device: where to run; by default where the network lies.
        overwrite: replace an existing store.
        resume: continue an unfinished one; leave a finished one of the same harvest as it is. The
            network, settings and example ids are compared, the inputs are not.
        progress: told the examples done.

    Raises:
        UsageError: the file exists, a layer does not, or the loader shuffles without ids.
        CaptureError: a layer that is never called, or gives no tensor.
        ShapeError: activations whose shape changes, or that a reduction does not fit.
        NonFiniteError: NaN or infinity in a layer.
        StoreError: no room, or an unfinished store of another harvest.
    """
    path, reduce = Path(path), Pooling(pooling)
    _check_choices(dtype, compression)
    refuse_existing(path, overwrite or resume)
    if part_path(path).is_file() and not (resume or overwrite):
        raise UsageError(f"{path} has an unfinished harvest; pass --resume or --overwrite")
    n = _count(loader) if examples is None else _checked(examples)
    model = unwrap(model)
    target = _device_of(model) if device is None else find_device(device)
    recorded = {
        "repsim": __version__,
        "torch": torch.__version__,
        "device": target.type,
        "pooling": str(reduce),
        "dtype": dtype,
        "seed": seed,
        "weights_sha256": network_digest(model),
        **(provenance or {}),
    }
    with closing(ahead(iter(loader))) as batches:
        first = _first(batches)
        recorded["batch_size"] = batch_size(first)
        model.to(target)
        plan = _plan(model, to_device(first, target), layers, reduce, dtype, n)
        recorded["n"] = plan.n
        rows = _Rows(
            plan,
            reduce,
            f"{seed}/{recorded['weights_sha256']}",
            labels_of(first),
            recorded["batch_size"],
        )
        if path.exists() and not overwrite:
            return _finished(path, recorded, plan.layers, rows.ids(first, 0))
        with write_store(
            path,
            n=plan.n,
            layers=plan.layers,
            labelled=rows.labelled,
            heads=_linear_heads(model, list(plan.layers)),
            provenance=recorded,
            resume=resume and not overwrite,
            compression=compression,
        ) as writer:
            _write(model, chain([first], batches), writer, rows, n, target, progress)
    return ActivationStore(path)


def plan_harvest(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: str | Mapping[str, str] = "none",
    dtype: str | None = None,
    examples: int | None = None,
    device: torch.device | str | None = None,
) -> Plan:
    """What ``harvest`` would store: two examples are shown to the network, nothing is written.

    The arguments and errors are those of ``harvest``.
    """
    _check_choices(dtype, "none")
    n = _count(loader) if examples is None else _checked(examples)
    first = _first(iter(loader))
    model = unwrap(model)
    target = _device_of(model) if device is None else find_device(device)
    moved = to_device(first, target)
    return _plan(model.to(target), moved, layers, Pooling(pooling), dtype, n)


def _first(batches: Iterator[Any]) -> Any:
    first = next(batches, None)
    if first is None or not batch_size(first):
        raise UsageError("the loader gave no batch; expected at least one example")
    return first


def _write(
    model: nn.Module,
    batches: Iterable[Any],
    writer: StoreWriter,
    rows: _Rows,
    n: int,
    device: torch.device,
    progress: Progress,
) -> None:
    """Run the network over the batches that are not in the file yet, and write them."""
    begin, each = 0, rows.plan.rows_each
    with (
        Stream(writer, rows.waiting_bytes, device) as stream,
        Capture(model, list(rows.plan.layers), reduce=rows.into(stream)) as capture,
    ):
        for batch in batches:
            end = begin + batch_size(batch)
            ids, labels = rows.ids(batch, begin), rows.labels(batch)
            if end * each <= writer.begun:
                writer.check(ids, begin * each)
            elif begin * each < writer.begun:
                raise StoreError(
                    f"{writer.path} was written in batches of another size; take that of before, "
                    "or pass --overwrite"
                )
            else:
                moved = to_device(batch, device)
                rows.mask = mask_of(moved)
                run(model, moved)
                capture.take(rows.plan.layers)
                stream.commit(ids, labels)
            begin = end
            progress(min(end, n), n, "")


class _Rows:
    """What becomes of the batches of one harvest: rows, ids and labels of the store."""

    def __init__(
        self, plan: Plan, pooling: Pooling, seed: str, labels: np.ndarray | None, batch: int
    ) -> None:
        self.plan = plan
        self.labelled = labels is not None
        #: Memory between the network and the file: room for two of the largest layer's batches.
        self.waiting_bytes = _waiting_bytes(plan, batch)
        self.mask: Tensor | None = None
        self._pooling = pooling
        self._seed = seed
        self._seen: set[str] = set()
        self._warned = False

    def into(self, stream: Stream) -> Callable[[str, Tensor], None]:
        """A hook's reduction: what a layer gives, reduced, goes into the stream."""
        dtypes = {name: getattr(torch, spec.dtype) for name, spec in self.plan.layers.items()}
        reductions = {name: self._pooling.of(name) for name in self.plan.layers}

        def take(layer: str, values: Tensor) -> None:
            self._look_for_padding(layer, values, reductions[layer])
            if dtypes[layer] == torch.float32:
                values = values.float()  # halves are reduced in what they are stored as
            reduced = reductions[layer](values, mask=self.mask, layer=layer, seed=self._seed)
            reduced = reduced.unsqueeze(1) if reduced.ndim == 1 else reduced
            expected = self.plan.layers[layer].shape
            if tuple(reduced.shape[1:]) != expected:
                raise ShapeError(
                    f"layer {layer!r} gives {tuple(reduced.shape[1:])} for an example of this "
                    f"batch, {expected} before; bring the inputs to one size, or reduce the layer "
                    "with --pooling avg, cls or last"
                )
            stream.put(layer, reduced, dtypes[layer])

        return take

    def ids(self, batch: Any, begin: int) -> list[str]:
        """An id for every row of a batch, whose first example is number ``begin``."""
        count = batch_size(batch)
        given = ids_of(batch)
        ids = list(map(str, range(begin, begin + count))) if given is None else given
        for each in ids:
            if each in self._seen:
                raise UsageError(f"example id {each!r} comes twice; expected an id of its own each")
            self._seen.add(each)
        if self.plan.rows_each == 1:
            return ids
        return [f"{each}#{k}" for each in ids for k in range(self.plan.rows_each)]

    def labels(self, batch: Any) -> np.ndarray | None:
        """A class for every row of a batch, or None."""
        labels = labels_of(batch)
        if (labels is not None) != self.labelled:
            raise UsageError(
                f"the first batch came {'with' if self.labelled else 'without'} labels and a later "
                "one did not do so; expected labels with all or with none"
            )
        return None if labels is None else labels.repeat(self.plan.rows_each)

    def _look_for_padding(self, layer: str, values: Tensor, reduction: Reduction) -> None:
        if self.mask is None or self._warned or reduction.pools:
            return
        if values.ndim == 3 and values.shape[:2] == self.mask.shape and not bool(self.mask.all()):
            self._warned = True
            warnings.warn(
                f"layer {layer!r} is stored with the tokens that are padding; --pooling avg, cls "
                "or last leaves them out",
                RepsimWarning,
                stacklevel=2,
            )


def _plan(
    model: nn.Module,
    batch: Any,
    layers: str | Sequence[str] | None,
    pooling: Pooling,
    dtype: str | None,
    n: int,
) -> Plan:
    specs: dict[str, LayerSpec] = {}
    rows: dict[str, int] = {}
    found = planned(model, batch, layers)
    pooling.check(found)
    for name, traced in found.items():
        # Shapes are all that is asked for, and a tensor without numbers has those.
        reduced = pooling.of(name)(
            torch.empty(traced.shape, dtype=traced.dtype, device="meta"), layer=name
        )
        stored = dtype or str(traced.dtype).removeprefix("torch.")
        specs[name] = LayerSpec(traced.module, tuple(reduced.shape[1:]) or (1,), stored)
        rows[name] = len(reduced) // traced.shape[0]
    (first, rows_each), *others = rows.items()
    for other, count in others:
        if count != rows_each:
            raise ShapeError(
                f"layer {first!r} gives {rows_each} rows an example, {other!r} gives {count}; for "
                "positions, choose layers of one size, or bring them to one: grid:K+positions"
            )
    return Plan(specs, n * rows_each, rows_each)


def _waiting_bytes(plan: Plan, batch: int) -> int:
    largest = max(spec.row_bytes for spec in plan.layers.values()) * batch * plan.rows_each
    return max(min(WAITING_BYTES, plan.bytes), 2 * largest)


def _check_choices(dtype: str | None, compression: str) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; {choices(dtype, DTYPES)}")
    if compression not in COMPRESSIONS:
        raise UsageError(
            f"unknown compression {compression!r}; {choices(compression, COMPRESSIONS)}"
        )


def _finished(
    path: Path, recorded: Mapping[str, Any], layers: Mapping[str, LayerSpec], ids: Sequence[str]
) -> ActivationStore:
    """The store at ``path``, if it is what this harvest would make, as far as its record says."""
    store = ActivationStore(path)
    before = store.provenance()
    changed = [key for key in recorded if before.get(key) != json.loads(json.dumps(recorded[key]))]
    if set(layers) != set(store.layers):
        changed.append("layers")
    if [each.decode() for each in store.example_ids[: len(ids)]] != list(ids):
        changed.append("example ids")
    if changed:
        store.close()
        raise StoreError(
            f"{path} is of another harvest: {', '.join(changed)} differ; pass --overwrite to "
            "replace it"
        )
    return store


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


def _device_of(model: nn.Module) -> torch.device:
    return next(iter(model.parameters()), torch.empty(0)).device


def _linear_heads(model: nn.Module, layers: list[str]) -> dict[str, dict[str, Any]]:
    """The linear head of a network that says which layer feeds it, for null-space work."""
    source = getattr(model, "head_input", None)
    head = getattr(model, "head", None)
    if source not in layers or not isinstance(head, nn.Linear):
        return {}
    bias = None if head.bias is None else head.bias.detach().cpu().numpy()
    weight = head.weight.detach().cpu().numpy()
    return {"head": {"weight": weight, "bias": bias, "input": source}}
