"""Parts of an image set: ``train``, ``test[100:200]``, or a fifth that is held out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repsim.errors import UsageError, choices
from repsim.files import utf8

# 15 digits: more examples than any set has, and far from Python's limit on parsing integers
_SYNTAX = re.compile(r"([A-Za-z_]\w*)(?:\[([0-9]{0,15}):([0-9]{0,15})\])?")


@dataclass(frozen=True)
class Split:
    """The examples ``start`` to ``stop`` of ``base``; ``stop`` is exclusive, None the end."""

    base: str
    start: int = 0
    stop: int | None = None

    @classmethod
    def parse(cls, text: str) -> Split:
        """Read ``base``, ``base[start:stop]``, ``base[start:]`` or ``base[:stop]``.

        Raises:
            UsageError: any other text, or a slice with no examples.
        """
        match = _SYNTAX.fullmatch(text)
        if match is None:
            raise UsageError(
                f"split {text!r} cannot be read; write a name such as 'train', "
                "or a slice such as 'train[:40000]' or 'test[100:200]'"
            )
        base, start, stop = match.groups()
        split = cls(base, int(start or 0), int(stop) if stop else None)
        if split.stop is not None and split.start >= split.stop:
            raise UsageError(f"split {text!r} is empty; stop must be larger than start")
        return split

    def among(self, name: str, bases: Iterable[str]) -> Split:
        """This split, if image set ``name`` has its base; otherwise ``UsageError``."""
        bases = list(bases)
        if self.base not in bases:
            raise UsageError(f"{name} has no split {self.base!r}; {choices(self.base, bases)}")
        return self

    def within(self, length: int) -> Split:
        """The one spelling of this split for a base of ``length`` examples.

        A slice has both bounds, ``train[0:40000]``; a slice of everything is the base, ``train``.

        Raises:
            UsageError: the slice reaches beyond the base, or holds nothing.
        """
        stop = length if self.stop is None else self.stop
        if stop > length or self.start >= length:
            raise UsageError(
                f"split '{self}' goes beyond {self.base!r}, which has {length} examples; "
                f"choose bounds from 0 to {length}"
            )
        whole = self.start == 0 and stop == length
        return replace(self, stop=None if whole else stop)

    def meets(self, other: Split) -> bool:
        """True if examples can be in both splits of a set: slices of one base that overlap.

        ``all`` holds the other bases, and a slice of it may hold examples of any.
        """
        if self.base != other.base:
            return "all" in (self.base, other.base)
        first, second = sorted((self, other), key=lambda each: each.start)
        return first.stop is None or second.start < first.stop

    @property
    def rows(self) -> slice:
        """The rows of the base that this split takes."""
        return slice(self.start, self.stop)

    def __str__(self) -> str:
        if self.start == 0 and self.stop is None:
            return self.base
        return f"{self.base}[{self.start}:{'' if self.stop is None else self.stop}]"


@dataclass(frozen=True)
class Part:
    """The part of a data set that is used, in words: ``12 of 60, test part``.

    Attributes:
        n: examples of it.
        whole: examples of all splits; 0 where that is not known.
        split: canonical text.
    """

    n: int
    whole: int
    split: str

    @classmethod
    def of(cls, examples: Any) -> Part:
        """The part that an image set or a set of texts is."""
        return cls(len(examples), examples.whole, examples.split)

    def __str__(self) -> str:
        of = f" of {self.whole:,}" if self.whole else ""
        named = self.split if "[" in self.split or self.split == "all" else f"{self.split} part"
        return f"{self.n:,}{of}, {named}"

    def counted(self, rows: int) -> str:
        """The same for a store, with the number of its rows if that differs."""
        return f"n = {self}" if rows == self.n else f"n = {rows:,} ({self})"


def holdout(keys: Sequence[str], labels: np.ndarray) -> np.ndarray:
    """Mark the fifth of the examples that is held out where a set comes without a test split.

    Each label gives its share, by largest remainder, and within a label the examples whose keys
    have the smallest SHA-256 are held out. No random number generator is involved, so that the
    split is the same under every version of every library.

    Args:
        keys: n distinct names of the examples.
        labels: shape (n,), integers.

    Returns:
        Boolean mask, shape (n,), with ceil(n / 5) examples held out.
    """
    total = -(-len(keys) // 5)
    values, counts = np.unique(labels, return_counts=True)
    quotas, remainders = np.divmod(counts * total, len(keys))
    largest = np.argsort(-remainders, kind="stable")
    quotas[largest[: total - quotas.sum()]] += 1

    draws = np.array([hashlib.sha256(utf8(f"repsim holdout {key}")).hexdigest() for key in keys])
    held = np.zeros(len(keys), dtype=bool)
    for value, quota in zip(values, quotas, strict=True):
        members = np.flatnonzero(labels == value)
        held[members[np.argsort(draws[members])[:quota]]] = True
    return held
