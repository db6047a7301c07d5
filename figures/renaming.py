"""Other names for networks and layers in a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from repsim.errors import UsageError, choices
from repsim.results.figure import FigureData

#: Fields of panels that hold no text for readers.
_KEPT = frozenset({"look", "kernel", "estimator", "images", "id", "arrows"})

#: Fields that hold addresses of layers, if they hold text.
_ADDRESSES = frozenset({"layers_a", "layers_b", "x"})


def renamed(
    figures: Mapping[str, FigureData], names: Mapping[str, str], *, used: set[str] | None = None
) -> dict[str, FigureData]:
    """Figures with other names for networks and layers, in labels, axes and captions.

    Args:
        figures: by any key.
        names: new names by old ones. A network is found wherever its name stands as a word; a layer
            by its address, or by the first levels of it, such as ``features`` for
            ``features.0.conv``. A ``*`` stands for any part of an address, and in the new name for
            the same part: ``layers.*.mlp`` as ``mlp *``.
        used: collects the old names that were found; then other names are not refused.

    Raises:
        UsageError: a name that none of the figures has.
    """
    met = set() if used is None else used
    found = {key: _figure(data, names, met) for key, data in figures.items()}
    for old in names if used is None else ():
        if old not in met:
            known = {each for data in figures.values() for each in _known(data)}
            raise UsageError(f"no figure has a network or layer {old!r}; {choices(old, known)}")
    return found


def _figure(data: FigureData, names: Mapping[str, str], used: set[str]) -> FigureData:
    texts = {key: _of(getattr(data, key), names, used, key) for key in ("caption", "heading")}
    panels = [_of(panel, names, used, "") for panel in data.panels]
    return replace(data, panels=panels, **texts)


def _of(value: Any, names: Mapping[str, str], used: set[str], field: str) -> Any:
    """A field with the new names."""
    if isinstance(value, str):
        change = _address if field in _ADDRESSES else _words
        for old, new in names.items():
            value, before = change(value, old, new), value
            if value != before:
                used.add(old)
        return value
    if is_dataclass(value) and not isinstance(value, type):
        kept = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in _KEPT}
        return replace(value, **{key: _of(each, names, used, key) for key, each in kept.items()})
    if isinstance(value, (list, tuple)):
        return [_of(each, names, used, field) for each in value]
    return value


def _words(text: str, old: str, new: str) -> str:
    """A text with a name replaced wherever it stands as a word."""
    return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w.]*\w)", lambda _: new, text)


def _address(layer: str, old: str, new: str) -> str:
    """An address with its first levels replaced; each ``*`` of the new name is a part of it."""
    found = re.fullmatch(re.escape(old).replace(r"\*", "(.*?)") + r"(?P<rest>[.:@#].*)?", layer)
    if found is None:
        return layer
    parts = list(found.groups()[:-1])
    filled = re.sub(r"\*", lambda star: parts.pop(0) if parts else star[0], new)
    return filled + (found["rest"] or "")


def _known(data: FigureData) -> set[str]:
    """Layers and names of networks in a figure, to suggest from."""
    found: set[str] = set()
    for panel in data.panels:
        found |= {each.label for each in panel.labelled()}
        for key in ("name_a", "name_b", *_ADDRESSES):
            held = getattr(panel, key, ())
            found |= {held} if isinstance(held, str) else {x for x in held if isinstance(x, str)}
    return found
