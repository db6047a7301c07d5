"""Finding the files of an image set, and the errors about those that are absent or damaged."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from repsim.errors import DataError


def find(data_dir: Path, folders: Sequence[str], names: Sequence[str]) -> Path | None:
    """The first existing file of these names in these folders of ``data_dir``, if any."""
    candidates = (data_dir / folder / name for folder in folders for name in names)
    return next((path for path in candidates if path.is_file()), None)


def absent(dataset: str, data_dir: Path, folders: Sequence[str], name: str) -> DataError:
    """The error for a file of ``dataset`` that is in none of the folders."""
    looked = " or ".join(str(data_dir / folder) for folder in folders)
    command = f"repsim data fetch {dataset} --data-dir {shlex.quote(str(data_dir))}"
    return DataError(f"{dataset}: no {name} in {looked}; to download it: {command}")


def unreadable(path: Path, what: str, error: Exception) -> DataError:
    """The error for a file that is not ``what`` it should be; ``error`` says why, in one line."""
    reason = " ".join(str(error).replace(str(path), "it").split()) or type(error).__name__
    return DataError(f"{path}: cannot be read as {what} ({reason}); replace it with an intact copy")
