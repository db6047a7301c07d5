"""The images that a store shows, compared with those that were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.cli.stores import Places
    from repsim.data.size import Size

#: Records of a store that tell it from others of its network, by the option that asks for each.
_OPTIONS = {"--data": "data", "--image-size": "image_size"}


def shows(about: Mapping[str, Any], split: str, places: Places) -> bool:
    """True if a store with the provenance ``about`` is of the part of the set, at the size."""
    return not contradicts(about, split, places) and is_of(about, split)


def contradicts(
    about: Mapping[str, Any], split: str, places: Places, *, known: bool = True
) -> bool:
    """True if the set or the size is another than those that were asked for.

    Args:
        about: the provenance of a store.
        split: the part that was asked for.
        places: with the set and the size, if they were asked for.
        known: whether a store that does not record them is another, too.
    """
    asked: dict[str, Any] = {}
    if places.data is not None:
        asked["data"] = set_name(places.data)
    size = _size(about, split, places)
    if size is not None:
        from repsim.data.size import size_record

        asked["image_size"] = size_record(size)
    return any(
        about.get(key) != value
        for key, value in asked.items()
        if known or about.get(key) is not None
    )


def set_name(reference: str) -> str:
    """The name that stores record of an image set, or of a file of texts."""
    from repsim.data import find_set
    from repsim.data.text import SUFFIXES

    named = find_set(reference)
    if named is not None:
        return named.name
    path = Path(reference).expanduser()
    return path.stem if path.suffix in (".npz", *SUFFIXES) else path.resolve().name


def tell_apart(records: Sequence[Mapping[str, Any]]) -> str:
    """The options whose values differ between stores: ``--data digits|mnist, ``, or nothing."""
    found = ""
    for option, key in _OPTIONS.items():
        values = dict.fromkeys(str(each[key]) for each in records if each.get(key) is not None)
        found += f"{option} ({' or '.join(values)}), " if len(values) > 1 else ""
    return found


def _size(about: Mapping[str, Any], split: str, places: Places) -> Size | None:
    """Height and width that were asked for; those of the stored images for ``own``."""
    from repsim.data import find_set, load
    from repsim.data.size import parse_size

    size = parse_size(places.image_size)
    if not isinstance(size, str):
        return size
    named = find_set(str(about.get("data", "")))
    if named is not None:
        return named.own_size
    if places.data is None:
        raise UsageError("the own size of images needs their set; say --data, or a size as 28x56")
    return load(places.data, split, data_dir=places.data_dir, image_size=size).size


def is_of(about: Mapping[str, Any], split: str) -> bool:
    """True if the recorded split is the one that was asked for, however it was spelled."""
    from repsim.data import Split, find_set

    parsed, named = Split.parse(split), find_set(str(about.get("data", "")))
    if about.get("split") in (split, str(parsed)):
        return True
    if named is None or parsed.base not in named.sizes:
        return False
    return about.get("split") == str(parsed.within(named.sizes[parsed.base]))
