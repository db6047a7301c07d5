"""Libraries that only some formats need."""

from __future__ import annotations

import importlib
from typing import Any

from repsim.errors import UsageError


def library(name: str, purpose: str) -> Any:
    """A library that may be missing; ``purpose`` says in the message for what it is needed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(
            f"{purpose} needs {name}, which is not installed; try: pip install {name}"
        ) from None
