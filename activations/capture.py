"""Activations of a network's modules, taken as it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.layers import default_layers
from repsim.errors import CaptureError, UsageError, choices


class Capture:
    """Hooks on chosen modules, for the length of a ``with`` block.

    ::

        with Capture(model, ["conv1", "head"]) as capture:
            model(images)
            activations = capture.take()      # {"conv1": (n, ...), "head": (n, ...)}

    Values are copied, or reduced, at the moment a module returns, so that a later operation in
    place cannot change them. Within the block the network is in evaluation mode and builds no
    graph; afterwards it is as before, and the hooks are gone.

    Args:
        model: any module.
        layers: addresses as in ``named_modules``; by default those the network names itself, or its
            leaf modules.
        reduce: applied to the address and the activation (n, ...) of a layer as it is taken; what
            it returns is kept in place of the activation.

    Raises:
        UsageError: an address that the network does not have.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str] | None = None,
        *,
        reduce: Callable[[str, Tensor], Any] | None = None,
    ) -> None:
        self.model = model
        self._modules = dict(model.named_modules())
        self.layers = list(default_layers(model) if layers is None else layers)
        for layer in self.layers:
            if layer not in self._modules:
                known = [name for name in self._modules if name]
                raise UsageError(f"the network has no layer {layer!r}; {choices(layer, known)}")
        self._reduce = reduce
        self._taken: dict[str, Any] = {}
        self._handles: list[Any] = []
        self._modes: dict[nn.Module, bool] = {}
        self._grad = torch.inference_mode()

    def __enter__(self) -> Capture:
        self._modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        self._grad = torch.inference_mode()
        self._grad.__enter__()
        for layer in self.layers:
            hook = self._hook(layer)
            self._handles.append(self._modules[layer].register_forward_hook(hook))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._grad.__exit__(kind, error, trace)
        for module, training in self._modes.items():
            module.training = training

    def take(self) -> dict[str, Any]:
        """What was captured since the last call, in order of execution, and forget it.

        Raises:
            CaptureError: a layer was not called.
        """
        missing = [layer for layer in self.layers if layer not in self._taken]
        if missing:
            raise CaptureError(
                f"layer {missing[0]!r} was not called by the network's forward"
                + (f", nor were {len(missing) - 1} others" if len(missing) > 1 else "")
                + "; leave it out of the chosen layers"
            )
        taken, self._taken = self._taken, {}
        return taken

    def _hook(self, layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise CaptureError(
                    f"layer {layer!r} returns a {type(output).__name__}, expected a tensor; choose "
                    "a module inside it"
                )
            if layer in self._taken:
                raise CaptureError(
                    f"layer {layer!r} is called more than once in a forward pass, and its "
                    "activations would overwrite each other; choose layers that are called once"
                )
            values = output if self._reduce is None else self._reduce(layer, output)
            # A reduction that returns its input, or a view of it, has copied nothing.
            if isinstance(values, Tensor):
                own = values.untyped_storage().data_ptr() != output.untyped_storage().data_ptr()
                values = values if own else values.clone()
            self._taken[layer] = values

        return hook
