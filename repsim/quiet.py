"""Foreign libraries that load networks without bars and remarks of their own on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple


class _Switch(NamedTuple):
    """The progress bars of a library: the module that has the functions, and their names."""

    module: str
    is_off: Callable[[Any], bool]
    off: str
    on: str


#: Libraries that show bars while they load.
_SWITCHES = (
    _Switch(
        "transformers.utils.logging",
        lambda module: not module.is_progress_bar_enabled(),
        "disable_progress_bar",
        "enable_progress_bar",
    ),
    _Switch(
        "huggingface_hub.utils",
        lambda module: module.are_progress_bars_disabled(),
        "disable_progress_bars",
        "enable_progress_bars",
    ),
)

#: The logger that reports each retry; an error is raised when all fail.
_RETRIES = "huggingface_hub"


@contextmanager
def quietly() -> Iterator[None]:
    """Keep progress bars and retries of imported libraries off the terminal.

    Remarks on weights stay. Afterwards all is as it was.
    """
    with ExitStack() as stack:
        for switch in _SWITCHES:
            module = sys.modules.get(switch.module)
            if module is not None and not switch.is_off(module):
                getattr(module, switch.off)()
                stack.callback(getattr(module, switch.on))
        logger = logging.getLogger(_RETRIES)
        stack.callback(logger.setLevel, logger.level)
        logger.setLevel(logging.ERROR)
        yield
