"""Weights of foreign networks: the state dict of a file that fits, or a refusal that says why."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from repsim.errors import RepsimWarning, StoreError, UsageError, choices, few
from repsim.networks.checkpoint import Place, State, find_states, split_reference
from repsim.networks.fitting import (
    AVERAGED,
    below,
    common_prefixes,
    inner_prefixes,
    loads,
    misfits,
    prepared,
)
from repsim.optional import reason

#: Usual places of the weights within checkpoints of training programs.
ADDRESSES = ("", "state_dict", "model_state_dict", "model")
TOP = "its top level"


@dataclass(frozen=True)
class _Candidate:
    """A part of a file that may be the weights.

    Attributes:
        address: of a state dict and a prefix of its names, as a user may give it.
        state: under the network's names.
        rest: other names of that state dict.
        usual: true where training programs put weights, rather than anywhere else.
    """

    address: str
    state: State
    rest: tuple[str, ...]
    usual: bool


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Give a network the weights of a file; every name and shape must fit.

    torch's own rules hold, and those of the network's modules. Names are compared without the parts
    that wrappers add, such as ``module`` and ``_orig_mod``; tensors that the network has under
    several names need one of them, and counts of batches may be absent. Floating-point values are
    converted to the network's types.

    Weights at the top level or under ``state_dict``, ``model_state_dict``, ``model`` or
    ``networks.NAME`` come first, without what all their names begin with; then any others. Which
    ones they are has to be said where several fit: ``FILE:KEY``, where KEY is the keys that lead to
    a state dict and a beginning of its names, with dots: ``run.pt:model.encoder_q``.

    Args:
        network: changed in place, unless it is refused.
        path: a ``.safetensors`` file, or one that ``torch.save`` wrote; ``FILE:KEY`` for a part.

    Raises:
        StoreError: no such file or key, damaged, with objects other than tensors and plain values,
            or with other names or shapes than the network's.
        UsageError: ``.safetensors``, and that library is not installed.

    Warns:
        RepsimWarning: of entries beside those that were loaded.
    """
    file, key = split_reference(path)
    places = find_states(file)
    if not places:
        raise StoreError(
            f"{file} holds no weights; expected a dict of names to tensors, alone or under "
            f"{', '.join(filter(None, ADDRESSES))} or networks.NAME"
        )
    candidates = _distinct(_candidates(network, _chosen(file, places, key), bool(key)))
    exact = [each for each in candidates if not misfits(network, each.state)]
    fitting = exact or [each for each in candidates if loads(network, each.state)]
    if not fitting:
        raise _unfit(network, file, places, candidates)
    taken = _only(file, fitting)
    try:
        network.load_state_dict(taken.state)
    except Exception as error:  # a module may have rules of its own
        raise StoreError(
            f"{file} does not fit {type(network).__name__} ({reason(error)})"
        ) from error
    _warn(file, taken, fitting)


def network_digest(network: nn.Module) -> str:
    """Hexadecimal SHA-256 of a network's state: names, types, shapes and bytes, in their order.

    Weights that a module packs, as quantised ones do, count as well.

    Raises:
        UsageError: weights that do not exist yet, as in lazy layers.
    """
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        for part, values in _tensors(name, value):
            if isinstance(values, str):
                digest.update(f"{part} {values}\n".encode())
                continue
            if is_lazy(values) or values.is_meta:
                raise UsageError(
                    f"{part!r} of {type(network).__name__} has no values yet; run the network "
                    "once, or load weights"
                )
            digest.update(f"{part} {values.dtype} {tuple(values.shape)}\n".encode())
            raw = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().data)
    return digest.hexdigest()


def _tensors(name: str, value: Any) -> Iterator[tuple[str, Tensor | str]]:
    """The plain tensors and the settings in an entry of a state dict, by name."""
    if isinstance(value, Tensor) and value.is_quantized:
        yield f"{name}.int_repr", value.int_repr()
        if value.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
            yield f"{name}.scale", f"{value.q_scale()} {value.q_zero_point()}"
        else:
            yield f"{name}.scales", value.q_per_channel_scales()
            yield f"{name}.zero_points", value.q_per_channel_zero_points()
    elif hasattr(value, "__tensor_flatten__"):  # a tensor that is made of others
        for inner in value.__tensor_flatten__()[0]:
            yield from _tensors(f"{name}.{inner}", getattr(value, inner))
    elif isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _tensors(f"{name}.{key}", each)
    elif isinstance(value, (tuple, list)):
        for place, each in enumerate(value):
            yield from _tensors(f"{name}.{place}", each)
    elif isinstance(value, torch.ScriptObject):  # packed weights of recurrent layers
        yield from _tensors(name, value.__getstate__())
    elif isinstance(value, (str, int, float, torch.dtype)):
        yield name, repr(value)


def _chosen(file: Path, places: list[Place], key: str) -> list[tuple[Place, str]]:
    """The state dicts that a key leads to, each with the prefix of names that is left of it."""
    if not key:
        return [(place, "") for place in places]
    found = [(place, "") for place in places if f"{place.address}.".startswith(f"{key}.")] or [
        (place, rest)
        for place in places
        if (rest := _rest(key, place.address))
        and any(k.startswith(f"{rest}.") for k in place.state)
    ]
    if not found:
        raise StoreError(f"{file} has no key {key!r}; {choices(key, _keys(places))}")
    return found


def _rest(key: str, address: str) -> str:
    """The part of a key below an address; empty where it does not lead there."""
    return key if not address else key[len(address) + 1 :] if key.startswith(f"{address}.") else ""


def _keys(places: list[Place]) -> list[str]:
    """Addresses of state dicts, and the first parts of their names where these differ."""
    keys = [place.address for place in places if place.address]
    for place in places:
        parts = dict.fromkeys(name.partition(".")[0] for name in place.state if "." in name)
        keys += [".".join(filter(None, (place.address, part))) for part in parts]
    return keys


def _candidates(
    network: nn.Module, chosen: list[tuple[Place, str]], named: bool
) -> Iterator[_Candidate]:
    """Parts of the chosen state dicts, the usual ones first."""
    least = max(1, len(network.state_dict()) // 2)  # tied tensors and counts may be absent
    unusual = []
    for place, prefix in chosen:
        state = below(place.state, prefix)
        common = list(common_prefixes(state))
        usual = named or place.address in ADDRESSES or place.keys[:-1] == ("networks",)
        for inner in [*common, *(p for p in inner_prefixes(state, least) if p not in common)]:
            address = ".".join(filter(None, (place.address, prefix, inner)))
            start = f"{inner}." if inner else ""
            rest = tuple(
                k
                for k in state
                if not k.startswith(start) and k != AVERAGED and isinstance(state[k], Tensor)
            )
            candidate = _Candidate(
                address or TOP,
                prepared(network, below(state, inner)),
                rest,
                usual and inner in common,
            )
            if candidate.usual:
                yield candidate
            else:
                unusual.append(candidate)
    yield from unusual


def _distinct(candidates: Iterator[_Candidate]) -> list[_Candidate]:
    """The candidates without repetitions of the same tensors under the same names."""
    found: dict[tuple[tuple[str, int], ...], _Candidate] = {}
    for each in candidates:
        found.setdefault(tuple(sorted((k, id(v)) for k, v in each.state.items())), each)
    return list(found.values())


def _only(file: Path, fitting: list[_Candidate]) -> _Candidate:
    """The one usual place that fits, or else the one place."""
    first = [each for each in fitting if each.usual] or fitting
    if len(first) > 1:
        addresses = [each.address for each in first]
        example = next(each for each in addresses if each != TOP)
        raise StoreError(
            f"{file} holds weights that fit under {' and '.join(addresses)}; say which, as in "
            f"{file.name}:{example}"
        )
    return first[0]


def _warn(file: Path, taken: _Candidate, fitting: list[_Candidate]) -> None:
    others = [each.address for each in fitting if each is not taken]
    left = f"; left out {len(taken.rest)} more tensors ({few(taken.rest)})" if taken.rest else ""
    also = (
        f"; {' and '.join(others)} would fit too, as in {file.name}:{others[0]}" if others else ""
    )
    if left or also:
        warnings.warn(
            f"{file}: took the weights under {taken.address}{left}{also}",
            RepsimWarning,
            stacklevel=3,
        )


def _unfit(
    network: nn.Module, file: Path, places: list[Place], candidates: list[_Candidate]
) -> StoreError:
    """The refusal: the nearest part of the file, its misfits, and the keys there are."""
    expected = set(network.state_dict())
    nearest = min(
        candidates,
        key=lambda each: (
            expected.isdisjoint(each.state),
            not each.usual,
            len(expected ^ set(each.state)),
        ),
    )
    keys = _keys(places)
    there = f"; the file has {few(keys, 10)}" if keys else ""
    return StoreError(
        f"{file} does not fit {type(network).__name__}: "
        f"{'; '.join(misfits(network, nearest.state))}, nearest under {nearest.address}{there}; "
        "check the network and its arguments, or name a part as FILE:KEY"
    )
