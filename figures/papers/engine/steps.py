"""Steps: runs that are trained and results that are computed, each once.

A step lies where a hash of its settings and of the steps that it needs says, so that it is found
again, whatever was asked for before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.keys import key_of
from repsim.progress import Progress


class Step(ABC):
    """Something that is made once.

    Attributes:
        kind: ``run`` or ``result``.
        folder: where it lies.
        name: what people call it; with the key the name of its files.
        needs: the steps that it is made from.
    """

    kind: str
    folder: Folder
    name: str
    needs: tuple[Step, ...] = ()

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """All settings that it depends on, as JSON values."""

    @cached_property
    def key(self) -> str:
        """The first digits of a hash of the settings and of the keys of the needs."""
        return key_of(self.settings, [step.key for step in self.needs])

    @property
    @abstractmethod
    def path(self) -> Path:
        """Its file or folder."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """True where it is there, whole."""

    @abstractmethod
    def make(self, progress: Progress) -> None:
        """Make it, or the part of it that is missing."""

    @property
    def bytes(self) -> int:
        """Bytes that it takes on the disk, about."""
        return 0

    @property
    def touches(self) -> frozenset[Path]:
        """Runs whose folders it writes into: one step at a time writes into each."""
        return frozenset()
