"""Training as tests drive it: stopped at a step, or by the real command."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from repsim.cli.main import main


class Stop(Exception):
    """The exception that interrupts a training."""


def stop_at(step: int) -> Callable[..., None]:
    """A progress that stops training once ``step`` steps are done."""

    def progress(done: int, total: int, note: str = "") -> None:
        if done == step:
            raise Stop

    return progress


def run_command(*arguments: object) -> int:
    """The real entry point; its exit status. It leaves ``sys.argv`` changed."""
    sys.argv = ["repsim", *map(str, arguments)]
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)
