"""``repsim cka``: similarity by CKA, under the name that most will look for."""

from __future__ import annotations

from typing import Any

import click

from repsim.cli.analysis import analysis_command
from repsim.errors import UsageError


def _now_a_command(flag: str, command: str) -> click.Option:
    """An option of earlier releases, which answers with the command that replaced it."""

    def refuse(context: click.Context, option: click.Parameter, given: bool) -> Any:
        if given:
            raise UsageError(f"{flag} is a command of its own now: repsim {command} RUN")

    return click.Option(
        [flag], is_flag=True, hidden=True, is_eager=True, expose_value=False, callback=refuse
    )


cka = analysis_command("similarity", called="cka", fixed={"measure": "cka"})
cka.params += [
    _now_a_command("--invariance", "invariance"),
    _now_a_command("--against-classes", "classes"),
]
