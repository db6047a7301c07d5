"""Tables of networks, such as Table 1 of Mao et al. (2019), read off their modules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from repsim.errors import ShapeError
from repsim.moved import renamed_parameters

_OPERATIONS: dict[type[nn.Module], str] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), "Conv"),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), "TransposedConv"),
    nn.Linear: "Linear",
}


@renamed_parameters(shape="shapes")
def describe(network: nn.Module, *shapes: Sequence[int]) -> list[dict[str, Any]]:
    """A record a layer with parameters, in order of execution.

    The network runs once, as a copy in evaluation mode on the meta device: nothing is computed, and
    ``network`` stays as it is. A normalisation or activation module that takes what a layer gives
    is part of the layer's record; one that takes something else, as ReLU a residual sum, is not.
    Layers of a ``ModuleList`` that are alike and run one after the other, as the private first
    layers of ``Generator``, are one record. A module that is not called has none.

    Args:
        network: any module that takes float32 tensors.
        *shapes: of one example of each, without the batch: (128,) of ``Generator``.

    Returns:
        Records with

        - ``layer``: its address; ``*`` stands for the places of layers that are alike.
        - ``copies``: how many those are, else 1.
        - ``operation``: Conv, TransposedConv, Linear, or the class of another module.
        - ``kernel`` (such as ``4x4``), ``stride`` and ``padding`` of convolutions, else None;
        - the latter two are numbers, or text where they differ between dimensions.
        - ``inputs``, ``outputs``: channels or features; None for other modules.
        - ``normalisation``: BN, LN, ``GN 8`` with the number of groups, or none.
        - ``activation``: ReLU, ``LeakyReLU 0.2``, tanh, another module's class, or none.
        - ``bias``: whether the operation has one.
        - ``output``: shape of what it gives for one example, such as ``256x8x8``.
        - ``parameters``: of all copies, with those of the normalisation.

        A layer that two addresses share, or that runs twice, counts once.

    Raises:
        ShapeError: the network does not take such an input.
    """
    # Hooks on a copy need no removal.
    twin = copy.deepcopy(network).to("meta").eval()
    found = _Found()
    for name, module in twin.named_modules():
        module.register_forward_hook(found.hook(name))
    examples = getattr(twin, "generators", 1)  # each takes its share
    try:
        with torch.device("meta"), torch.no_grad():
            twin(*(torch.zeros(examples, *shape) for shape in shapes))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ShapeError(
            f"{type(network).__name__} takes no input of shape {_listed(shapes)}: {line}"
        ) from error
    return _joined(found.records, twin)


def _listed(shapes: Sequence[Sequence[int]]) -> str:
    return " and ".join(str(tuple(shape)) for shape in shapes)


class _Found:
    """The records so far, and which of them gave which tensor."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._seen: set[nn.Module] = set()
        self._kept: list[Tensor] = []  # an id is a tensor's own only while the tensor lives
        self._of: dict[int, dict[str, Any]] = {}

    def hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        """The hook to call after the forward pass of the module at an address."""

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            if module not in self._seen:
                self._seen.add(module)
                self._add(name, module, inputs[0] if inputs else None, output)

        return after

    def _add(self, name: str, module: nn.Module, taken: Any, given: Any) -> None:
        own = sum(p.numel() for p in module.parameters(recurse=False))
        record = self._of.get(id(taken))
        if record is None or not _folds(module, record):
            if not own:
                return
            record = {"layer": name, "copies": 1, **_operation(module), "parameters": 0}
            self.records.append(record)
        record["parameters"] += own
        if isinstance(given, Tensor):
            record["output"] = "x".join(map(str, given.shape[1:]))
            self._kept.append(given)
            self._of[id(given)] = record


def _folds(module: nn.Module, record: dict[str, Any]) -> bool:
    """Write a normalisation or activation, if it is one, into the record of the layer before."""
    normalisation, activation = _normalisation(module), _activation(module)
    if record["activation"] != "none" or not (normalisation or activation):
        return False
    if normalisation and record["normalisation"] != "none":
        return False
    record["normalisation"] = normalisation or record["normalisation"]
    record["activation"] = activation or "none"
    return True


def _operation(module: nn.Module) -> dict[str, Any]:
    """The part of a record that concerns the module alone."""
    found: dict[str, Any] = dict.fromkeys(("kernel", "stride", "padding", "inputs", "outputs"))
    if isinstance(module, _ConvNd):
        found = {
            "kernel": "x".join(map(str, module.kernel_size)),
            "stride": _size(module.stride),
            "padding": _size(module.padding),
            "inputs": module.in_channels,
            "outputs": module.out_channels,
        }
    elif isinstance(module, nn.Linear):
        found |= {"inputs": module.in_features, "outputs": module.out_features}
    return {
        "operation": _OPERATIONS.get(type(module), type(module).__name__),
        **found,
        "normalisation": "none",
        "activation": "none",
        "bias": getattr(module, "bias", None) is not None,
        "output": "",
    }


def _joined(records: list[dict[str, Any]], network: nn.Module) -> list[dict[str, Any]]:
    """The records, with one for neighbours that differ in nothing but their place in a list."""
    lists = {name for name, part in network.named_modules() if isinstance(part, nn.ModuleList)}

    def starred(record: dict[str, Any]) -> dict[str, Any]:
        parts = record["layer"].split(".")
        within = [".".join(parts[:k]) in lists for k in range(len(parts))]
        address = ".".join("*" if each else part for part, each in zip(parts, within, strict=True))
        return {**record, "layer": address}

    joined = []
    for alike, group in groupby(records, starred):
        first, *others = group
        copies = 1 + len(others)
        total = copies * first["parameters"]
        joined.append({**alike, "copies": copies, "parameters": total} if others else first)
    return joined


def _size(values: Any) -> Any:
    """``2`` for (2, 2), ``2x1`` for (2, 1), and ``same`` as it is."""
    if isinstance(values, str):
        return values
    return values[0] if len(set(values)) == 1 else "x".join(map(str, values))


def _normalisation(module: nn.Module) -> str | None:
    if isinstance(module, _BatchNorm):
        return "BN"
    if isinstance(module, nn.GroupNorm):
        return "LN" if module.num_groups == 1 else f"GN {module.num_groups}"
    return "LN" if isinstance(module, nn.LayerNorm) else None


def _activation(module: nn.Module) -> str | None:
    if isinstance(module, nn.LeakyReLU):
        return f"LeakyReLU {module.negative_slope:g}"
    if isinstance(module, nn.Tanh):
        return "tanh"
    inside = type(module).__module__ == nn.ReLU.__module__
    return type(module).__name__ if inside and not list(module.children()) else None
