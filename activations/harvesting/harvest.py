"""From a network and images to a store of every layer's activations."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repsim._version import __version__
from repsim.activations.capture.arguments import label_arguments, warn_of_new, warn_of_unused
from repsim.activations.capture.batch_axis import (
    BatchAxis,
    BatchAxisLike,
    Lengths,
    find_batch_axis,
)
from repsim.activations.capture.batches import batch_size, filled, telling, to_device
from repsim.activations.capture.digests import batch_digests
from repsim.activations.capture.faults import FIRST_BATCH, running
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.layer_masks import LayerMasks
from repsim.activations.capture.mask_rules import MaskRules
from repsim.activations.capture.modules import place, unwrap
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.reading import attribute, read
from repsim.activations.capture.returned import returned_head
from repsim.activations.capture.shifted import warn_of_shifted_positions
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.plan import HarvestPlan, check_choices, plan_layers
from repsim.activations.harvesting.rows import HarvestRows
from repsim.activations.harvesting.sampling import (
    check_repeats,
    check_rows,
    count_examples,
    order_of,
    sampling_of,
)
from repsim.activations.harvesting.stream import Stream, ahead
from repsim.activations.harvesting.token_rows import token_rows
from repsim.activations.harvesting.verification import check_first_batch
from repsim.activations.store.changes import INCIDENTAL, changed_keys, differing
from repsim.activations.store.format import LayerSpec, part_path
from repsim.activations.store.reader import ActivationStore, closed_by_errors
from repsim.activations.store.unfinished import provenance_of
from repsim.activations.store.writer import StoreWriter, remove_left, write_store
from repsim.ambient import full_precision
from repsim.errors import StoreError, UsageError
from repsim.files import refuse_existing
from repsim.networks.heads import find_head, head_input, linear_layers
from repsim.networks.weights import network_digest
from repsim.progress import Progress, notebook_bar

#: Provenance that stores of versions 1 and 2 do not have: they are not asked about it.
_SINCE_VERSION_3 = ("allowed", "axes", "batch_axis", "files", "image_size", "sampling")

_TOO_MANY = (
    "pass examples=N with the number that the loader gives, and of one that does not end a part of "
    "its batches, as itertools.islice(loader, batches) is"
)

_NO_BATCH = "the loader gave no batch; expected at least one example"


@dataclass(frozen=True)
class _Choices:
    """The choices that decide the layers and rows of a harvest.

    Attributes:
        layers: addresses or patterns.
        pooling: of the layers.
        masks: of padding, as far as they are told.
        dtype: of the stored numbers; None for each layer's own.
        allowed: dependences of the network that are no reason to refuse it.
    """

    layers: str | Sequence[str] | None
    pooling: PoolingRules
    masks: MaskRules
    dtype: str | None
    allowed: Allowed

    @property
    def beside(self) -> set[str]:
        """Entries of a batch that the pooling or the rules of padding take for masks."""
        return {*self.pooling.masks, *self.masks.names}


@full_precision()
def harvest(
    model: nn.Module,
    loader: Iterable[Any],
    path: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: str | Mapping[str, str] = "none",
    masks: str | Mapping[str, str] = "",
    dtype: str | None = None,
    compression: str = "none",
    seed: int = 0,
    examples: int | None = None,
    name: str | None = None,
    head: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    progress: Progress = notebook_bar,
    planned: Callable[[HarvestPlan], None] | None = None,
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
            and ``ids`` among them. Without ids the examples are numbered; a loader whose order is
            not known to be sequential must give ids.
        path: of the store; the file appears when it is whole.
        layers: addresses, globs, ``"odd"``, ``"even"``, ``"type:Conv2d"``, ``"depth:1"``, or in
            transformers short names such as ``"resid.3"``; by default the layers the network names
            itself, or its leaf modules.
        pooling: what is kept of a layer, as in ``"avg"``, ``"grid:4+project:512"`` or
            ``"bg1.*=avg,*=none"``; see ``repsim.activations.capture.pooling``.
        masks: entries of the batches that mark padding, by layers, where their names do not say so:
            ``"decoder.*=lengths,vision.*=none"`` or a dictionary; ``NAME:tokens``,
            ``NAME:padding``, ``NAME:lengths`` or ``NAME:negative`` says what marks padding.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``; by default what the network computes.
        compression: ``"none"``, ``"lzf"`` or ``"gzip"``.
        seed: of the directions that ``project`` takes.
        examples: how many the loader gives, where ``len(loader.dataset)`` does not say.
        name: what to call the network in results, tables and figures; by default the name of the
            file.
        head: address of the linear head, whose weights are stored where the layer that feeds it is;
            by default ``head``, ``fc`` or ``classifier``, else the linear layer whose output the
            network returns.
        provenance: what to record about the network and the data; JSON values.
        device: where to run; by default where the network lies.
        overwrite: replace an existing store.
        resume: continue an unfinished one; leave a finished one of the same harvest as it is. The
            network, settings, example ids and inputs are compared, as far as they are stored; the
            first batch of a finished one runs again, and its values are compared.
        allow_random: store a network that is random; otherwise it is refused.
        allow_batch: store a network whose activations of an example depend on its batch, or on
            batches before it; otherwise it is refused.
        allow_grad: let the network compute gradients in its forward, as one that gives forces of an
            energy does. It needs more memory.
        batch_axis: axis that holds the examples, of the inputs and of layers that do not say; or
            pairs of pattern and axis, as ``"@input:src=1,encoder.*=1"`` or ``{"@input": 1}``. By
            default as the modules say that have ``batch_first``, otherwise the first; ``resume``
            takes what was said before.
        progress: told the examples done.
        planned: told the layers and rows, and so the size of the store, before it is written.

    Raises:
        UsageError: the file exists, a layer does not, or the loader shuffles without ids.
        CaptureError: a layer that is never called, or gives no tensor; a network that is no
            function of the example, see ``check_function``; or an error of the network's or the
            loader's own code, which is its cause.
        ShapeError: activations whose shape changes, that a reduction does not fit, or that are
            averaged where nothing says which axis holds the channels.
        NonFiniteError: NaN or infinity in a layer.
        StoreError: no room, or an unfinished store of another harvest.
    """
    path, allowed = Path(path), Allowed(allow_random, allow_batch, allow_grad)
    choices = _Choices(layers, PoolingRules(pooling), MaskRules(masks), dtype, allowed)
    check_choices(dtype, compression)
    refuse_existing(path, overwrite or resume)
    if part_path(path).is_file() and not (resume or overwrite):
        raise UsageError(f"{path} has an unfinished harvest; pass --resume or --overwrite")
    chosen = _chosen_axis(path, batch_axis, resume and not overwrite)
    n = count_examples(loader, examples)
    model = unwrap(model)
    target = place(model, device)
    named = {key: each for key, each in (("network", name), ("head", head)) if each is not None}
    find_head(model, head)  # a wrong address is refused before anything runs
    recorded = _record(model, loader, choices, seed, target) | named | dict(provenance or {})
    check_repeats(loader)
    with ExitStack() as stack:
        batches = stack.enter_context(closing(ahead(read(loader))))
        axis, first = _first(batches, loader, model, target, chosen, choices)
        stack.enter_context(axis.fed(model))
        kept = stack.enter_context(Unchanged(model))
        shown, every = telling(chain([first], map(axis.examples_first, batches)), batch_size)
        shown = to_device(shown, target)
        plan, padding = _plan(model, shown, loader, choices, n, kept, axis)
        recorded |= {"batch_size": batch_size(first), **_record_of_layers(plan, axis)}
        if padded := padding.unread(plan.layers, choices.pooling):
            recorded["padding"] = padded
        rows = HarvestRows(
            plan,
            choices.pooling,
            f"{seed}/{recorded['weights_sha256']}",
            first,
            attribute(loader, "dataset"),
            order=order_of(loader, n),
            label_arguments=label_arguments(model),
            masks=padding,
        )
        if path.exists() and not overwrite:
            return _finished(path, recorded, rows, model, first, target, allowed)
        if planned is not None:
            planned(plan)
        with write_store(
            path,
            n=plan.n,
            layers=plan.layers,
            examples=rows.spec,
            heads=_linear_heads(model, list(plan.layers), head, plan.fed(shown), allowed),
            provenance=recorded,
            resume=resume and not overwrite,
            compression=compression,
        ) as writer:
            _write(model, every, writer, rows, n, target, progress, allowed, Lengths(axis))
    return ActivationStore(path)


@full_precision()
def plan_harvest(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: str | Mapping[str, str] = "none",
    masks: str | Mapping[str, str] = "",
    dtype: str | None = None,
    examples: int | None = None,
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
) -> HarvestPlan:
    """The plan of a ``harvest``: some examples are shown to the network, nothing is written.

    The arguments and errors are those of ``harvest``.
    """
    check_choices(dtype, "none")
    allowed = Allowed(allow_random, allow_batch, allow_grad)
    choices = _Choices(layers, PoolingRules(pooling), MaskRules(masks), dtype, allowed)
    n = count_examples(loader, examples)
    chosen = BatchAxis.said(batch_axis)
    model = unwrap(model)
    target = place(model, device)
    batches = read(loader)
    axis, first = _first(batches, loader, model, target, chosen, choices)
    shown, _ = telling(chain([first], map(axis.examples_first, batches)), batch_size)
    with axis.fed(model), Unchanged(model) as kept:
        plan, _ = _plan(model, to_device(shown, target), loader, choices, n, kept, axis)
    return plan


def _plan(
    model: nn.Module,
    batch: Any,
    loader: Iterable[Any],
    choices: _Choices,
    n: int,
    kept: Unchanged,
    axis: BatchAxis,
) -> tuple[HarvestPlan, LayerMasks]:
    """The layers and rows of a harvest, and its padding; networks are refused here."""
    reduce, dtype, allowed = choices.pooling, choices.dtype, choices.allowed
    plan = plan_layers(model, batch, choices.layers, reduce, dtype, n, allowed, axis)
    shown = plan.fed(batch)
    warn_of_shifted_positions(model, shown, plan.addresses, kept, grad=allowed.grad)
    axes = reduce.axes(plan.axes)
    masks = LayerMasks(model, shown, plan.addresses, choices.masks, axes, allowed)
    warn_of_unused(model, shown, masks.used)
    masks.check(plan.layers, reduce)
    tokens = token_rows(plan.layers, reduce, masks)
    return (plan if tokens is None else plan.by_tokens(tokens, loader)), masks


def _record(
    model: nn.Module, loader: Iterable[Any], choices: _Choices, seed: int, device: torch.device
) -> dict[str, Any]:
    """The record of a harvest as far as it is known before the network runs."""
    sampling, masks = sampling_of(loader), choices.masks
    return {
        "repsim": __version__,
        "torch": torch.__version__,
        "device": device.type,
        "pooling": str(choices.pooling),
        "dtype": choices.dtype,
        "seed": seed,
        "weights_sha256": network_digest(model),
        **({"sampling": sampling} if sampling else {}),
        **({"masks": str(masks)} if masks.names or str(masks) else {}),
        "allowed": choices.allowed.record(),
    }


def _record_of_layers(plan: HarvestPlan, axis: BatchAxis) -> dict[str, Any]:
    """The record of the layers and rows of a harvest."""
    addresses = {"addresses": plan.short} if plan.short else {}
    return {"n": plan.n, **plan.incomplete, **plan.unusual_axes, **axis.record(), **addresses}


def _chosen_axis(path: Path, chosen: BatchAxisLike | None, resume: bool) -> BatchAxis | None:
    """The axes that were said, now or in the harvest that is continued; None without.

    Raises:
        StoreError: others were said then.
    """
    said = BatchAxis.said(chosen)
    if not resume or not (provenance := provenance_of(path)):
        return said
    before = provenance.get("batch_axis")
    if said is not None and str(said) != (before or "0"):
        raise StoreError(
            f"{path.absolute()} has batch axis {before or 0}, now it is {said}",
            "leave it out, or pass --overwrite to begin anew",
        )
    return said if before is None else BatchAxis(before)


def _first(
    batches: Iterator[Any],
    loader: Iterable[Any],
    model: nn.Module,
    device: torch.device,
    chosen: BatchAxis | None,
    choices: _Choices,
) -> tuple[BatchAxis, Any]:
    """The axis of the examples, and the first batch with the examples of each input first.

    Raises:
        UsageError: there is no example, or their order is not known.
    """
    given = next(filled(batches), None)
    if given is None:
        raise UsageError(_NO_BATCH)
    shown, grad = to_device(given, device), choices.allowed.grad
    axis = find_batch_axis(chosen, model.to(device), shown, grad=grad).beside(choices.beside)
    first = axis.examples_first(given)
    if not batch_size(first):
        raise UsageError(_NO_BATCH)
    check_rows(loader, first)
    return axis, first


def _write(
    model: nn.Module,
    batches: Iterable[Any],
    writer: StoreWriter,
    rows: HarvestRows,
    n: int,
    device: torch.device,
    progress: Progress,
    allowed: Allowed,
    lengths: Lengths,
) -> None:
    """Run the network over the batches that are not in the file yet, and write them.

    Unless something is allowed, only as far as the layers need it.
    """
    at, written, grad, plan = FIRST_BATCH, 0, allowed.grad, rows.plan
    names: set[str] = set()
    with (
        Stream(writer, rows.waiting_bytes, device) as stream,
        Capture(
            model, plan.addresses, reduce=rows.into(stream), grad=grad, calls=plan.calls
        ) as capture,
    ):
        for batch in batches:
            if not batch_size(batch):
                continue
            lengths.add(batch)
            warn_of_new(model, rows.plan.fed(batch), names)
            if at.begin + batch_size(batch) > n:
                more = f"{writer.path}: more than the {n} examples expected"
                raise lengths.refusal(more, n, _TOO_MANY)
            ids, digests = rows.ids(batch, at.begin), batch_digests(model, rows.plan.fed(batch))
            rows.read(digests)
            until = written + len(ids)
            if until <= writer.begun:
                writer.check(ids, digests.repeat(rows.counts(batch)), written)
            elif written < writer.begun:
                raise StoreError(
                    f"{writer.path} was written in batches of another size",
                    "take that of before, or pass --overwrite",
                )
            else:
                examples = rows.examples(batch, at.begin, ids, digests)
                shown = rows.shown(to_device(batch, device), at)
                with running(model, shown, at, grad=grad):
                    capture.run(shown, whole=allowed.any)
                capture.take(plan.layers)
                stream.commit(examples)
            at, written = at.after(batch), until
            progress(at.begin, n, "")
    if at.begin < n:
        arrived = f"{writer.path}: {at.begin} of {n} examples arrived; it stays unfinished"
        all_of_them = f"if these are all, pass examples={at.begin} and --overwrite (overwrite=True)"
        raise lengths.refusal(arrived, n, all_of_them if at.begin else "")
    rows.warn_of_repeats()


def _finished(
    path: Path,
    recorded: Mapping[str, Any],
    rows: HarvestRows,
    model: nn.Module,
    first: Any,
    device: torch.device,
    allowed: Allowed,
) -> ActivationStore:
    """The store at ``path``, compared with the record and the first batch of this harvest.

    What a process left that was killed between naming the store and cleaning up is removed.
    """
    store = ActivationStore(path)
    with closed_by_errors(store):
        _check_record(store, recorded, rows.plan.layers, rows.ids(first, 0))
        check_first_batch(store, model, first, rows, device, allowed)
        remove_left(path)
    return store


def _check_record(
    store: ActivationStore,
    recorded: Mapping[str, Any],
    layers: Mapping[str, LayerSpec],
    ids: Sequence[str],
) -> None:
    """Raise ``StoreError`` unless the record of a store, its layers and ids are of this harvest."""
    before = store.provenance()
    now = json.loads(json.dumps(recorded))
    # Stores of version 3 have been written without a word on padding.
    untold = {*(_SINCE_VERSION_3 if store.version < 3 else ()), *({"padding"} - before.keys())}
    said = {*now, *({"batch_axis"} & before.keys())}
    changed = changed_keys(before, now, said - untold - INCIDENTAL)
    if set(layers) != set(store.layers):
        changed.append("layers")
    if [each.decode() for each in store.example_ids[: len(ids)]] != list(ids):
        changed.append("example ids")
    if changed:
        raise StoreError(
            f"{store.path.absolute()} is of another harvest: {differing(changed, before, now)}",
            "pass --overwrite to replace it, or take another name",
        )


def _linear_heads(
    model: nn.Module, layers: list[str], named: str | None, batch: Any, allowed: Allowed
) -> dict[str, dict[str, Any]]:
    """The linear head of a network, if the layer that feeds it is stored, for null-space work."""
    found = find_head(model, named)
    if found is None and any(head_input(model, name) in layers for name in linear_layers(model)):
        found = find_head(model, returned_head(model, batch, grad=allowed.grad))
    if found is None:
        return {}
    name, head = found
    source = head_input(model, name)
    if source not in layers:
        return {}
    bias = None if head.bias is None else head.bias.detach().cpu().numpy()
    weight = head.weight.detach().cpu().numpy()
    return {name: {"weight": weight, "bias": bias, "input": source}}
