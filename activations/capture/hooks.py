"""Activations of a network's modules, taken as it runs."""

from __future__ import annotations

import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.capture.arguments import run
from repsim.activations.capture.modules import (
    Choice,
    Layers,
    check_unscripted,
    choose,
    makes_logits,
    modules_of,
    unembeddings,
)
from repsim.activations.capture.tensors import form_of, owned, tensors_in
from repsim.activations.capture.unchanged import evaluated
from repsim.errors import CaptureError, RepsimWarning
from repsim.layers import Address, path_fits

#: So many names an error or warning lists.
LISTED = 10

#: Outputs that are tensors, but have no rows that could be read.
_FORMLESS = ("returns a nested", "returns a sparse", "returns a vmapped")

#: A tensor that was taken: its name, if it was given one, or where it was.
_Key = Address | str


class _Enough(BaseException):
    """Every layer was taken. No ``Exception``, for a network may catch those."""


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
            default the layers the network names itself, or its leaf modules. A mapping of names to
            addresses records the first tensor of each under its name.
        grad: let the network compute gradients in its forward. The gradients of its parameters are
            afterwards as before.
        reduce: applied to the address and the activation (n, ...) of a layer as it is taken; what
            it returns is kept in place of the activation. Only at its second call does a module
            prove to be called several times: the first is ``relu`` to ``reduce``, unless ``relu#0``
            was chosen by that name.
        calls: how often the modules of some layers run, by the names of the layers; see ``take``.

    Raises:
        UsageError: an address that the network does not have, a pattern that matches nothing.
        CaptureError: a scripted network, which takes no hooks.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = None,
        *,
        reduce: Callable[[str, Tensor], Any] | None = None,
        grad: bool = False,
        calls: Mapping[str, int] | None = None,
    ) -> None:
        check_unscripted(model)
        self.model = model
        self.modules = modules_of(model)
        self.choices = choose(model, layers)
        self._asked = {choice.address._replace(path=None) for choice in self.choices}
        self._reduce = reduce
        self._grad = grad
        self._expected_calls = calls or {}
        # Only language models are known to make logits at the end, which nothing should wait for.
        self._ends_early = (
            all(choice.name for choice in self.choices)
            and all(n == 1 for n in self._expected_calls.values())
            and makes_logits(model)
        )
        self._exit = ExitStack()
        self._warned = False
        self._whole = True
        self._forwarded: frozenset[str] = frozenset()  # addresses
        self._forget()

    def __enter__(self) -> Capture:
        self._forget()
        with ExitStack() as stack:
            stack.enter_context(evaluated(self.model))
            # Not ``inference_mode``: what the network caches could never be trained with.
            mode = torch.enable_grad if self._grad else torch.no_grad
            for context in (mode(), _uncompiled(), _module_by_module()):
                stack.enter_context(context)
            if self._grad:
                stack.enter_context(_same_gradients(self.model))
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

    def run(self, batch: Any, *, whole: bool = True) -> None:
        """Feed the network with a batch, as ``repsim.activations.capture.arguments.run`` does.

        Args:
            batch: where the network lies.
            whole: run all of the network. Otherwise the forward of a language model ends when all
                layers were taken: at once if they have names and run once, else before it makes
                logits.
        """
        self._whole = whole
        try:
            run(self.model, batch)
        except _Enough:
            pass
        finally:
            self._whole = True

    def take(self, expected: Collection[str] | None = None) -> dict[str, Any]:
        """Return the layers captured since the last call, in order of execution, and forget them.

        Args:
            expected: the addresses it must have; they differ where a network runs other modules
                for other batches.

        Raises:
            CaptureError: nothing was captured, a layer that was named was not called or gave no
                floating-point tensor, the addresses are not the expected ones, or a module ran more
                or less often than expected.

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
        self._check_calls(self.choices, ended=True)
        taken = {self._final(key): value for key, value in self._taken.items()}
        self._forget()
        if expected is not None and (other := set(expected) ^ set(taken)):
            raise _come_and_gone(other)
        return taken

    def given(self, choice: Choice) -> list[str]:
        """The addresses recorded, since the last ``take``, for one of ``choices``."""
        return [self._final(key) for key in self._given[choice]]

    def calls(self, choice: Choice) -> int:
        """The number of times that the module of one of ``choices`` ran since the last ``take``."""
        return self._calls[_site(choice.address)]

    def _check_calls(self, choices: Iterable[Choice], *, ended: bool) -> None:
        """Raise ``CaptureError`` for a module that ran too often, or at the end, not enough."""
        for choice in choices:
            before = self._expected_calls.get(choice.name or str(choice.address))
            now = self.calls(choice)
            if before and (now > before or (ended and now < before)):
                raise _come_and_gone(_names(choice, before) ^ _names(choice, now))

    def forwarded(self, modules: Collection[nn.Module]) -> None:
        """Note modules that were run by ``.forward()``, for the reasons why they gave nothing."""
        self._forwarded = frozenset(
            address for address, module in self.modules.items() if module in modules
        )

    def _forget(self) -> None:
        self._taken: dict[_Key, Any] = {}
        self._calls: Counter[Address] = Counter()
        self._seen: dict[Address, str] = {}
        self._paths: dict[Address, list[str]] = {}
        self._given: dict[Choice, dict[_Key, None]] = defaultdict(dict)

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
        for module in unembeddings(self.model):
            if not isinstance(module, torch.jit.ScriptModule):
                yield module.register_forward_pre_hook(self._stop_if_taken)

    def _output_hook(self, site: Address, choices: list[Choice]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._record(site, choices, dict(tensors_in(output)), f"returns a {_kind(output)}")

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
        """Keep the chosen tensors of one call."""
        call = str(self._calls[site])
        self._calls[site] += 1
        self._check_calls(choices, ended=False)  # before its values are taken under no known name
        paths = ", ".join(path for path in tensors if path)
        self._seen[site] = f"{seen} with {paths}" if paths else seen
        self._paths[site] = list(tensors)
        for choice in choices:
            if choice.address.call is None or path_fits(choice.address.call, call):
                for path in _paths(choice.address, tensors)[: 1 if choice.name else None]:
                    key = choice.name or site._replace(call=call, path=path)
                    self._given[choice][key] = None
                    if key not in self._taken:
                        self._taken[key] = self._keep(key, tensors[path])
        if self._ends_early:
            self._stop_if_taken()

    def _stop_if_taken(self, *unused: object) -> None:
        if not self._whole and all(self._given[choice] for choice in self.choices):
            raise _Enough

    def _keep(self, key: _Key, tensor: Tensor) -> Any:
        tensor = tensor.detach()
        if self._reduce is None:
            return tensor.clone()
        return owned(self._reduce(self._final(key), tensor), tensor)

    def _final(self, key: _Key) -> str:
        """A name; or an address, with its call where there are several or one was asked for."""
        if isinstance(key, str):
            return key
        several = self._calls[_site(key)] > 1
        asked = key._replace(path=None) in self._asked
        return str(key if several or asked else key._replace(call=None))

    def _reasons(self, idle: Sequence[Choice]) -> str:
        """The reasons why some choices captured nothing, the layers of one reason together."""
        reasons: dict[str, list[str]] = defaultdict(list)
        for choice in idle:
            reasons[self._reason(choice)].append(repr(choice.name or str(choice.address)))
        return "; ".join(
            f"layers {listed(names)} {_plural(reason)}"
            if len(names) > 1
            else f"layer {names[0]} {reason}"
            for reason, names in reasons.items()
        )

    def _reason(self, choice: Choice) -> str:
        site, (*_, call, path) = _site(choice.address), choice.address
        if isinstance(self.modules[site.module], torch.jit.ScriptModule):
            return "cannot be hooked: torch.jit compiled it"
        calls = self._calls[site]
        if not calls and site.module in self._forwarded:
            return "was run by its forward method, which hooks do not see: call the module itself"
        if not calls:
            return "was not called by the network's forward"
        if call is not None and not any(path_fits(call, str(k)) for k in range(calls)):
            return f"was not called: the forward calls it {_times(calls)}"
        if (whole := _tensor_above(choice.address, self._paths[site])) is not None:
            return f"gave no such part: it {self._seen[site]}, so {_called(whole)}"
        formless = self._seen[site].startswith(_FORMLESS)
        wanted = "dense" if formless else "floating-point"
        return f"gave no {wanted} tensor{' there' if path else ''}: it {self._seen[site]}"


def _names(choice: Choice, calls: int) -> set[str]:
    """The names of the calls of a module."""
    address = choice.address._replace(path=None)
    if calls == 1:
        return {str(address)}
    return {str(address._replace(call=str(k))) for k in range(calls)}


def _come_and_gone(names: Collection[str]) -> CaptureError:
    """The error where layers are not the same for every batch."""
    return CaptureError(
        "the network does not run the same layers for every batch: "
        f"{listed([repr(name) for name in sorted(names)])} came or went; choose others, or calls "
        "that every batch has, such as layer#0"
    )


def _kind(output: Any) -> str:
    """The type of a module's output, in words."""
    if not isinstance(output, Tensor):
        return type(output).__name__
    return " ".join(filter(None, (form_of(output), f"tensor of {output.dtype}")))


def _times(n: int) -> str:
    return f"{n} time{'s' * (n != 1)}"


def _tensor_above(part: Address, paths: Collection[str]) -> Address | None:
    """The address of the tensor that a part would lie in, but tensors have none."""
    above = [path for path in paths if path or not part.input]  # the first input is an alias
    found = (path for path in above if f"{part.path or ''}.".startswith(f"{path}." if path else ""))
    whole = next(found, None) if part.path else None
    return None if whole is None else part._replace(path=whole or None)


def _called(whole: Address) -> str:
    """The remedy for the address of a part of a tensor: the address of the whole tensor."""
    text = str(whole)
    return f"say {text!r}" if text else "wrap it, as in nn.Sequential(network), and say '0'"


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


def listed(names: Sequence[str]) -> str:
    """The first names in one line, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _plural(reason: str) -> str:
    return f"were{reason[3:]}" if reason.startswith("was") else reason


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
def _same_gradients(model: nn.Module) -> Iterator[None]:
    """Leave the gradients of parameters alone: a forward may run backward."""
    before = [(each, each.grad) for each in model.parameters()]
    for parameter, _ in before:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _refuse_to_scatter(module: nn.Module, args: Any) -> None:
    devices = getattr(module, "device_ids", ())
    if len(devices) > 1:
        raise CaptureError(
            f"DataParallel splits each batch over {len(devices)} devices, and its layers' values "
            "with it; call unwrap(model) in its place"
        )
