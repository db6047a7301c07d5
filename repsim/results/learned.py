"""Networks that learned from the very images that a result scores as held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repsim.errors import UsageError
from repsim.nested import mappings


def learned_from(provenance: Mapping[str, Any]) -> list[str]:
    """A sentence for each network whose training part shares images with the held-out part.

    Of networks of runs, whose records say what they were trained on. Images are told apart by the
    names of their set and part.

    Args:
        provenance: of a result. The held-out part is a record under ``test``; the network is one
            under ``network``, or was harvested on the part ``train``.
    """
    pairs = (
        (each.get("network", each.get("train")), each.get("test")) for each in mappings(provenance)
    )
    return list(dict.fromkeys(said for network, test in pairs if (said := _said(network, test))))


def not_held_out(provenance: Mapping[str, Any]) -> str:
    """The sentences of ``learned_from`` as the end of a caption; empty where there are none."""
    return "".join(f" {said}." for said in learned_from(provenance))


def _said(network: Any, test: Any) -> str:
    """The sentence for one network and one held-out part; empty where they share no images."""
    config = network.get("config") if isinstance(network, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(test, Mapping):
        return ""
    names = [str(each.get("data", "")) for each in (config, test)]
    splits = [str(each.get("split", "")) for each in (config, test)]
    trained = bool(config.get("epochs")) and network.get("epoch") != 0
    if not trained or len({*map(_plain, names)}) > 1 or not _share(*splits):
        return ""
    learned, held = (f"{Path(names[1]).name} {split}" for split in splits)
    shared = "" if learned == held else f", which shares images with {held}"
    return (
        f"{network.get('network')} was trained on {learned}{shared}: these images are not new to "
        "it, and its accuracies on them are not of held-out images"
    )


def _plain(data: str) -> str:
    """The name of a set without parameters, of a folder, or of a file without its ending."""
    path = Path(data).expanduser()
    name = path.resolve().name if path.exists() else path.name
    return name.removesuffix(".npz").partition(":")[0]


def _share(first: str, second: str) -> bool:
    """True if two parts of a set can have images in common; imports may name theirs otherwise."""
    from repsim.data.splits import Split  # its package imports torch, which results do without

    try:
        return Split.parse(first).meets(Split.parse(second))
    except UsageError:
        return False
