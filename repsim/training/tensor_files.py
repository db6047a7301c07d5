"""Files of tensors and plain values with a checksum: checkpoints, states, statistics of sides."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor
from torch.nn import Module

from repsim.errors import StoreError
from repsim.files import write_atomic
from repsim.pickled import load_pickled

#: The first had no checksum, and states to resume from had no format.
FORMAT_VERSION = 2

_CHECKSUM = "checksum"


def save_tensors(path: Path, format_name: str, content: Mapping[str, Any]) -> None:
    """Write a file atomically; the same content gives the same bytes."""
    whole = {"format": format_name, "format_version": FORMAT_VERSION, **content}
    whole[_CHECKSUM] = checksum(whole)
    buffer = io.BytesIO()  # a file name would enter the archive
    torch.save(whole, buffer)
    write_atomic(path, buffer.getvalue())


def load_tensors(path: Path, format_names: Collection[str], remedy: str) -> dict[str, Any]:
    """The content of a file whose checksum holds; never runs code from the file.

    Args:
        path: of the file.
        format_names: formats that it may have; files of the first version may have none.
        remedy: of a file that is damaged.

    Raises:
        FileNotFoundError: it is absent.
        StoreError: it may not be read, is damaged, of a later version or of another format.
    """
    content = look_into(path, format_names, remedy, mapped=False)
    held = content.pop(_CHECKSUM, None)
    if content.get("format_version", 1) == 1 and held is None:
        return content
    if held != checksum(content):
        raise StoreError(f"{path} is damaged: its checksum is of other values", remedy)
    return content


def look_into(
    path: Path, format_names: Collection[str], remedy: str, *, mapped: bool = True
) -> dict[str, Any]:
    """The content of a file without a test of its checksum; its arguments are of ``load_tensors``.

    Args:
        path: of the file.
        format_names: formats that it may have.
        remedy: of a file that is damaged.
        mapped: tensors stay in the file until they are read.
    """
    try:
        content = load_pickled(path, mapped=mapped)
    except (FileNotFoundError, StoreError):
        raise
    except PermissionError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # torch raises many kinds on damaged files
        raise StoreError(f"{path} is damaged or not a checkpoint", remedy) from error
    if not isinstance(content, dict):
        raise StoreError(f"{path} is not a checkpoint", remedy)
    if claimed := _expanded(content):
        raise StoreError(f"{path} is damaged: {claimed} repeats what is stored", remedy)
    _check_version(path, content, format_names, remedy)
    return content


def _check_version(
    path: Path, content: Mapping[str, Any], format_names: Collection[str], remedy: str
) -> None:
    if content.get("format", next(iter(format_names))) not in format_names:
        raise StoreError(f"{path} is not a checkpoint", remedy)
    if content.get("format_version", 1) not in range(1, FORMAT_VERSION + 1):
        raise StoreError(
            f"{path} is of format version {content['format_version']!r}; this repsim reads "
            f"versions 1 to {FORMAT_VERSION}"
        )


def checksum(content: Mapping[str, Any]) -> int:
    """XXH3 (64 bits) of names, types, shapes and bytes of all values, in their order."""
    digest = xxhash.xxh3_64()
    for path, value in _leaves(content):
        if isinstance(value, Tensor):
            digest.update(f"{path} {value.dtype} {tuple(value.shape)}\n".encode())
            raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(raw.numpy().data)
        else:
            digest.update(f"{path} {type(value).__name__} {value!r}\n".encode())
    return digest.intdigest()


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{path}/{key!r}")
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        yield f"{path} {type(value).__name__}", len(value)
        for key, each in enumerate(value):
            yield from _leaves(each, f"{path}/{key}")
    else:
        yield path, value


def _expanded(content: Mapping[str, Any]) -> str:
    """The place of a tensor that has more values than its storage; empty where there is none."""
    for path, value in _leaves(content):
        if isinstance(value, Tensor) and value.nbytes > value.untyped_storage().nbytes():
            return path
    return ""


def state_bytes(networks: Iterable[Module]) -> int:
    """Bytes of the tensors in the ``state_dict`` of networks; shared ones count once."""
    states = (network.state_dict(keep_vars=True).values() for network in networks)
    each = {id(value): value for state in states for value in state if isinstance(value, Tensor)}
    return sum(value.nbytes for value in each.values())


def named_nan(networks: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The first weight of some networks that is NaN or infinite; empty where none is."""
    for network, state in networks.items():
        for name, value in state.items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                return f"{name!r} of {network!r}"
    return ""
