"""Modules of a network by address, and patterns that choose among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from torch.nn.parameter import is_lazy

from repsim.devices import find_device
from repsim.errors import CaptureError, UsageError
from repsim.layers import Address, fits, split_patterns, unknown_layer

#: Modules that run another one, by the name of their class, and where they hold it. By name, for
#: importing the class of a compiled module takes seconds.
WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "_FabricModule": "module",
}

#: Addresses and patterns, addresses by name, or None for those that a network names itself.
Layers = str | Sequence[str] | Mapping[str, str] | None


class Choice(NamedTuple):
    """A module that is meant, and what of it.

    Attributes:
        address: the module's first address; call and path may be globs.
        exact: it was named, rather than matched by a pattern.
        name: what to call its first tensor in place of its address; empty for the address.
    """

    address: Address
    exact: bool
    name: str = ""


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside ``DataParallel``, ``torch.compile`` and the like; itself if there is none.

    It has the same parameters, runs on one device, and is not compiled.

    Raises:
        UsageError: it is no module, such as a program of ``torch.export``.
    """
    if not isinstance(model, nn.Module):
        exported = type(model).__name__ == "ExportedProgram"
        remedy = ": pass torch.export.unflatten(program)" if exported else ""
        raise UsageError(
            f"a network is of type {type(model).__name__}; expected a torch.nn.Module{remedy}"
        )
    for kind in type(model).__mro__:
        inner = getattr(model, WRAPPERS[kind.__name__], None) if kind.__name__ in WRAPPERS else None
        if isinstance(inner, nn.Module):
            return unwrap(inner)
    return model


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's parameters; the CPU without any."""
    return next(iter(model.parameters()), torch.empty(0)).device


def place(model: nn.Module, device: torch.device | str | None) -> torch.device:
    """``device``, or where the network lies."""
    return device_of(model) if device is None else find_device(device)


def check_unscripted(model: nn.Module) -> None:
    """Raise ``CaptureError`` for a network that ``torch.jit`` made, by script or by trace."""
    if isinstance(unwrap(model), torch.jit.ScriptModule):
        raise CaptureError(
            "the network is a torch.jit.ScriptModule, which takes no hooks; pass the module it was "
            "made from"
        )


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every module by each of its addresses, as if nothing were wrapped; the network's is ``""``.

    A module that has several addresses comes under each, and what computes a parametrized weight
    under none: it belongs to the layer that has the weight.
    """
    return dict(_walk(model, "", ()))


def _walk(
    model: nn.Module, address: str, above: tuple[nn.Module, ...]
) -> Iterator[tuple[str, nn.Module]]:
    model = unwrap(model)
    if model in above:  # a module that holds the one it lies in
        return
    yield address, model
    for name, child in model._modules.items():
        if child is not None and name != "parametrizations":
            yield from _walk(child, f"{address}.{name}" if address else name, (*above, model))


def unembeddings(model: nn.Module) -> list[nn.Module]:
    """The modules that make logits of a language model: their weight has an embedding's shape."""
    shapes = {e.weight.shape for e in model.modules() if isinstance(e, nn.Embedding)}
    others = (module for module in model.modules() if not isinstance(module, nn.Embedding))
    return [module for module in others if _weight_shape(module) in shapes]


def makes_logits(model: nn.Module) -> bool:
    """True for a language model: one that has such a module, or is of transformers."""
    library = type(model).__module__.partition(".")[0]
    return library == "transformers" or bool(unembeddings(model))


def _weight_shape(module: nn.Module) -> torch.Size | None:
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return None if weight is None or is_lazy(weight) else weight.shape


def kinds_of(module: nn.Module) -> list[str]:
    """The names of a module's class and of its bases."""
    return [kind.__name__ for kind in type(module).__mro__ if kind is not object]


def default_layers(model: nn.Module) -> list[str]:
    """The addresses that a network names itself (``layer_names``), or its leaf modules."""
    named = getattr(unwrap(model), "layer_names", None)
    if callable(named):
        return list(named())
    modules = modules_of(model)
    first = first_addresses(modules)
    running = [address for address, module in modules.items() if address and _runs(module)]
    above = {address[:i] for address in running for i, c in enumerate(address) if c == "."}
    return [name for name in running if name not in above and first[modules[name]] == name]


def blocks_of(model: nn.Module) -> dict[str, int]:
    """Classes of modules that hold others, with their numbers: blocks, whose sums no leaf gives.

    Of networks that name no layers themselves. A ``Sequential`` returns what its last module does,
    and a class that occurs once is no block.
    """
    if callable(getattr(unwrap(model), "layer_names", None)):
        return {}
    modules, leaves = modules_of(model), set(default_layers(model))
    first = first_addresses(modules)
    kinds = Counter(
        type(module).__name__
        for address, module in modules.items()
        if address and address not in leaves and first[module] == address and _runs(module)
        if not isinstance(module, nn.Sequential)
    )
    return {kind: count for kind, count in kinds.items() if count > 1}


def choose(model: nn.Module, layers: Layers = None) -> list[Choice]:
    """The modules that ``layers`` mean, as in ``select_layers``; None means ``default_layers``.

    A glob chooses among the layers that the network names itself; where there is none, among all
    modules, as ``type:`` and ``depth:`` do. A mapping gives patterns by names; one that is its own
    name is called by its address.

    Raises:
        UsageError: an address that is not there, a pattern that matches nothing.
    """
    modules = modules_of(model)
    first = first_addresses(modules)
    if layers is None:
        patterns = {name: name for name in default_layers(model)}
    elif isinstance(layers, Mapping):
        patterns = dict(layers)
    else:
        patterns = {pattern: pattern for pattern in split_patterns(layers)}
    if not any(pattern.startswith(":") for pattern in patterns.values()) and _is_flat(model):
        raise UsageError(
            "the network is a graph that calls no modules, as torch.export makes one; pass "
            "torch.export.unflatten(program), or the module it was made from"
        )
    if not patterns:
        raise UsageError(
            f"no layer was chosen of {type(unwrap(model)).__name__}; pass addresses, or wrap a "
            "network without modules inside it, as in nn.Sequential(network); the parts of what it "
            "returns are ':0', ':1' and so on"
        )
    chosen: dict[Choice, None] = {}
    for name, pattern in patterns.items():
        wanted = Address.parse(pattern, modules)
        exact = wanted.module in modules and bool(pattern)
        for found in [wanted.module] if exact else _matching(model, modules, pattern, wanted):
            address = wanted._replace(module=first[modules[found]])
            named = exact and layers is not None and not _has_glob(wanted)
            chosen[Choice(address, named, "" if name == pattern else name)] = None
    return list(chosen)


def has_modules(model: nn.Module) -> bool:
    """True if a network has a module inside that can be called."""
    return any(address and _runs(module) for address, module in modules_of(model).items())


def _matching(
    model: nn.Module, modules: dict[str, nn.Module], pattern: str, wanted: Address
) -> list[str]:
    """The addresses of the modules that ``wanted`` means."""
    kinds = {
        address: kinds_of(module)
        for address, module in modules.items()
        if address and _runs(module)
    }
    universes = [list(kinds)]
    if callable(getattr(unwrap(model), "layer_names", None)) and not wanted.module.startswith(
        ("type:", "depth:")
    ):
        universes.insert(0, [name for name in default_layers(model) if name in kinds])
    for universe in universes:
        found = [name for name in universe if fits(wanted.module, name, kinds[name])]
        if found:
            return found
    if not kinds:
        raise UsageError(
            f"{type(unwrap(model)).__name__} has no modules inside it, and so no layer "
            f"{pattern!r}; wrap it, as in nn.Sequential(network), and its address is '0'; the "
            "parts of what it returns are ':0', ':1' and so on"
        )
    raise unknown_layer(pattern, list(kinds), kinds=kinds)


def first_addresses(modules: Mapping[str, nn.Module]) -> dict[nn.Module, str]:
    """The first of the addresses of each module."""
    first: dict[nn.Module, str] = {}
    for address, module in modules.items():
        first.setdefault(module, address)
    return first


def _is_flat(model: nn.Module) -> bool:
    """True for a graph of functions alone, which calls none of the modules it was made from."""
    graph = getattr(unwrap(model), "graph", None)
    if not isinstance(graph, torch.fx.Graph):
        return False
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    return all("guards" in each for each in called)


def _runs(module: nn.Module) -> bool:
    """True for a module that can be called.

    A ``ModuleList`` has no forward; attention takes the weights of its last linear layer and never
    calls it. Guards of an exported program give nothing.
    """
    if isinstance(module, NonDynamicallyQuantizableLinear) or type(module).__name__ == "GuardsFn":
        return False
    # A scripted class has no attribute of that name.
    forward = getattr(type(module), "forward", None)
    return forward is not nn.Module.forward or "forward" in vars(module)


def _has_glob(address: Address) -> bool:
    return any(sign in f"{address.call}{address.path}" for sign in "*?[")
