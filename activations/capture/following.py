"""Dimensions followed through a network, function by function, as it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from repsim.activations.capture.calls import Call, tensors_of
from repsim.activations.capture.dimension_rules import rule_of
from repsim.activations.capture.dimensions import Axes, Role, fresh, size_of, suggest


class Following(TorchFunctionMode):
    """A block that follows the dimensions of tensors through all functions that are called.

    Nothing is known of tensors that come out of compiled or foreign code, until a function that is
    called with them says it.

    Args:
        model: whose weights are no layers.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._known: MutableMapping[Tensor, Axes] = WeakTensorKeyDictionary()
        self._fixed: MutableMapping[Tensor, bool] = WeakTensorKeyDictionary()
        for each in model.buffers():
            self._fixed[each] = True

    @contextmanager
    def fed(self, model: nn.Module, n: int | None = None) -> Iterator[dict[str, Tensor]]:
        """A block in which a network is given inputs: those of its last call, by their names.

        Args:
            model: the network.
            n: the examples of each input, which lie at axis 0; None where that is not known.
        """
        seen: dict[str, Tensor] = {}

        def hook(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
            named = {"" if k == 0 else str(k): x for k, x in enumerate(args)}
            for name, x in {**named, **kwargs}.items():
                if isinstance(x, Tensor):
                    seen[name] = x
                    if x.ndim and len(x) == n:
                        suggest(self.axes(x)[0], Role.EXAMPLE)

        handle = model.register_forward_pre_hook(hook, with_kwargs=True, prepend=True)
        try:
            with self:
                yield seen
        finally:
            handle.remove()

    def axes(self, x: Tensor) -> Axes:
        """The axes of a tensor."""
        known = self._known.get(x)
        if known is not None and _fits(known, x):
            return known
        axes = fresh(x.shape)
        if self._is_given(x):
            self._known[x] = axes
        return axes

    def _is_given(self, x: Tensor) -> bool:
        """True for a tensor that depends on the inputs, False for weights and what they make."""
        return x in self._known or not (isinstance(x, nn.Parameter) or x in self._fixed)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        call = Call(func, args, kwargs or {}, self.axes, self._is_given)
        if call.name in ("__set__", "set"):  # of the data of a tensor
            self._known.pop(call.first, None)
        if call.name == "__setitem__" and any(map(self._is_given, call.tensors)):
            self._fixed.pop(call.first, None)
        if results := tensors_of(result):
            # A call that a rule does not understand is no error: nothing is known of its result.
            with suppress(Exception):
                self._follow(call, results)
        return result

    def _follow(self, call: Call, results: list[Tensor]) -> None:
        if not any(map(self._is_given, call.tensors)):
            for x in results:
                self._fixed[x] = True
            return
        for x, axes in zip(results, rule_of(call.name)(call, results), strict=False):
            if axes is not None and _fits(axes, x) and not isinstance(x, nn.Parameter):
                self._known[x] = axes


def _fits(axes: Axes, x: Tensor) -> bool:
    return tuple(map(size_of, axes)) == tuple(x.shape)
