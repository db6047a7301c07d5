"""Names and sizes of the files that a set was read from, by which another set is told apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repsim.files import sha256

#: Lists of up to so many files are recorded whole, longer ones by their digest alone.
SHORT = 16


@dataclass(frozen=True)
class FileList:
    """Names, relative to the folder of the set, and sizes in bytes; in order of the names."""

    entries: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, paths: Iterable[Path], root: Path) -> FileList:
        """The list of existing files in or below ``root``."""
        sizes = ((path.relative_to(root).as_posix(), path.stat().st_size) for path in paths)
        return cls(tuple(sorted(sizes)))

    def record(self) -> dict[str, Any]:
        """JSON values for provenance: ``count``, ``bytes``, ``sha256`` and, if short, ``list``.

        The digest is of a line ``NAME``, tab, ``BYTES`` a file.
        """
        lines = "".join(f"{name}\t{size}\n" for name, size in self.entries)
        record: dict[str, Any] = {
            "count": len(self.entries),
            "bytes": sum(size for _, size in self.entries),
            "sha256": sha256(lines.encode(errors="surrogateescape")),
        }
        if len(self.entries) <= SHORT:
            record["list"] = [list(entry) for entry in self.entries]
        return record
