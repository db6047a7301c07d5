"""Named sets: each module here is one, named as on the command line.

A module defines ``SET``, a ``DataSet`` subclass that is a frozen dataclass; nothing else has to
know of it. ``two_digits.py`` would be the set ``two-digits``.
"""

from __future__ import annotations

import os

from repsim.data.dataset import DataSet
from repsim.data.size import DEFAULT_SIZE, Wanted, parse_size, size_text
from repsim.discovery import ModuleIndex

_SETS: ModuleIndex[type[DataSet]] = ModuleIndex(__name__, "SET", "image set", separator="-")

set_names, find_kind = _SETS.names, _SETS.find


def find_set(reference: str | os.PathLike[str]) -> DataSet | None:
    """The set that ``NAME`` or ``NAME:key=value,key=value`` means; None where no set has the name.

    Raises:
        UsageError: parameters that the set does not have, or values that do not fit.
    """
    name, _, given = str(reference).partition(":")
    if not isinstance(reference, str) or name not in set_names():
        return None
    return find_kind(name).parse(given)


def shown_size(reference: str | os.PathLike[str], wanted: Wanted) -> str:
    """The spelling of the size that images of a set or file have when they are asked for.

    It is ``own`` for the size that files are stored in, which only reading them tells.
    """
    named, size = find_set(reference), parse_size(wanted)
    if named is not None:
        return size_text(named.size(size))
    return size if isinstance(size, str) else size_text(DEFAULT_SIZE if size is None else size)
