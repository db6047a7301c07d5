"""Other names for networks and layers in a figure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from repsim.errors import UsageError, choices
from repsim.nested import mappings
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
        names: new names by old ones. A network is found wherever its name stands as a word, but not
            in the addresses of layers; a layer by its address, or by the first levels of it, such
            as ``features`` for ``features.0.conv``, but not among the words of a sentence. A ``*``
            stands for any part of an address, and in the new name for the same part:
            ``layers.*.mlp`` as ``mlp *``.
        used: collects the old names that were found; then other names are not refused.

    Raises:
        UsageError: a name that none of the figures has.
    """
    met = set() if used is None else used
    change = _Change.of(list(figures.values()), names, met)
    found = {key: change.figure(data) for key, data in figures.items()}
    for old in names if used is None else ():
        if old not in met:
            known = {each for data in figures.values() for each in _known(data)}
            raise UsageError(f"no figure has a network or layer {old!r}; {choices(old, known)}")
    return found


@dataclass(frozen=True)
class _Change:
    """New names for figures of one result.

    Attributes:
        names: by old ones.
        networks: old names that are of networks, though layers may begin with them.
        layers: old names that are of layers, though sentences may have them as words.
        used: collects the old names that were found.
    """

    names: Mapping[str, str]
    networks: Set[str]
    layers: Set[str]
    used: set[str]

    @classmethod
    def of(cls, data: Sequence[FigureData], names: Mapping[str, str], used: set[str]) -> _Change:
        """The change of figures: each old name is of a network, of layers, or of neither."""
        networks = {each for one in data for each in _networks(one)} & names.keys()
        known = {each for one in data for each in _layers(one)}
        layers = {
            old
            for old, new in names.items()
            if old not in networks and any(_address(each, old, new) != each for each in known)
        }
        return cls(names, networks, layers, used)

    def figure(self, data: FigureData) -> FigureData:
        """A figure with the new names."""
        texts = {key: self._value(getattr(data, key), key) for key in ("caption", "heading")}
        return replace(data, panels=[self._value(panel, "") for panel in data.panels], **texts)

    def _value(self, value: Any, field: str) -> Any:
        if isinstance(value, str):
            return self._text(value, field)
        if is_dataclass(value) and not isinstance(value, type):
            kept = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in _KEPT}
            return replace(value, **{key: self._value(each, key) for key, each in kept.items()})
        if isinstance(value, (list, tuple)):
            return [self._value(each, field) for each in value]
        return value

    def _text(self, value: str, field: str) -> str:
        for old, new in self.names.items():
            if field in _ADDRESSES:
                found = value if old in self.networks else _address(value, old, new)
            elif old in self.layers and "." not in old:
                found = _address(value, old, new)
            else:
                found = _words(value, old, new)
            if found != value:
                self.used.add(old)
            value = found
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
    labels = {each.label for panel in data.panels for each in panel.labelled()}
    return labels | _sides(data) | _layers(data)


def _sides(data: FigureData) -> set[str]:
    """The networks that rows and columns of maps belong to."""
    return {getattr(panel, key, "") for panel in data.panels for key in ("name_a", "name_b")} - {""}


def _layers(data: FigureData) -> set[str]:
    """The addresses of layers in a figure."""
    held = [getattr(panel, key, ()) for panel in data.panels for key in _ADDRESSES]
    return {each for values in held for each in values if isinstance(each, str)}


def _networks(data: FigureData) -> set[str]:
    """The names of networks in a figure: of its maps and series, and in its provenance."""
    groups = {each.group for panel in data.panels for each in panel.labelled() if each.group}
    records = mappings(data.provenance)
    named = {str(each[key]) for each in records for key in ("network", "run") if key in each}
    return groups | named | _sides(data)
