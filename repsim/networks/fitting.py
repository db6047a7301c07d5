"""State dicts fitted to a network: torch's own rules, and names that wrappers changed."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from repsim.errors import few
from repsim.networks.checkpoint import State

#: Parts of names that wrappers of modules add: DataParallel, compile, FSDP, checkpointing.
WRAPPERS = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
)

#: Beside the weights of ``torch.optim.swa_utils.AveragedModel``.
AVERAGED = "n_averaged"

#: A buffer of batch normalisation that torch added later and that evaluation does not read.
COUNT = "num_batches_tracked"

#: The count of a network that saw none; one tensor, by which equal candidates are known.
_NO_BATCHES = torch.zeros((), dtype=torch.int64, device="cpu")


def plain(name: str) -> str:
    """A name without the parts that wrappers add, wherever they are."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def below(state: State, prefix: str) -> State:
    """The entries whose names begin with a prefix and a dot, without these."""
    if not prefix:
        return state
    return _renamed(state, {k: k[len(prefix) + 1 :] for k in state if k.startswith(f"{prefix}.")})


def common_prefixes(state: State) -> Iterator[str]:
    """No prefix, then the first, second ... part that all names share."""
    names = [name for name in state if name != AVERAGED]
    yield ""
    level, parts = 1, names[0].split(".") if names else []
    while level < len(parts) and all(k.startswith(".".join(parts[:level]) + ".") for k in names):
        yield ".".join(parts[:level])
        level += 1


def inner_prefixes(state: State, least: int) -> Iterator[str]:
    """Prefixes below which there are at least so many entries, the shortest first."""
    counts: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        counts.update(".".join(parts[:k]) for k in range(1, len(parts)))
    yield from (prefix for prefix, count in counts.items() if count >= least)


def prepared(network: nn.Module, state: State) -> State:
    """A state dict under the network's names, with what torch or a file format left out.

    Names are compared without the parts of wrappers. A tensor that the network has under several
    names may come under one of them. A count of batches may be absent.
    """
    expected = network.state_dict(keep_vars=True)
    by_plain = {plain(name): name for name in expected}
    unique = len(by_plain) == len(expected) and len({plain(k) for k in state}) == len(state)
    names = {
        key: key if key in expected or not unique else by_plain.get(plain(key), plain(key))
        for key in state
        if key != AVERAGED or AVERAGED in expected
    }
    known = {k: new for k, new in names.items() if new in expected or isinstance(state[k], Tensor)}
    fitted = _renamed(state, known)
    tied = _tied(expected)
    for name in [name for name in expected if name not in fitted]:
        if twin := next((other for other in tied[name] if other in fitted), None):
            fitted[name] = fitted[twin]
        elif name.endswith(COUNT) and f"{name.removesuffix(COUNT)}running_mean" in fitted:
            fitted[name] = _NO_BATCHES
    return fitted


def misfits(network: nn.Module, state: State) -> list[str]:
    """Differences between a state dict and a network's, a phrase for each kind."""
    expected = network.state_dict(keep_vars=True)
    return [
        *_names_and_shapes(expected, state),
        *_types(expected, state),
        *_contradictions(expected, state),
    ]


def loads(network: nn.Module, state: State) -> bool:
    """Tell if the rules of torch and of the network's modules accept a state dict.

    The network is left as it was.
    """
    expected = network.state_dict(keep_vars=True)
    if _types(expected, state) or _contradictions(expected, state):
        return False
    before = {name: values.detach().clone() for name, values in _tensors(expected).items()}
    try:
        network.load_state_dict(state)
    except Exception:  # a module may have rules of its own
        return False
    else:
        return True
    finally:
        with torch.no_grad():
            for name, values in before.items():
                expected[name].copy_(values)


def _renamed(state: State, names: Mapping[str, str]) -> OrderedDict[str, Any]:
    """Entries under other names, with the versions of modules that torch notes in a state dict."""
    renamed = OrderedDict((new, state[old]) for old, new in names.items())
    versions = getattr(state, "_metadata", None)
    if versions is not None:
        modules = {old.rpartition(".")[0]: new.rpartition(".")[0] for old, new in names.items()}
        renamed._metadata = OrderedDict(  # type: ignore[attr-defined]
            (modules[module], version) for module, version in versions.items() if module in modules
        )
    return renamed


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The values of a state dict that exist."""
    return {k: v for k, v in state.items() if isinstance(v, Tensor) and not is_lazy(v)}


def _tied(expected: Mapping[str, Any]) -> dict[str, list[str]]:
    """All names of its tensor, by name."""
    groups: dict[object, list[str]] = defaultdict(list)
    for name, values in expected.items():
        groups[id(values) if isinstance(values, Tensor) else name].append(name)
    return {name: names for names in groups.values() for name in names}


def _contradictions(expected: Mapping[str, Any], state: State) -> list[str]:
    """Tensors that are one in the network and several in the file."""
    return [
        f"{name} and {names[0]} are one tensor in the network and differ in the file"
        for name, names in _tied(expected).items()
        if name in state and names[0] in state and not _equal(state, names[0], name)
    ]


def _equal(state: State, a: str, b: str) -> bool:
    first, second = state[a], state[b]
    return first is second or not isinstance(first, Tensor) or torch.equal(first, second)


def _types(expected: Mapping[str, Any], state: State) -> list[str]:
    """Values that another type would change: imaginary parts, codes, large integers."""
    wrong = [
        f"{key}: {state[key].dtype} in the file, {values.dtype} in the network"
        for key, values in expected.items()
        if isinstance(state.get(key), Tensor)
        and isinstance(values, Tensor)
        and not _converts(state[key], values.dtype)
        and not key.endswith(COUNT)
    ]
    return [f"{len(wrong)} of another type ({few(wrong)})"] if wrong else []


def _converts(values: Tensor, dtype: torch.dtype) -> bool:
    if values.dtype == dtype or (values.is_floating_point() and dtype.is_floating_point):
        return True
    if values.is_floating_point() or values.is_complex() or values.is_quantized:
        return False
    if dtype.is_floating_point or dtype.is_complex:
        return False
    return torch.equal(values.to(dtype).to(values.dtype), values)


def _names_and_shapes(expected: Mapping[str, Any], state: State) -> list[str]:
    """Differences in names and shapes, a phrase for each kind."""
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(values.shape)} in the network"
        for key, values in _tensors(expected).items()
        if isinstance(state.get(key), Tensor) and state[key].shape != values.shape
    ]
    kinds = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": shapes,
    }
    return [f"{len(keys)} {kind} ({few(keys)})" for kind, keys in kinds.items() if keys]
