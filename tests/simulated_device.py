"""A device without hardware, on which the library runs as on an accelerator.

Its tensors hold their values on the CPU, where every operation is computed, and its random
numbers are those of the CPU. It refuses operands on different devices and NumPy's view of a tensor,
as a GPU does, and float64, where it is told so. Transfers and moments at which the CPU waits are
logged, with the line of the project that asked for them.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map

NAME = "sim"

#: The function of torch that makes a device of functions in Python.
SETUP = "_setup_privateuseone_for_python_backend"


def lacking() -> str:
    """The reason why this torch has no such device; empty where it can have one."""
    there = hasattr(backend_registration, SETUP)
    return "" if there else f"torch {torch.__version__} has no devices made in Python"


_ROOT = Path(__file__).resolve().parents[1]
_PARTS = tuple(f"{_ROOT / part}/" for part in ("repsim", "activations", "figures", "cli"))

#: Operations whose results depend on values, so that the CPU waits for them.
_WAITING = (
    "aten.nonzero",
    "aten.masked_select",
    "aten._unique",
    "aten.unique",
    "aten.bincount",
    "aten.repeat_interleave.Tensor",
    "aten.equal",
    "aten.is_nonzero",
    "aten._linalg_check_errors",
)

#: Operations that take tensors of no dimensions from the CPU no more than others.
_STRICT = ("aten.cat", "aten.stack", "aten.index_copy", "aten.index_add", "aten.gather")

_INDEXING = ("aten.index.", "aten.index_put", "aten._index_put", "aten._unsafe_index")


@dataclass
class Log:
    """The moments at which the CPU and the device wait for each other, by kind and line.

    Kinds are ``"to device"`` and ``"to host"``, of tensors, and ``"sync"``, where Python looks at a
    value or a size depends on values.
    """

    seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, kind: str) -> None:
        self.seen[kind, _site()] += 1

    def count(self, *kinds: str, within: str = "") -> int:
        """The number of moments of these kinds, or of all, at lines of files named so."""
        return sum(
            number
            for (kind, site), number in self.seen.items()
            if (not kinds or kind in kinds) and within in site
        )

    def __str__(self) -> str:
        return "\n".join(f"{n:5} {kind:9} {site}" for (kind, site), n in self.seen.most_common())


LOG = Log()

#: Settings that tests may change.
ALLOWED = {"float64": True}


@contextlib.contextmanager
def logged() -> Iterator[Log]:
    """A log of what happens within the block."""
    global LOG
    before, LOG = LOG, Log()
    try:
        yield LOG
    finally:
        LOG = before


@contextlib.contextmanager
def without_float64() -> Iterator[None]:
    """The device as MPS is, which has no float64."""
    from repsim import devices

    known, devices._WITHOUT_FLOAT64 = devices._WITHOUT_FLOAT64, frozenset({"mps", NAME})
    ALLOWED["float64"] = False
    try:
        yield
    finally:
        ALLOWED["float64"], devices._WITHOUT_FLOAT64 = True, known


def _site() -> str:
    """The innermost line of the project that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PARTS):
            path = Path(frame.f_code.co_filename).relative_to(_ROOT)
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "elsewhere"


class SimulatedTensor(Tensor):
    """A tensor on the simulated device; ``held`` has its values, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> SimulatedTensor:
        if held.dtype == torch.float64 and not ALLOWED["float64"]:
            raise TypeError(f"the device has no float64, at {_site()}")
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=DEVICE,
            requires_grad=requires_grad,
        )
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"SimulatedTensor({self.held})"

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedTensor:
        memo[id(self)] = copied = SimulatedTensor(self.held.clone(), self.requires_grad)
        return copied

    def __getitem__(self, index: Any) -> Any:
        given = index if isinstance(index, tuple) else (index,)
        places = (torch.tensor(each) if isinstance(each, list) else each for each in given)
        return super().__getitem__(tuple(places))

    def tolist(self) -> Any:
        LOG.note("sync")
        return self.held.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy, at {_site()}")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the CPU, with the refusals and the log of a device."""
    name = str(func)
    tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
    ours = [x for x in tensors if isinstance(x, SimulatedTensor)]
    if name == "aten._local_scalar_dense.default":
        LOG.note("sync")
        return func(_held(args[0]))
    if name.startswith("aten._to_copy"):
        return _copied(func, args, kwargs)
    if name.startswith("aten.copy_."):
        _note_copy(from_device=_is_ours(args[1]), to_device=_is_ours(args[0]))
        _held(args[0]).copy_(_held(args[1]))
        return args[0]
    _check_devices(func, name, args, tensors, ours)
    if name.startswith(_WAITING):
        LOG.note("sync")
    if name.startswith(_INDEXING):
        _note_indices(args[1])
    return _computed(func, args, kwargs, ours)


def _copied(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    target = kwargs.get("device")
    source = _is_ours(args[0])
    to_device = source if target is None else torch.device(target).type == NAME
    _note_copy(from_device=source, to_device=to_device)
    elsewhere = ("device", "pin_memory", "non_blocking")
    result = func(_held(args[0]), **{k: v for k, v in kwargs.items() if k not in elsewhere})
    return SimulatedTensor(result) if to_device else result


def _note_copy(*, from_device: bool, to_device: bool) -> None:
    if from_device != to_device:
        LOG.note("to device" if to_device else "to host")


def _check_devices(
    func: Any, name: str, args: Any, tensors: list[Tensor], ours: list[SimulatedTensor]
) -> None:
    """Refuse operands that a GPU would refuse."""
    if not ours:
        return
    others = [x for x in tensors if not _is_ours(x) and (x.ndim or name.startswith(_STRICT))]
    if name.startswith(_INDEXING):
        values = args[2:3]
        others = [x for x in (args[0], *values) if not _is_ours(x) and getattr(x, "ndim", 0)]
    if others or _written_elsewhere(func, args):
        raise RuntimeError(
            "expected all tensors to be on the same device, but found at least two devices, "
            f"{DEVICE} and cpu ({name}), at {_site()}"
        )


def _written_elsewhere(func: Any, args: Any) -> bool:
    """True if a tensor on the CPU is to be changed by one on the device."""
    return any(
        argument.alias_info is not None
        and argument.alias_info.is_write
        and isinstance(given, Tensor)
        and not _is_ours(given)
        for argument, given in zip(func._schema.arguments, args, strict=False)
    )


def _note_indices(indices: Any) -> None:
    for index in indices:
        if isinstance(index, Tensor) and index.ndim and not _is_ours(index):
            LOG.note("to device")
        if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
            LOG.note("sync")


def _computed(func: Any, args: Any, kwargs: dict[str, Any], ours: list[SimulatedTensor]) -> Any:
    """The operation on the CPU; tensors that it changes or returns stay the same objects."""
    target = kwargs.get("device")
    on_device = bool(ours) if target is None else torch.device(target).type == NAME
    generator = kwargs.get("generator")
    if on_device and generator is not None:
        raise RuntimeError(
            f"expected a generator on device {DEVICE}, found one of cpu, at {_site()}"
        )
    options = {k: _all_held(v) for k, v in kwargs.items() if k not in ("device", "pin_memory")}
    if target is not None and any(each.name == "device" for each in func._schema.arguments):
        options["device"] = "cpu"
    result = func(*_all_held(args), **options)
    if not on_device:
        return result
    if torch.Tag.inplace_view in func.tags:  # squeeze_ and the like: their shapes as well
        with no_dispatch():
            func(*args, **kwargs)
    known = {id(x.held): x for x in ours}

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor) or _is_ours(x):
            return x
        same = known.get(id(x))
        assert same is None or same.shape == x.shape, f"{func} has resized a tensor"
        return SimulatedTensor(x) if same is None else same

    return tree_map(wrapped, result)


def _is_ours(value: Any) -> bool:
    return isinstance(value, SimulatedTensor)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, SimulatedTensor) else value


def _all_held(value: Any) -> Any:
    return tree_map(_held, value)


# --- the device itself


class _Backend(getattr(backend_registration, "_DummyBackendModule", object)):  # type: ignore[misc]
    """The functions that torch asks of ``torch.sim``."""

    def get_rng_state(self, device: Any = 0) -> Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: Tensor, device: Any = 0) -> None:
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def synchronize(self, device: Any = 0) -> None:
        LOG.note("sync")


def _fallback(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Operations without a tensor of ours among their arguments, such as ``torch.zeros``."""
    return _run(func, args, kwargs)


#: Functions that torch would compute by resizing an empty tensor.
_RESIZING = ("arange", "arange.start", "arange.start_step", "eye", "eye.m")


def _made_by(name: str) -> Callable[..., Any]:
    """A function of ``_RESIZING`` for the device."""
    packet, _, overload = name.partition(".")
    func = getattr(getattr(torch.ops.aten, packet), overload or "default")
    return lambda *args, **kwargs: _run(func, args, {**kwargs, "device": DEVICE})


def _constructor(made: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` or ``torch.as_tensor`` with the device as a target."""

    def construct(data: Any, *args: Any, device: Any = None, **options: Any) -> Tensor:
        if device is None or torch.device(device).type != NAME:
            where = {} if device is None else {"device": device}
            return made(data, *args, **where, **options)
        return data if _is_ours(data) else made(data, *args, **options).to(DEVICE)

    return construct


#: The device. It is there from ``start`` on.
DEVICE: torch.device


def start() -> None:
    """Make the device, once, for all that this process does afterwards."""
    global DEVICE, _LIBRARIES
    getattr(backend_registration, SETUP)(NAME, _Backend())
    DEVICE = torch.device(NAME, 0)
    _LIBRARIES = [torch.library.Library(name, "IMPL") for name in ("_", "aten")]
    _LIBRARIES[0].fallback(_fallback, "PrivateUse1")
    for name in _RESIZING:
        _LIBRARIES[1].impl(name, _made_by(name), "PrivateUse1")
    torch.tensor = _constructor(torch.tensor)
    torch.as_tensor = _constructor(torch.as_tensor)


def on_device(value: Any) -> Any:
    """A tensor, or an array, on the simulated device."""
    return torch.as_tensor(value).to(DEVICE)
