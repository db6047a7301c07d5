"""Activations of a network's modules, taken as it runs."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.capture.batches import batch_size, head, inputs_of, run
from repsim.activations.capture.modules import Choice, choose, modules_of, unwrap
from repsim.errors import CaptureError, RepsimWarning
from repsim.layers import Address, path_fits

#: So many names an error or warning lists.
LISTED = 10


class Capture:
    """Hooks on chosen modules, for the length of a ``with`` block.

    ::

        with Capture(model, ["conv1", "head"]) as capture:
            model(images)
            activations = capture.take()      # {"conv1": (n, ...), "head": (n, ...)}

    Values are copied, or reduced, at the moment a module returns, so that a later operation in
    place cannot change them. Within the block the network is in evaluation mode, builds no graph
    and runs uncompiled; afterwards it is as before, and the hooks are gone.

    A value is recorded as ``MODULE[@input][#CALL][:PATH]``: a module that is called several times
    gives a value each time, ``relu#0``, ``relu#1``; one that returns a tuple, list, dictionary or
    dataclass gives every floating-point tensor in it, ``lstm:0``, ``lstm:1.0``; ``head@input`` is
    what a module was given, its first tensor or ``head@input:NAME``, as it was when it began.

    Args:
        model: any module; wrappers such as ``DataParallel`` do not show in addresses.
        layers: addresses; or patterns: globs, ``"odd"``, ``"even"``, ``"all"``, ``"type:Conv2d"``
            for a class or what derives from it, ``"depth:1"``; as a list or separated by commas. By
            default the layers the network names itself, or its leaf modules.
        reduce: applied to the address and the activation (n, ...) of a layer as it is taken; what
            it returns is kept in place of the activation. Only at its second call does a module
            prove to be called several times: the first is ``relu`` to ``reduce``, unless ``relu#0``
            was chosen by that name.

    Raises:
        UsageError: an address that the network does not have, a pattern that matches nothing.
        CaptureError: a scripted network, which takes no hooks.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: str | Sequence[str] | None = None,
        *,
        reduce: Callable[[str, Tensor], Any] | None = None,
    ) -> None:
        if isinstance(unwrap(model), torch.jit.ScriptModule):
            raise CaptureError(
                "the network is a torch.jit.ScriptModule, which takes no hooks; pass the module it "
                "was made from"
            )
        self.model = model
        self.modules = modules_of(model)
        self.choices = choose(model, layers)
        self._asked = {choice.address._replace(path=None) for choice in self.choices}
        self._reduce = reduce
        self._exit = ExitStack()
        self._warned = False
        self._forget()

    def __enter__(self) -> Capture:
        self._forget()
        with ExitStack() as stack:
            # Not ``eval()``: networks redefine it, to merge weights for instance.
            for module in self.model.modules():
                stack.callback(setattr, module, "training", module.training)
                module.training = False
            # Not ``inference_mode``: what the network caches could never be trained with.
            for context in (torch.no_grad(), _uncompiled(), _module_by_module()):
                stack.enter_context(context)
            for module in self.model.modules():
                if isinstance(module, nn.DataParallel):
                    stack.callback(module.register_forward_pre_hook(_refuse_to_scatter).remove)
            for handle in self._hooks():
                stack.callback(handle.remove)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def take(self, expected: Collection[str] | None = None) -> dict[str, Any]:
        """Return the layers captured since the last call, in order of execution, and forget them.

        Args:
            expected: the addresses it must have; they differ where a network runs other modules
                for other batches.

        Raises:
            CaptureError: nothing was captured, a layer that was named was not called or gave no
                floating-point tensor, or the addresses are not the expected ones.

        Warns:
            RepsimWarning: once, of layers that matched a pattern and gave nothing.
        """
        idle = [choice for choice in self.choices if not self._given[choice]]
        if named := [choice for choice in idle if choice.exact]:
            raise CaptureError(f"{self._reasons(named)}; choose others")
        if len(idle) == len(self.choices):
            raise CaptureError(f"nothing was captured: {self._reasons(idle)}")
        if idle and not self._warned:
            self._warned = True
            warnings.warn(f"left out: {self._reasons(idle)}", RepsimWarning, stacklevel=2)
        taken = {str(self._final(address)): value for address, value in self._taken.items()}
        self._forget()
        if expected is not None and (other := set(expected) ^ set(taken)):
            raise CaptureError(
                "the network does not run the same layers for every batch: "
                f"{_listed([repr(name) for name in sorted(other)])} came or went; choose others"
            )
        return taken

    def given(self, choice: Choice) -> list[str]:
        """The addresses recorded, since the last ``take``, for one of ``choices``."""
        return [str(self._final(address)) for address in self._given[choice]]

    def _forget(self) -> None:
        self._taken: dict[Address, Any] = {}
        self._calls: Counter[Address] = Counter()
        self._seen: dict[Address, str] = {}
        self._given: dict[Choice, dict[Address, None]] = defaultdict(dict)

    def _hooks(self) -> Iterator[Any]:
        """A hook for each module that is chosen, and each whose input is."""
        chosen: dict[Address, list[Choice]] = defaultdict(list)
        for choice in self.choices:
            chosen[_site(choice.address)].append(choice)
        for site, choices in chosen.items():
            module = self.modules[site.module]
            if isinstance(module, torch.jit.ScriptModule):
                continue
            if site.input:
                yield module.register_forward_pre_hook(
                    self._input_hook(site, choices), with_kwargs=True
                )
            else:
                yield module.register_forward_hook(self._output_hook(site, choices))

    def _output_hook(self, site: Address, choices: list[Choice]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            kind = str(output.dtype) if isinstance(output, Tensor) else type(output).__name__
            self._record(site, choices, dict(tensors_in(output)), f"returns a {kind}")

        return hook

    def _input_hook(self, site: Address, choices: list[Choice]) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            tensors = {**dict(tensors_in(args)), **dict(tensors_in(kwargs))}
            if tensors:
                tensors = {"": next(iter(tensors.values())), **tensors}
            self._record(site, choices, tensors, "took arguments")

        return hook

    def _record(
        self, site: Address, choices: list[Choice], tensors: dict[str, Tensor], seen: str
    ) -> None:
        """Keep what is chosen of the tensors of one call."""
        call = str(self._calls[site])
        self._calls[site] += 1
        paths = ", ".join(path for path in tensors if path)
        self._seen[site] = f"{seen} with {paths}" if paths else seen
        for choice in choices:
            if choice.address.call is None or path_fits(choice.address.call, call):
                for path in _paths(choice.address, tensors):
                    address = site._replace(call=call, path=path)
                    self._given[choice][address] = None
                    if address not in self._taken:
                        self._taken[address] = self._keep(address, tensors[path])

    def _keep(self, address: Address, tensor: Tensor) -> Any:
        tensor = tensor.detach()
        if self._reduce is None:
            return tensor.clone()
        return _owned(self._reduce(str(self._final(address)), tensor), tensor)

    def _final(self, address: Address) -> Address:
        """The address with its call only where there are several, or where it was asked for."""
        several = self._calls[_site(address)] > 1
        asked = address._replace(path=None) in self._asked
        return address if several or asked else address._replace(call=None)

    def _reasons(self, idle: Sequence[Choice]) -> str:
        """The reasons why some choices captured nothing, the layers of one reason together."""
        reasons: dict[str, list[str]] = defaultdict(list)
        for choice in idle:
            reasons[self._reason(choice)].append(repr(str(choice.address)))
        return "; ".join(
            f"layers {_listed(names)} {_plural(reason)}"
            if len(names) > 1
            else f"layer {names[0]} {reason}"
            for reason, names in reasons.items()
        )

    def _reason(self, choice: Choice) -> str:
        site, (*_, call, path) = _site(choice.address), choice.address
        if isinstance(self.modules[site.module], torch.jit.ScriptModule):
            return "cannot be hooked: torch.jit compiled it"
        calls = self._calls[site]
        if not calls:
            return "was not called by the network's forward"
        if call is not None and not any(path_fits(call, str(k)) for k in range(calls)):
            return f"was not called: the forward calls it {calls} time{'s' * (calls > 1)}"
        return f"gave no floating-point tensor{' there' if path else ''}: it {self._seen[site]}"


class Traced(NamedTuple):
    """A layer that would be recorded under an address.

    Attributes:
        module: name of the module's class.
        shape: with the batch's examples, usually first.
        dtype: a floating-point type.
    """

    module: str
    shape: tuple[int, ...]
    dtype: torch.dtype


def trace(
    model: nn.Module, batch: Any, layers: str | Sequence[str] | None = None
) -> dict[str, Traced]:
    """The layers that ``Capture`` would record as a network sees a batch, in order of execution.

    Nothing is kept but shapes, and the random number generators are left as they were.
    ``Capture(unwrap(model), list(traced))`` records the same, under these names from the start.

    Args:
        model: any module.
        batch: as for ``repsim.activations.capture.batches.run``, where the network lies.
        layers: as for ``Capture``.

    Raises:
        UsageError: a layer that is not there, a batch that does not fit.
        CaptureError: as from ``Capture.take``.
    """
    return _trace(model, batch, layers)[0]


def trace_rows(
    model: nn.Module, batch: Any, layers: str | Sequence[str] | None = None
) -> dict[str, Traced]:
    """``trace``, of those values that have a row for each example.

    Looks at three and at two examples of the batch, for a dimension that is 2 may be two layers of
    a recurrent network; at the whole batch where the network does not run on three.

    Raises:
        CaptureError: a layer that was named has no such value, or the network does not run on the
            batch.

    Warns:
        RepsimWarning: of values without, that matched a pattern or come with others that have.
    """
    if batch_size(batch) > 3:
        with suppress(Exception):  # the whole batch will tell, or fail in the same way
            return _trace_rows(model, head(batch, 3), layers)
    try:
        return _trace_rows(model, batch, layers)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        inputs = inputs_of(batch)
        shown = inputs if isinstance(inputs, Mapping) else {"inputs": inputs}
        raise CaptureError(
            f"the network does not run on "
            f"{', '.join(f'{k} {tuple(v.shape)} {v.dtype}' for k, v in shown.items())}: "
            f"{(str(error) or type(error).__name__).splitlines()[0]}; check the size, channels and "
            "number type that it takes"
        ) from error


def _trace_rows(
    model: nn.Module, batch: Any, layers: str | Sequence[str] | None
) -> dict[str, Traced]:
    n = batch_size(batch)
    traced, groups = _trace(model, batch, layers)
    odd = {name for name, each in traced.items() if each.shape[:1] != (n,)}
    if n in (2, 3):
        with suppress(Exception):
            fewer = trace(model, head(batch, n - 1), list(traced))
            odd |= {name for name, each in fewer.items() if each.shape[:1] != (n - 1,)}
    lost = [names for choice, names in groups if choice.exact and odd.issuperset(names)]
    if lost or len(odd) == len(traced):
        raise CaptureError(f"{_rowless(lost[0] if lost else traced, traced, n)}; choose others")
    if odd:
        left = [name for name in traced if name in odd]
        warnings.warn(f"left out: {_rowless(left, traced, n)}", RepsimWarning, stacklevel=3)
    return {name: each for name, each in traced.items() if name not in odd}


def tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The floating-point tensors in tuples, lists, dictionaries and dataclasses, by their paths."""
    if isinstance(value, Tensor):
        # Nested and sparse tensors have no rows that could be read.
        if value.is_floating_point() and value.layout == torch.strided and not value.is_nested:
            yield path, value
        return
    for key, each in _items(value):
        yield from tensors_in(each, f"{path}.{key}" if path else str(key))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from zip(value._fields, value, strict=True)
    elif isinstance(value, (tuple, list)):
        yield from enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name)


def _trace(
    model: nn.Module, batch: Any, layers: str | Sequence[str] | None
) -> tuple[dict[str, Traced], list[tuple[Choice, list[str]]]]:
    """The layers that would be recorded, in all and for each choice."""
    model = unwrap(model)
    capture = Capture(model, layers, reduce=lambda _, x: (tuple(x.shape), x.dtype))
    with _same_random_numbers(model), capture:
        run(model, batch)
        groups = [(choice, capture.given(choice)) for choice in capture.choices]
        taken = capture.take()
    traced = {}
    for name, (shape, dtype) in taken.items():
        module = capture.modules[Address.parse(name, capture.modules).module]
        traced[name] = Traced(type(module).__name__, shape, dtype)
    return traced, groups


def _site(address: Address) -> Address:
    """The module of an address, or its input."""
    return Address(address.module, address.input)


def _paths(wanted: Address, tensors: Collection[str]) -> list[str]:
    """The paths that are meant; the first input has the empty one."""
    if wanted.path is None:
        return [path for path in tensors if not (wanted.input and path)]
    if wanted.path in tensors:
        return [wanted.path]
    return [path for path in tensors if path and path_fits(wanted.path, path)]


def _owned(value: Any, source: Tensor) -> Any:
    """``value``, copied where it is a view: a reduction may have copied nothing."""
    if isinstance(value, Tensor):
        shared = value.untyped_storage().data_ptr() == source.untyped_storage().data_ptr()
        return value.clone() if shared else value
    if isinstance(value, np.ndarray) and not value.flags.owndata:
        return value.copy()
    return value


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _plural(reason: str) -> str:
    return f"were{reason[3:]}" if reason.startswith("was") else reason


def _rowless(names: Iterable[str], traced: Mapping[str, Traced], n: int) -> str:
    shapes = [f"{name!r} {traced[name].shape}" for name in names]
    return f"no row for each of {n} examples in {_listed(shapes)}"


def _uncompiled() -> AbstractContextManager[Any]:
    """Compiled code would not call hooks. Without dynamo in memory, nothing is compiled."""
    stance = getattr(torch.compiler, "set_stance", None)
    if stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    return stance("force_eager")


@contextmanager
def _module_by_module() -> Iterator[None]:
    """Keep transformer layers from their fused path, which skips modules and nests tensors."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _same_random_numbers(model: nn.Module) -> Iterator[None]:
    """Leave the generators of the CPU and of the network's device as they were."""
    device = next(model.parameters(), torch.empty(0)).device
    if device.type == "cpu":
        kept = torch.random.fork_rng(devices=[])
    else:
        kept = torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)
    with kept:
        yield


def _refuse_to_scatter(module: nn.Module, args: Any) -> None:
    devices = getattr(module, "device_ids", ())
    if len(devices) > 1:
        raise CaptureError(
            f"DataParallel splits each batch over {len(devices)} devices, and its layers' values "
            "with it; call unwrap(model) in its place"
        )
