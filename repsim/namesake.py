"""The other project whose package is called ``repsim``: both cannot be installed at once."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from repsim.errors import RepsimError, RepsimWarning

_REMEDY = (
    "files of the one have taken the place of the other's; try: pip uninstall repsim "
    "repsim-toolkit, then install the one that you need"
)


def _found() -> Path | None:
    """The record of its installation, in the folder that holds this package."""
    folder = Path(__file__).parents[1]
    return next(
        (each for end in ("dist", "egg") for each in folder.glob(f"repsim-*.{end}-info")), None
    )


def warn_of_namesake() -> None:
    """Warn that it is installed in the same folder."""
    if (record := _found()) is not None:
        message = f"another project's package repsim is installed too ({record.stem}): {_REMEDY}"
        warnings.warn(message, RepsimWarning, stacklevel=3)


def check_overwritten() -> None:
    """Raise ``RepsimError`` where its ``repsim/__init__.py`` has taken the place of ours."""
    if not hasattr(sys.modules["repsim"], "lazy"):
        raise RepsimError(f"repsim/__init__.py is another project's: {_REMEDY}")
