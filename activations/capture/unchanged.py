"""Networks left as they were: buffers, parameters, attributes and generators of random numbers."""

from __future__ import annotations

import functools
import random
import types
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from repsim.activations.capture.evaluation import evaluate, same_modes, switches_itself
from repsim.activations.capture.modules import device_of, unwrap
from repsim.activations.capture.reached import FUNCTIONS, functions_of, reached

#: Values without a state of their own.
_PLAIN: tuple[type, ...] = (
    str,
    bytes,
    int,
    float,
    complex,
    bool,
    type(None),
    type,
    torch.dtype,
    torch.device,
    types.ModuleType,
)

_CONTAINERS = (MutableMapping, list, tuple, set, deque)

#: In order of entry. All of them see a write, for a later one may bring back no more than its own
#: block has changed.
_ENTERED: list[Unchanged] = []


class Unchanged:
    """The state of a network at the beginning of a ``with`` block, which its end brings back.

    Attributes of modules are kept, with the lists, dictionaries, arrays, generators and plain
    objects that they hold, and the memory of each tensor. Its values are copied only as an
    operation is about to write into them, and only in a block of ``watching``, of this one or of
    another within; a network that writes nothing costs no memory.

    A network with a ``train`` or ``eval`` of its own is put in evaluation mode by it, once for all
    blocks within: the state that ``restore`` brings back is that in evaluation mode, and the end of
    the block undoes all that ``eval`` did.

    Args:
        model: any module.
        switch: False leaves it in its mode.
    """

    def __init__(self, model: nn.Module, *, switch: bool = True) -> None:
        self._model = model
        self._switch = switch
        self._mode = ExitStack()
        self._held: list[Callable[[], None]] = []
        self._watched: dict[int, list[Tensor]] = {}
        self._copies: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Unchanged:
        if self._switch and switches_itself(self._model) and not _is_entered(self._model):
            self._mode.enter_context(_switched(self._model))
        self._held, self._watched, self._copies = [], {}, {}
        for value in _parts(self._model):
            if isinstance(value, Tensor):
                self._watch(value)
                self._held += _values_of(value)
            elif (restore := _kept(value)) is not None:
                self._held.append(restore)
        _ENTERED.append(self)
        return self

    def __exit__(self, *unused: object) -> None:
        _ENTERED.remove(self)
        self.restore()
        self._held, self._watched, self._copies = [], {}, {}
        self._mode.close()

    def restore(self) -> None:
        """Bring back the state of the beginning."""
        for put_back in self._held:
            put_back()
        with torch.no_grad():
            for tensor, before in self._copies.values():
                tensor.data.copy_(before)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Copy what the operations of the block write into, before they do."""
        with _Writes():
            yield

    def _watch(self, tensor: Tensor) -> None:
        with suppress(RuntimeError, NotImplementedError):  # one without storage is not written to
            self._watched.setdefault(tensor.untyped_storage().data_ptr(), []).append(tensor)

    def _before_write(self, written: Tensor) -> None:
        with suppress(RuntimeError, NotImplementedError):
            for tensor in self._watched.get(written.untyped_storage().data_ptr(), ()):
                if id(tensor) not in self._copies:
                    self._copies[id(tensor)] = tensor, tensor.detach().clone()


def _is_entered(model: nn.Module) -> bool:
    """True within a block that keeps the state of a network, or of one that it is a part of."""
    inner = unwrap(model)
    return any(inner is part for each in _ENTERED for part in each._model.modules())


@contextmanager
def _switched(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode by its own code, and afterwards undo what that did."""
    with same_modes(model), Unchanged(model, switch=False) as kept:
        with kept.watching():
            evaluate(model)
        yield


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put a network in evaluation mode for a block; its own code does so where it has some."""
    if not switches_itself(model):
        with same_modes(model):
            for module in model.modules():
                module.training = False
            yield
    elif _is_entered(model):  # then its code did so
        yield
    else:
        with _switched(model):
            yield


class _Writes(TorchDispatchMode):
    """Tells those that are entered of every tensor that an operation is about to write into."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from importing its compiler for this mode, which takes over a second."""
        return False

    def __torch_dispatch__(
        self, func: Any, kinds: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        for value in _written(func, args, kwargs):
            for each in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(each, Tensor):
                    for entered in tuple(_ENTERED):
                        entered._before_write(each)
        return func(*args, **kwargs)


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operation writes into."""
    if (places := _places_of_writes(func)) is None:
        return [*args[1:], *kwargs.values()]
    return [args[k] if k < len(args) else kwargs.get(name) for k, name in places]


@functools.cache
def _places_of_writes(func: Any) -> tuple[tuple[int, str], ...] | None:
    """Places and names of the arguments that an operation writes into; None: any but the first."""
    if "batch_norm" in str(func):  # it updates the running statistics, and does not declare it
        return None
    arguments = func._schema.arguments if hasattr(func, "_schema") else ()
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


@contextmanager
def same_random_numbers(model: nn.Module) -> Iterator[None]:
    """Leave the generators of torch (CPU and the network's device), NumPy and Python alone."""
    device = device_of(model)
    with ExitStack() as stack:
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        if device.type in ("cpu", "meta"):
            stack.enter_context(torch.random.fork_rng(devices=[]))
        else:
            stack.enter_context(
                torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)
            )
        yield


def _parts(model: nn.Module) -> Iterator[Any]:
    """The modules of a network, and all that their attributes hold.

    Modules in plain lists too, and modules and tensors that functions reach. Of other objects,
    those that a module holds, but none that such an object holds: a network may know the program
    that trains it.
    """
    seen: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(model, True)]
    waiting += _behind_methods(model)
    while waiting:
        value, is_ours = waiting.pop()
        if isinstance(value, FUNCTIONS):
            waiting += [(each, False) for each in reached([value])]
            continue
        if isinstance(value, _PLAIN) or id(value) in seen:
            continue
        stores = isinstance(value, (nn.Module, *_CONTAINERS))
        if is_ours or stores or isinstance(value, (Tensor, np.ndarray)):
            seen.add(id(value))
            yield value
            waiting += [(each, is_ours and stores) for each in _inside(value)]


def _behind_methods(model: nn.Module) -> list[tuple[Any, bool]]:
    """The modules and tensors that the classes of a network's modules reach."""
    classes = {type(module): module for module in model.modules()}
    held = [value for module in classes.values() for value in functions_of(module)]
    return [(each, False) for each in reached(held)]


def _inside(value: Any) -> list[Any]:
    """The values that a part of a network holds."""
    if isinstance(value, torch.jit.ScriptModule):
        return [*value.parameters(), *value.buffers()]
    if isinstance(value, MutableMapping):
        return list(value.values())
    if isinstance(value, _CONTAINERS):
        return list(value)
    if isinstance(value, (Tensor, np.ndarray)) or not hasattr(value, "__dict__"):
        return []
    return list(vars(value).values())


def _kept(value: Any) -> Callable[[], None] | None:
    """Bring a value back to what it is now; None for one that has no state."""
    if isinstance(value, torch.jit.ScriptModule):
        return None
    if isinstance(value, torch.Generator):
        state = value.get_state()
        return lambda: _void(value.set_state(state))
    if isinstance(value, random.Random):
        drawn = value.getstate()
        return lambda: value.setstate(drawn)
    if isinstance(value, np.random.Generator):
        bits = value.bit_generator.state
        return lambda: setattr(value.bit_generator, "state", bits)
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, (dict, list, set, deque)):
        return _container(value)
    if hasattr(value, "__dict__"):
        return _container(vars(value))
    return None


def _values_of(tensor: Tensor) -> list[Callable[[], None]]:
    """Give a tensor its memory back, where ``tensor.data = ...`` has given it another."""
    try:
        before, place = tensor.data, tensor.data_ptr()
    except (RuntimeError, NotImplementedError):  # one without values
        return []

    def put_back() -> None:
        if tensor.data_ptr() != place or tensor.shape != before.shape:
            tensor.data = before

    return [put_back]


def _void(unused: Any) -> None:
    """Take a value and return none."""


def _array(value: np.ndarray) -> Callable[[], None] | None:
    if not value.flags.writeable:
        return None
    before = value.copy()
    return lambda: np.copyto(value, before)


def _container(value: Any) -> Callable[[], None]:
    """Bring back what a list, a dictionary or a set holds, if it holds something else by then."""
    before = dict(value) if isinstance(value, dict) else list(value)

    def put_back() -> None:
        if _same(value, before):
            return
        value.clear()
        if isinstance(value, (dict, set)):
            value.update(before)
        else:
            value.extend(before)

    return put_back


def _same(value: Any, before: Any) -> bool:
    """True if two containers hold the same objects in the same order."""
    if len(value) != len(before):
        return False
    if isinstance(value, dict):
        pairs = zip(value.items(), before.items(), strict=True)
        return all(a[0] is b[0] and a[1] is b[1] for a, b in pairs)
    return all(a is b for a, b in zip(value, before, strict=True))
