"""Stores as notebooks show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repsim.html import box, share, table


def layers_as_html(title: str, layers: Sequence[Mapping[str, Any]]) -> str:
    """The layers of a store: module, shape, number type, and the bytes of each as a bar.

    Args:
        title: above the table.
        layers: records of ``describe``.
    """
    largest = max((each["bytes"] for each in layers), default=0)
    rows = [
        {
            "layer": each["layer"],
            "module": each["module"],
            "shape": " x ".join(map(str, each["shape"])),
            "dtype": each["dtype"],
            "MB": each["bytes"] / 1e6,
            "": share(each["bytes"], largest),
        }
        for each in layers
    ]
    return box(title, table(rows))
