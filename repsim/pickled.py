"""Files of ``torch.save``, read without running code from them."""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch

from repsim.errors import StoreError
from repsim.space import check_stored

#: torch whose ``weights_only`` could be got around.
_UNSAFE_BELOW = "2.6"

#: Signs of a line from which a pickle is looked at, and the longest name of a class in one.
_LINE, _NAME = 2000, 1000


def load_pickled(path: Path, *, mapped: bool = False) -> Any:
    """The tensors and plain values of a file, on the CPU.

    Args:
        path: of the file.
        mapped: tensors stay in the file until they are read.

    Raises:
        StoreError: this release of torch may run code from such files.
        Exception: of any kind, from torch, for a file that is damaged or holds other objects.
    """
    if torch.__version__ < _UNSAFE_BELOW:
        raise StoreError(
            f"{path}: torch {torch.__version__} may run code from such a file (CVE-2025-32434); "
            f"take torch {_UNSAFE_BELOW} or later, or a .safetensors file"
        )
    _check_tensors(path)
    return torch.load(str(path), map_location="cpu", weights_only=True, mmap=mapped)


def _check_tensors(path: Path) -> None:
    """Check the sizes that the members of a file of ``torch.save`` claim, before it is read.

    The code of a TorchScript program is the only one that torch compresses.

    Raises:
        ValueError: compressed, or larger than what is stored.
    """
    if not zipfile.is_zipfile(path):
        return
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if "/code/" in info.filename:
                continue
            stored = min(info.compress_size, size)
            check_stored(f"member {info.filename!r}", info.file_size, stored, compressed=False)
            if info.filename.endswith("data.pkl"):
                _check_names(archive.read(info))


def _check_names(pickled: bytes) -> None:
    """Raise ``ValueError`` for endless names of classes.

    torch looks for words in its own message about them, which takes time as the square of their
    length.
    """
    if max(map(len, pickled.split(b"\n"))) < _LINE:
        return
    for code, value, _ in pickletools.genops(pickled):
        if code.name == "GLOBAL" and len(str(value)) > _NAME:
            raise ValueError(f"it names a class by {len(str(value)):,} signs")
