"""Options of commands from the settings of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args, get_origin

import click

from repsim.cli.completion import complete_layers
from repsim.configuration import Setting, coerced


def flag_of(name: str) -> str:
    """The option of a setting."""
    return f"--{name.replace('_', '-')}"


def option_of(setting: Setting) -> click.Option:
    """The option for a setting; None stands for one that was not given, so that files can speak."""
    flag = flag_of(setting.name)
    return click.Option(
        [f"{flag}/--no-{flag[2:]}" if setting.annotation is bool else flag],
        type=_kind(setting),
        default=None,
        metavar=setting.metavar,
        shell_complete=complete_layers if setting.name.startswith("layer") else None,
        help=f"{setting.description[:1].upper()}{setting.description[1:]}.{_default(setting)}",
    )


def _default(setting: Setting) -> str:
    default = setting.default if setting.unset is None else setting.unset
    if isinstance(default, bool) and not setting.in_model:
        default = ("" if default else "no-") + setting.name.replace("_", "-")
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return "" if default == "" else f"  [default: {default}]"


def _kind(setting: Setting) -> Any:
    """The click type of a setting; its own where click has none for it."""
    if setting.choices and get_origin(setting.annotation) is not tuple:
        return OneOf(setting.choices)
    if setting.annotation is bool:
        return bool
    if setting.in_model:
        return setting.annotation if setting.annotation in (int, float, str) else str
    return Value(setting)


class OneOf(click.Choice):
    """One of several values, such as the numbers of ``--depth``."""

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__([str(value) for value in values])
        self.values = {str(value): value for value in values}

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return self.values[super().convert(str(value), param, ctx)]


class Value(click.ParamType):
    """A value of the type of a setting, within its bounds; a mistake names the option."""

    def __init__(self, setting: Setting) -> None:
        self.setting = replace(setting, name=flag_of(setting.name))
        self.name = _word(setting.annotation)

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = coerced(self.setting, value)
        self.setting.check(found)
        return found


def _word(annotation: Any) -> str:
    """The word of a help text for the values of a type."""
    if get_origin(annotation) is tuple:
        return "list"
    kinds = {each for each in get_args(annotation) or (annotation,) if each is not type(None)}
    return "integer" if kinds == {int} else "float" if kinds == {float} else "text"


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}
