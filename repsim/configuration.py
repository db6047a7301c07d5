"""Configurations: frozen settings, each with its default, description and bounds.

One configuration is at once the options of a command, the provenance of a result, the key by which
it is found again and the entry of a paper. Those of analyses are dataclasses of this module, so
that analyses need no pydantic; those of training are pydantic models. Both are read alike here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from repsim.errors import UsageError, choices
from repsim.reading import parse_toml

C = TypeVar("C")

#: The ``before`` of a setting that has been there from the first.
ALWAYS: Any = object()


@dataclass(frozen=True)
class Setting:
    """A setting of a configuration, of whichever kind.

    Attributes:
        name: of the field.
        annotation: its type.
        default: its value unless another is given.
        description: a phrase for help texts.
        choices: the values that it may have; empty where there is no such list.
        ge: the least that it may be, or None.
        gt: what it must exceed, or None.
        le: the most that it may be, or None.
        lt: what it must stay below, or None.
        before: the value under which results were made before the setting existed.
        decides: False of a setting on which no result depends.
        tag: how a value enters the name of a file; ``{}`` stands for the value.
        metavar: how a help text writes the value; None for the usual word of its type.
        unset: how a help text says the default; None for the default itself.
        in_model: of a pydantic model, which takes and checks values itself.
    """

    name: str
    annotation: Any
    default: Any
    description: str = ""
    choices: tuple[Any, ...] = ()
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    before: Any = ALWAYS
    decides: bool = True
    tag: str | None = None
    metavar: str | None = None
    unset: str | None = None
    in_model: bool = False

    def check(self, value: Any) -> None:
        """Raise ``UsageError`` where a value is none of the choices or out of bounds."""
        if value is None and self.default is None:
            return
        if self.choices:
            for each in value if isinstance(value, tuple) else (value,):
                if each not in self.choices:
                    found = choices(str(each), [str(one) for one in self.choices])
                    raise UsageError(f"{self.name} is {each!r}; {found}")
        for each in value if isinstance(value, tuple) else (value,):
            self._check_bounds(each)

    def _check_bounds(self, value: Any) -> None:
        bounds = (
            (self.ge, "at least", lambda a, b: a >= b),
            (self.gt, "above", lambda a, b: a > b),
            (self.le, "at most", lambda a, b: a <= b),
            (self.lt, "below", lambda a, b: a < b),
        )
        for bound, words, holds in bounds:
            if bound is not None and not holds(value, bound):
                raise UsageError(f"{self.name} is {value!r}; expected {words} {bound}")


def setting(default: Any, description: str, **about: Any) -> Any:
    """A field of a ``Config``.

    Args:
        default: its value unless another is given; lists are tuples.
        description: a phrase for help texts.
        **about: further attributes of ``Setting``, by name.
    """
    return field(default=default, metadata={"description": description, **about})


@dataclass(frozen=True)
class Config:
    """The settings of an analysis; a subclass is a frozen dataclass of ``setting`` fields.

    Raises:
        UsageError: a value that is out of bounds or none of the choices.
    """

    def __post_init__(self) -> None:
        for each in settings_of(type(self)):
            each.check(getattr(self, each.name))

    def identity(self) -> dict[str, Any]:
        """Every setting that decides the result, as JSON values; see ``identity_of``."""
        return identity_of(self)


def settings_of(kind: type) -> tuple[Setting, ...]:
    """The settings of a configuration class, in the order in which they are defined."""
    return _settings_of(cast(Any, kind))


@cache  # grids of hundreds of steps ask for the same few classes
def _settings_of(kind: Any) -> tuple[Setting, ...]:
    if hasattr(kind, "model_fields"):
        return tuple(_of_model(name, each) for name, each in kind.model_fields.items())
    types = get_type_hints(kind)
    return tuple(_of_field(each, types[each.name]) for each in fields(kind))


def _of_field(found: Field[Any], annotation: Any) -> Setting:
    about = {"choices": _listed(annotation), **found.metadata}
    return Setting(found.name, annotation, found.default, **about)


def _of_model(name: str, found: Any) -> Setting:
    """A field of a pydantic model, which checks bounds itself."""
    extra = found.json_schema_extra if isinstance(found.json_schema_extra, Mapping) else {}
    about = {key: extra[key] for key in ("before", "decides", "tag") if key in extra}
    about["in_model"] = True
    listed = _listed(found.annotation)
    return Setting(name, found.annotation, found.default, found.description or "", listed, **about)


def _listed(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def identity_of(config: Any) -> dict[str, Any]:
    """Every setting that decides the result, as JSON values.

    A setting that was added later is left out while it has the value under which older results
    were made: they are found again. A default that changes is part of what is returned.
    """
    found = {}
    for each in settings_of(type(config)):
        value = getattr(config, each.name)
        if each.decides and (each.before is ALWAYS or value != each.before):
            found[each.name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """A value of a setting as JSON has it: tuples as lists."""
    return [plain(each) for each in value] if isinstance(value, (tuple, list)) else value


def build_config(kind: type[C], values: Mapping[str, Any], source: str) -> C:
    """A configuration of ``kind`` from plain values, such as those of a command line or a file.

    Raises:
        UsageError: an unknown key (the nearest known one is suggested) or a value out of range.
    """
    known = {each.name: each for each in settings_of(kind)}
    for key in values:
        if key not in known:
            raise UsageError(f"{source}: unknown key {key!r}; {choices(key, known)}")
    if hasattr(kind, "model_fields"):
        return _build_model(kind, values, source)
    try:
        return kind(**{key: coerced(known[key], value) for key, value in values.items()})
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None


def _build_model(kind: type[C], values: Mapping[str, Any], source: str) -> C:
    from pydantic import ValidationError

    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        raise UsageError(f"{source}: {_about(key, values, first['msg'])}") from None


def coerced(known: Setting, value: Any) -> Any:
    """A value as the type of its setting has it; commas separate the elements of a list.

    Raises:
        UsageError: it is no such value.
    """
    from pydantic import TypeAdapter, ValidationError

    shown = {known.name: value}
    if get_origin(known.annotation) is tuple and isinstance(value, str):
        value = tuple(dict.fromkeys(each.strip() for each in value.split(",") if each.strip()))
    if isinstance(value, bool) and known.annotation is not bool:
        raise UsageError(f"{known.name} = {value!r}; expected no truth value")
    try:
        return TypeAdapter(known.annotation).validate_python(value)
    except ValidationError as error:
        raise UsageError(_about(known.name, shown, error.errors()[0]["msg"])) from None


def _about(key: str, values: Mapping[str, Any], message: str) -> str:
    message = message.removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{key} = {values.get(key)!r}; {message}" if key else message


def read_toml(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        UsageError: the file is absent or not TOML.
    """
    try:
        return parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no configuration {path}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None


def to_toml(config: Any) -> str:
    """Every setting as TOML, each with its description; ``read_toml`` gives the same settings."""
    lines = []
    for each in settings_of(type(config)):
        value = getattr(config, each.name)
        if value is not None:  # TOML has no null; a setting that is left out is its default, None
            lines.append(f"{each.name} = {_toml(value)}  # {each.description or each.name}\n")
    return "".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's texts, numbers and booleans are TOML's, but for a delete that TOML wants escaped.
    return json.dumps(value).replace("\x7f", "\\u007f")
