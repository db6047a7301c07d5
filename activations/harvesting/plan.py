"""The layers that a harvest will store, known before it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from repsim.activations.capture.arguments import unnamed
from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.batch_axis import BatchAxis
from repsim.activations.capture.batches import without
from repsim.activations.capture.checked import checked_rows
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import choose, modules_of
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.capture.reducing import reduced_shape
from repsim.activations.capture.tracing import TracedRows, addresses_of, calls_of
from repsim.activations.harvesting.token_rows import TokenRows
from repsim.activations.store.compression import COMPRESSIONS
from repsim.activations.store.format import LayerSpec
from repsim.errors import ShapeError, UsageError, choices
from repsim.layers import Address
from repsim.short import ShortRepr

#: Number types that a store can be asked to hold.
DTYPES = {each: getattr(torch, each) for each in ("float32", "float16", "bfloat16")}


@dataclass(frozen=True)
class HarvestPlan(ShortRepr):
    """The layers and rows of a store before it is written.

    Attributes:
        layers: by address, in order of execution.
        n: rows of each layer.
        rows_each: rows that one example gives, or at most where tokens become examples; 1 unless
            positions do.
        addresses: of the layers in the network, by their names.
        axes: of what each layer gives.
        calls: number of calls of the module of a layer, unless one call was chosen.
        tokens: those that become examples; None where every position does, or none.
        masks: entries of a batch that choose tokens, and are no arguments of the network.
        left_out: addresses that patterns chose, or that are chosen without any, and that give
            nothing to store: modules that do not run, or have no row for each example.
    """

    layers: dict[str, LayerSpec]
    n: int
    rows_each: int
    addresses: dict[str, str]
    axes: dict[str, LayerAxes]
    calls: dict[str, int]
    tokens: TokenRows | None = None
    masks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def fed(self, batch: Any) -> Any:
        """The entries of a batch that are for the network."""
        return without(batch, self.masks)

    def by_tokens(self, tokens: TokenRows, loader: Iterable[Any]) -> HarvestPlan:
        """The plan with a row for each of some tokens of what a loader gives."""
        return replace(self, n=tokens.count(loader), tokens=tokens)

    @property
    def bytes(self) -> int:
        """Size of all layers, uncompressed."""
        return self.n * sum(spec.row_bytes for spec in self.layers.values())

    @property
    def short(self) -> dict[str, str]:
        """The addresses of the layers that have short names."""
        return {name: each for name, each in self.addresses.items() if name != each}

    @property
    def incomplete(self) -> dict[str, Any]:
        """As provenance has it: how many of how many layers are left out, and the first of them."""
        if not self.left_out:
            return {}
        of = len(self.layers) + len(self.left_out)
        return {
            "layers_left_out": {"count": len(self.left_out), "of": of, "first": self.left_out[:20]}
        }

    @property
    def unusual_axes(self) -> dict[str, dict[str, str]]:
        """As provenance has them: of layers other than (n, c, ...) maps and (n, tokens, d)."""
        named = {
            name: each.names(given=True)
            for name, each in self.axes.items()
            if each != LayerAxes.usual(each.ndim)
        }
        return {"axes": named} if named else {}


def plan_layers(
    model: nn.Module,
    batch: Any,
    layers: str | Sequence[str] | None,
    pooling: PoolingRules,
    dtype: str | None,
    n: int,
    allowed: Allowed,
    batch_axis: BatchAxis,
) -> HarvestPlan:
    """The layers that a network gives for a batch, as they will be stored.

    Networks that are no functions of the example are refused, as ``checked_rows`` does.
    """
    specs: dict[str, LayerSpec] = {}
    rows: dict[str, int] = {}
    reduced: dict[str, tuple[int, ...]] = {}

    def reduce(traced: Mapping[str, TracedRows]) -> None:
        batch_axis.check(traced)
        pooling.check(traced)
        for name, each in traced.items():
            reduced[name], rows[name] = reduced_shape(name, each, pooling)

    masks = unnamed(model, pooling.masks)
    shown = without(batch, masks)
    found = checked_rows(model, shown, layers, batch_axis, allowed, fits=reduce)
    for name, traced in found.items():
        stored = dtype or str(traced.dtype).removeprefix("torch.")
        shape = (reduced[name][0], *(reduced[name][1:] or (1,)))
        names = pooling.of(name).names_of_axes(traced.axes, shape)
        specs[name] = LayerSpec(traced.module, shape[1:], stored, names)
    (first, rows_each), *others = rows.items()
    for other, count in others:
        if count != rows_each:
            raise ShapeError(
                f"layer {first!r} gives {rows_each} rows an example, {other!r} gives {count}; for "
                "positions, choose layers of one size, or bring them to one: grid:K+positions"
            )
    axes = {name: traced.axes for name, traced in found.items()}
    calls = calls_of(found)
    addresses = addresses_of(found)
    left_out = _left_out(model, layers, addresses, calls)
    return HarvestPlan(
        specs, n * rows_each, rows_each, addresses, axes, calls, masks=masks, left_out=left_out
    )


def _left_out(
    model: nn.Module,
    layers: str | Sequence[str] | None,
    addresses: Mapping[str, str],
    calls: Mapping[str, int],
) -> tuple[str, ...]:
    """The addresses of chosen modules, and of calls of these, of which no layer was found.

    None where short names choose, for each of these is found or refused.
    """
    modules = modules_of(model)
    found: dict[str, dict[str | None, int]] = {}
    for name, address in addresses.items():
        module, _, call, _ = Address.parse(address, modules)
        found.setdefault(module, {})[call] = calls.get(name, 1)
    with suppress(UsageError):
        chosen = dict.fromkeys(each.address.module for each in choose(model, layers))
        return tuple(each for module in chosen for each in _missing(module, found.get(module)))
    return ()


def _missing(module: str, found: Mapping[str | None, int] | None) -> list[str]:
    """The addresses of the calls of a module that gave nothing; its own if none gave anything."""
    if found is None:
        return [module]
    calls = max(found.values())
    numbered = [str(k) for k in range(calls)] if calls > 1 else []
    return [f"{module}#{call}" for call in numbered if call not in found]


def check_choices(dtype: str | None, compression: str) -> None:
    """Raise ``UsageError`` for a number type or a compression that a store does not have."""
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"unknown dtype {dtype!r}; {choices(dtype, DTYPES)}")
    if compression not in COMPRESSIONS:
        raise UsageError(
            f"unknown compression {compression!r}; {choices(compression, COMPRESSIONS)}"
        )
