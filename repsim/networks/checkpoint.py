"""Files of weights: read without running code from them, and searched for state dicts."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from repsim.errors import StoreError
from repsim.optional import optional, reason
from repsim.pickled import load_pickled

State = Mapping[str, Any]  # tensors, and other state of modules


@dataclass(frozen=True)
class Place:
    """A state dict within a file: the keys that lead to it, and its content."""

    keys: tuple[str, ...]
    state: State

    @property
    def address(self) -> str:
        """The keys with dots; empty for the top level."""
        return ".".join(self.keys)


def split_reference(reference: str | os.PathLike[str]) -> tuple[Path, str]:
    """The file and the key of ``FILE`` or ``FILE:KEY``; an existing file may have a colon."""
    path = Path(reference).expanduser()
    file, colon, key = str(path).rpartition(":")
    if path.is_file() or not colon or not Path(file).is_file():
        return path, ""
    return Path(file), key


def find_states(path: Path) -> list[Place]:
    """Every state dict in a file, from the outside inwards.

    Raises:
        StoreError: no such file, damaged, or with objects other than tensors and plain values.
        UsageError: ``.safetensors``, and that library is not installed.
    """
    return list(_states(_read(path), (), set()))


def _states(content: Any, keys: tuple[str, ...], seen: set[int]) -> Iterator[Place]:
    if not isinstance(content, Mapping) or id(content) in seen:  # a pickle may hold itself
        return
    if not all(isinstance(key, str) for key in content):  # of an optimizer, by numbers
        return
    seen.add(id(content))
    if any(isinstance(value, Tensor) for value in content.values()):
        yield Place(keys, _entries(content))
    for key, value in content.items():
        yield from _states(value, (*keys, key), seen)


def _entries(content: State) -> State:
    """The part of a mapping that a network may load, with the versions that torch noted.

    Other values than tensors have a module's name before theirs: extra state, packed parameters.
    """
    state = {
        key: value
        for key, value in content.items()
        if isinstance(value, Tensor) or ("." in key and not isinstance(value, Mapping))
    }
    return content if len(state) == len(content) else state


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says the same
            return load_pickled(path)
    except StoreError:
        raise
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
