"""Short names in transformers: embeddings, residual stream, attention, MLP, last normalisation.

Nothing is known of any library or class: a stack of blocks is a list of modules that hand their
output on to one another, and the parts of a block are told by what it adds to that.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from repsim.activations.capture.addends import Seen, addends, same
from repsim.activations.capture.arguments import run
from repsim.activations.capture.hooks import Capture
from repsim.activations.capture.modules import Layers, choose, modules_of
from repsim.errors import RepsimWarning, UsageError
from repsim.layers import Address, split_patterns

#: Short names and their meanings; K counts blocks from 0.
SHORT = {
    "embed": "what enters the first block",
    "resid.K": "the residual stream behind block K",
    "attn.K": "what attention adds to it in block K",
    "cross.K": "what attention to another sequence adds",
    "mlp.K": "what the MLP adds",
    "final_norm": "the normalised stream behind the last block",
}

_HEADS = {name.partition(".")[0] for name in SHORT}
_PARTS = {"attn", "cross", "mlp"}


class Stack(NamedTuple):
    """Blocks of a network, each of which takes what the one before it gives.

    Attributes:
        address: of the list of blocks.
        blocks: their addresses, in order.
    """

    address: str
    blocks: tuple[str, ...]


def with_short_names(model: nn.Module, batch: Any, layers: Layers, *, grad: bool = False) -> Layers:
    """Layers, with an address for each short name among them.

    What matches a module's address means the module. Only if there are others is the network run.

    Args:
        model: any module.
        batch: a few examples, where the network lies.
        layers: as for ``Capture``.
        grad: as for ``Capture``.

    Returns:
        ``layers`` if there are no short names among them, else addresses by name; the name of
        another pattern is itself.

    Raises:
        UsageError: a pattern that matches neither a module nor a short name.
    """
    if layers is None or isinstance(layers, Mapping):
        return layers
    errors = {pattern: _no_module(model, pattern) for pattern in split_patterns(layers)}
    if not any(errors.values()):
        return layers
    if len(modules_of(model)) == 1:  # nothing to look for names in
        raise next(filter(None, errors.values()))
    seen = _observe(model, batch, grad)
    stacks = _stacks(model, seen)
    plain, parts = _plain_names(stacks, seen), _names_of_parts(stacks, seen)
    found: dict[str, str] = {}
    for pattern, error in errors.items():
        if error is None:
            found[pattern] = pattern
            continue
        meant = _meant(pattern, plain) or _meant(pattern, parts)
        if not meant:
            raise _unknown(pattern, stacks, {**plain, **parts}, error)
        found.update(meant)
    return found


def _no_module(model: nn.Module, pattern: str) -> UsageError | None:
    """The error about a pattern that matches no module."""
    try:
        choose(model, [pattern])
    except UsageError as error:
        return error
    return None


def _meant(pattern: str, names: Mapping[str, str]) -> dict[str, str]:
    return {name: address for name, address in names.items() if fnmatchcase(name, pattern)}


def _unknown(
    pattern: str, stacks: Sequence[Stack], names: Mapping[str, str], error: UsageError
) -> UsageError:
    wanted = _HEADS.intersection(pattern.split("."))
    if not wanted:
        return error
    if not stacks:
        return UsageError(
            f"the network has no layer {pattern!r}: short names are of a list of blocks that run "
            "once, each on what the one before it gives, and it has none; choose modules by their "
            "addresses"
        )
    listed = ", ".join(_summary(names))
    if wanted & _PARTS and not any(_PARTS.intersection(name.split(".")) for name in names):
        return UsageError(
            f"the network has no layer {pattern!r}: no outputs of the modules of a block, one of "
            f"them called attention, add up to what it gives; choose modules by their addresses, "
            f"or {listed}"
        )
    return UsageError(f"the network has no layer {pattern!r}; its short names are {listed}")


def _summary(names: Mapping[str, str]) -> Iterator[str]:
    """Short names, with ranges of blocks."""
    last: dict[str, str] = {}
    for name in names:
        head, _, block = name.rpartition(".")
        last[head if block.isdecimal() else name] = block if block.isdecimal() else ""
    for head, block in last.items():
        yield f"{head}.0 to {head}.{block}" if block else head


# --- what the modules take and give


def _observe(model: nn.Module, batch: Any, grad: bool) -> dict[str, Seen]:
    """The modules that run, in the order in which they return."""
    given: dict[str, tuple[tuple[int, ...], Tensor] | None] = {}
    gave: dict[str, tuple[tuple[int, ...], Tensor] | None] = {}
    several: set[str] = set()
    every = ["type:Module", "type:Module@input"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # modules without a tensor are no loss here
        with Capture(model, every, reduce=_at_the_end, grad=grad) as capture:
            run(model, batch)
            modules = capture.modules
            for name, values in capture.take().items():
                address = Address.parse(name, modules)
                (given if address.input else gave).setdefault(address.module, values)
                if address.call not in (None, "0"):
                    several.add(address.module)
    return {
        name: Seen(
            _value(given.get(name)),
            _value(each),
            _shape(each),
            name not in several,
            _is_norm(modules[name]),
        )
        for name, each in gave.items()
    }


def _at_the_end(layer: str, x: Tensor) -> tuple[tuple[int, ...], Tensor] | None:
    """The values at the last position, enough to tell them from others; None without positions."""
    return (tuple(x.shape), x[:, -1].cpu().clone()) if x.ndim == 3 and x.shape[1] else None


def _value(found: tuple[tuple[int, ...], Tensor] | None) -> Tensor | None:
    return None if found is None else found[1]


def _shape(found: tuple[tuple[int, ...], Tensor] | None) -> tuple[int, ...]:
    return () if found is None else found[0]


def _is_norm(module: nn.Module) -> bool:
    return all(each.ndim < 2 for each in module.parameters())


# --- stacks and their names


def _stacks(model: nn.Module, seen: Mapping[str, Seen]) -> list[Stack]:
    """The stacks of blocks of a network; lists within a block are none."""
    found: list[Stack] = []
    for address, module in modules_of(model).items():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        within = any(address.startswith(f"{stack.address}.") for stack in found)
        blocks = tuple(f"{address}.{name}" if address else name for name in module._modules)
        if blocks and not within and _hand_on(blocks, seen) and _have_parts(module):
            found.append(Stack(address, blocks))
    return found


def _have_parts(module: nn.Module) -> bool:
    return all(len(block._modules) for block in module.children())


def _hand_on(blocks: Sequence[str], seen: Mapping[str, Seen]) -> bool:
    """True if each block takes what the one before it gives, and all of it has one shape."""
    if not all(block in seen and seen[block].once for block in blocks):
        return False
    values = [seen[block] for block in blocks]
    given = values[0].given
    if given is None or any(each.gave is None or each.gave.shape != given.shape for each in values):
        return False
    return all(same(a.gave, b.given) for a, b in pairwise(values))


def _prefixes(stacks: Sequence[Stack]) -> list[str]:
    """Prefixes of the stacks of a network: none for a single one, ``encoder.`` and ``decoder.``."""
    if len(stacks) < 2:
        return [""] * len(stacks)
    parts = [stack.address.split(".") for stack in stacks]
    shortest = min(map(len, parts))
    ahead = next(k for k in range(shortest + 1) if len({tuple(p[: k + 1]) for p in parts}) > 1)
    behind = next(k for k in range(shortest + 1) if len({tuple(p[-k - 1 :]) for p in parts}) > 1)
    return [".".join([*p[ahead : len(p) - behind], ""]) for p in parts]


def _plain_names(stacks: Sequence[Stack], seen: Mapping[str, Seen]) -> dict[str, str]:
    found: dict[str, str] = {}
    for stack, prefix in zip(stacks, _prefixes(stacks), strict=True):
        found[f"{prefix}embed"] = f"{stack.blocks[0]}@input"
        found.update({f"{prefix}resid.{k}": block for k, block in enumerate(stack.blocks)})
        norm = _final_norm(stack, seen)
        if norm is not None:
            found[f"{prefix}final_norm"] = norm
    return found


def _final_norm(stack: Stack, seen: Mapping[str, Seen]) -> str | None:
    """The normalisation that is given what the last block gives."""
    last = seen[stack.blocks[-1]]
    behind = (name for name in seen if not name.startswith(f"{stack.address}."))
    return next((name for name in behind if _normalises(seen[name], last)), None)


def _normalises(norm: Seen, block: Seen) -> bool:
    """True if a module turns the output of a block into other numbers of the same shape."""
    fits = norm.norm and norm.shape == block.shape and same(norm.given, block.gave)
    return fits and not same(norm.gave, norm.given)


def _names_of_parts(stacks: Sequence[Stack], seen: Mapping[str, Seen]) -> dict[str, str]:
    found: dict[str, str] = {}
    for stack, prefix in zip(stacks, _prefixes(stacks), strict=True):
        for k, block in enumerate(stack.blocks):
            parts = _parts(block, addends(block, seen))
            found.update({f"{prefix}{part}.{k}": name for part, name in parts.items()})
    return found


def _parts(block: str, added: Sequence[str]) -> dict[str, str]:
    """Attention and MLP among the modules whose outputs a block adds: the former says so."""
    attention = [name for name in added if "att" in name.removeprefix(block).lower()]
    others = [name for name in added if name not in attention]
    if not 1 <= len(attention) <= 2 or len(others) != 1:
        return {}
    return {**dict(zip(("attn", "cross"), attention, strict=False)), "mlp": others[0]}
