"""Weights of foreign networks: read without running code from the file, matched to the letter."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from repsim.errors import StoreError, UsageError
from repsim.optional import optional, reason

State = Mapping[str, Tensor]

#: Where training programs put the weights within their checkpoints.
ADDRESSES = ("state_dict", "model_state_dict", "model")
UNSAFE_BELOW = "2.6"  # torch whose weights_only could be got around
SHOWN = 3  # keys that an error names


def load_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Give a network the weights of a file; every name and shape must fit.

    The file holds a state dict, or one under ``state_dict``, ``model_state_dict``, ``model`` or
    ``networks.NAME``. What all its names begin with, such as ``module.``, is left out where the
    network does without it. Floating-point values are converted to the network's types.

    Args:
        network: changed in place.
        path: a ``.safetensors`` file, or one that ``torch.save`` wrote.

    Raises:
        StoreError: no such file, damaged, with objects other than tensors and plain values, or with
            other names or shapes than the network's.
        UsageError: ``.safetensors``, and that library is not installed.
    """
    path = Path(path).expanduser()
    expected = network.state_dict()
    states = dict(_states(_read(path)))
    if not states:
        raise StoreError(
            f"{path} holds no weights; expected a dict of names to tensors, alone or under "
            f"{', '.join(ADDRESSES)} or networks.NAME"
        )
    candidates = [(where, each) for where in states for each in _unprefixed(states[where])]
    fitting = [(where, each) for where, each in candidates if not _misfits(expected, each)]
    if len({where for where, _ in fitting}) > 1:
        raise StoreError(
            f"{path} holds weights that fit under {' and '.join(where for where, _ in fitting)}; "
            "save the ones you want in a file of their own"
        )
    if not fitting:
        _, nearest = min(candidates, key=lambda pair: len(set(expected) ^ set(pair[1])))
        raise StoreError(
            f"{path} does not fit {type(network).__name__}: "
            f"{'; '.join(_misfits(expected, nearest))}; check the network and its arguments"
        )
    try:
        network.load_state_dict(fitting[0][1])
    except Exception as error:  # a module may have rules of its own
        raise StoreError(
            f"{path} does not fit {type(network).__name__} ({reason(error)})"
        ) from error


def network_digest(network: nn.Module) -> str:
    """Hexadecimal SHA-256 of a network's state: names, types, shapes and bytes, in their order.

    Raises:
        UsageError: weights that do not exist yet, as in lazy layers.
    """
    digest = hashlib.sha256()
    for name, values in network.state_dict().items():
        if not isinstance(values, Tensor):  # a module's extra state
            continue
        if is_lazy(values) or values.is_meta:
            raise UsageError(
                f"{name!r} of {type(network).__name__} has no values yet; run the network once, or "
                "load weights"
            )
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        raw = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(raw.numpy().data)
    return digest.hexdigest()


def _read(path: Path) -> Any:
    """The content of a file of weights; no code from it is run."""
    if not path.is_file():
        raise StoreError(f"{path}: no such file of weights")
    safe = path.suffix == ".safetensors"
    read = optional("safetensors.torch").load_file if safe else _torch_load
    try:
        return read(path)
    except StoreError:
        raise
    except Exception as error:  # both libraries raise many kinds on damaged files
        raise StoreError(
            f"{path} is damaged or no file of weights ({reason(error)}); expected .safetensors, or "
            "a state dict from torch.save"
        ) from error


def _torch_load(path: Path) -> Any:
    if torch.__version__ < UNSAFE_BELOW:
        raise StoreError(
            f"{path}: torch {torch.__version__} may run code from such a file (CVE-2025-32434); "
            f"take torch {UNSAFE_BELOW} or later, or a .safetensors file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they are about is in the error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if foreign := _foreign(path, error):
            raise StoreError(
                f"{path} holds {foreign}, and reading that could run code; where you trust it, "
                f"convert it: content = torch.load({path.name!r}, weights_only=False), then "
                "torch.save(content.state_dict(), 'weights.pt'), or content['state_dict'] of a dict"
            ) from error
        raise


def _foreign(path: Path, error: Exception) -> str | None:
    """The class that torch refused to read for safety, if it failed for that."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"objects of {found[1]}"
    if "TorchScript" in str(error):
        return "a TorchScript program"
    with path.open("rb") as stream:
        is_pickle = stream.read(1) == b"\x80"
    if is_pickle and isinstance(error, pickle.UnpicklingError):
        return "a pickle that torch.save did not write"
    return None


def _states(content: Any, address: str = "") -> Iterator[tuple[str, State]]:
    """The state dicts in a checkpoint, by their addresses."""
    if not isinstance(content, Mapping):
        return
    if content and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        yield address or "its top level", content
        return
    if not address:
        for key in ADDRESSES:
            yield from _states(content.get(key), key)
        networks = content.get("networks")
        if isinstance(networks, Mapping):
            for key, network in networks.items():
                yield from _states(network, f"networks.{key}")


def _unprefixed(state: State) -> Iterator[State]:
    """A state dict as it is, then without the first, second ... part that all names share."""
    yield state
    while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        state = {key.partition(".")[2]: value for key, value in state.items()}
        yield state


def _misfits(expected: State, state: State) -> list[str]:
    """Differences between a state dict and a network's, a phrase for each kind."""
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shapes = [
        f"{key}: {tuple(state[key].shape)} in the file, {tuple(expected[key].shape)} in the network"
        for key in expected
        if key in state and not is_lazy(expected[key]) and state[key].shape != expected[key].shape
    ]
    # Floating-point types convert into each other; imaginary parts and codes do not.
    types = [
        f"{key}: {state[key].dtype} in the file, {expected[key].dtype} in the network"
        for key in expected
        if key in state
        and state[key].dtype != expected[key].dtype
        and not (state[key].is_floating_point() and expected[key].is_floating_point())
    ]
    kinds = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "of another type": types,
    }
    return [f"{len(keys)} {kind} ({_few(keys)})" for kind, keys in kinds.items() if keys]


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (", ..." if len(keys) > SHOWN else "")
