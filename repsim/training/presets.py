"""Presets: settings by name, each method's in ``presets/METHOD.NAME.toml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from repsim.configuration import read_toml
from repsim.errors import UsageError

#: Every method has each. ``paper``: the paper's own settings; ``small``: within an hour on two
#: cores; ``tiny``: seconds, to see that everything works.
PRESETS = ("paper", "small", "tiny")

FOLDER = Path(__file__).parent / "presets"


def read_preset(method: str, name: str) -> dict[str, Any]:
    """The settings of a preset.

    Raises:
        UsageError: the method has no such preset.
    """
    path = FOLDER / f"{method}.{name}.toml"
    if not path.is_file():
        known = [each for each in PRESETS if (FOLDER / f"{method}.{each}.toml").is_file()]
        there = f"there is: {', '.join(known)}" if known else "it has none"
        raise UsageError(f"method {method!r} has no preset {name!r}; {there}")
    return read_toml(path)
