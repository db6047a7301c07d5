"""The folder of a reproduction, which one process at a time writes into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from repsim.data import ImageSet, load
from repsim.data.sets import find_set
from repsim.data.splits import Split
from repsim.errors import UsageError
from repsim.files import exclusive, write_atomic
from repsim.reading import read_json


@lru_cache(maxsize=4)  # many steps ask for the same few parts
def _images(data: str, split: str, data_dir: Path | None, image_size: str, target: str) -> ImageSet:
    return load(data, split, data_dir=data_dir, image_size=image_size, target=target)


@dataclass(frozen=True)
class Folder:
    """The folder of a reproduction, with its ``runs/`` and ``results/``.

    Attributes:
        path: where all of it lies.
        data_dir: of the image sets; None for the usual one.
        device: where networks run.
    """

    path: Path
    data_dir: Path | None = None
    device: str = "auto"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def results(self) -> Path:
        return self.path / "results"

    def images(self, data: str, split: str, image_size: str = "", target: str = "") -> ImageSet:
        """A part of an image set; as for ``repsim.data.load``."""
        return _images(data, split, self.data_dir, image_size, target)

    def count(self, data: str, split: str) -> int:
        """Number of images of a part; those of a named set are not read."""
        named = find_set(data)
        return len(self.images(data, split)) if named is None else named.count(Split.parse(split))

    def outline(self, data: str, split: str, image_size: str = "", target: str = "") -> ImageSet:
        """Images of the shape and classes that a part has, of a named set perhaps fewer.

        A grid of two hundred compositions of the same digits is outlined by one pair.
        """
        named = find_set(data)
        if named is not None:
            data, split = named.outline().name, Split.parse(split).base
        return self.images(data, split, image_size, target)

    def check_holds(self, contents: Mapping[str, Any]) -> None:
        """Raise ``UsageError`` if there is another reproduction than the one of ``contents``."""
        if not self._marker.is_file():
            return
        try:
            found = read_json(self._marker)
        except ValueError:
            found = None
        if found != contents:
            words = ", ".join(map(str, found.values())) if isinstance(found, dict) else "damaged"
            raise UsageError(
                f"{self.path} holds another reproduction ({words}); choose another --output"
            )

    @property
    def _marker(self) -> Path:
        return self.path / "recipe.json"  # the name that folders have had from the first

    def lock(self, contents: Mapping[str, Any]) -> AbstractContextManager[None]:
        """A context in which no other process writes into the folder.

        Args:
            contents: what the folder holds, such as the paper and the scale; written into it.

        Raises:
            UsageError: another process works there, or the folder holds another reproduction.
        """
        if not self._marker.is_file():
            write_atomic(self._marker, json.dumps(dict(contents)) + "\n")
        self.check_holds(contents)
        busy = f"{self.path} is being worked on by another process; wait for it or stop it"
        return exclusive(self.path / ".lock", busy)
