"""Options of commands that draw figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.options import sized

if TYPE_CHECKING:
    from repsim.figures import Style

#: Inches of the units that widths are given in.
_UNITS = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"


class Width(click.ParamType):
    """A length in inches: 3.3, 8.4cm, 84mm, 240pt as TeX counts points."""

    name = "width"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, float):
            return value
        found = re.fullmatch(rf"({_NUMBER})\s*(in|cm|mm|pt|)", str(value).strip())
        width = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if not 1 <= width <= 40:
            self.fail(f"{value!r} is no width from 1 to 40 inches; try 3.3 or 8.4cm", param, ctx)
        return width


class Font(click.ParamType):
    """A family, a size in points, or both: serif, 8, Times New Roman 8."""

    name = "font"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(.*?)\s*(\d+(?:\.\d+)?)?(?:\s*pt)?", str(value).strip())
        if found is None or not any(found.groups()):
            self.fail(f"{value!r} is no font; try serif, 8, or 'DejaVu Serif 8'", param, ctx)
        return found[1] or None, None if found[2] is None else float(found[2])


class Formats(click.ParamType):
    """Kinds of files: png, pdf, svg, separated by commas."""

    name = "format"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        found = tuple(dict.fromkeys(each.strip().lower() for each in str(value).split(",")))
        if not found or any(each not in ("png", "pdf", "svg") for each in found):
            self.fail(f"{value!r} is none of png, pdf and svg; try pdf or png,svg", param, ctx)
        return found


class Renaming(click.ParamType):
    """An old name and a new one: OLD=NEW."""

    name = "renaming"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        old, sign, new = str(value).partition("=")
        if not (old and sign and new):
            self.fail(f"{value!r} is no renaming; try my_cnn=CNN", param, ctx)
        return old, new


class Limits(click.ParamType):
    """Two rising numbers: 0.2,0.9."""

    name = "limits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, tuple):
            return value
        found = re.fullmatch(rf"({_NUMBER})\s*,\s*({_NUMBER})", str(value).strip())
        low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
        if low >= high:
            self.fail(f"{value!r} is not two rising numbers; try 0.2,0.9", param, ctx)
        return low, high


def figure_options(default: str, *, colours: bool = True) -> list[Callable[[Any], Any]]:
    """The options of a command whose figures usually have the size ``default``.

    ``colours`` says that values are shown as colour in some.
    """
    limits = click.option(
        "--limits",
        type=Limits(),
        metavar="LOW,HIGH",
        help="Values at the ends of the colours.  [default: 0,1 for CKA]",
    )
    return [
        sized(default),
        click.option("--width", type=Width(), help="Width of the figures: 3.3, 8.4cm, 240pt."),
        click.option("--font", type=Font(), help="Font of the figures: serif, 8, or both."),
        click.option(
            "--format",
            "formats",
            type=Formats(),
            default="png,pdf",
            show_default=True,
            help="Files of the figures: png, pdf, svg.",
        ),
        click.option(
            "--rename",
            type=Renaming(),
            multiple=True,
            metavar="OLD=NEW",
            help="Another name for a network, layer or its first levels in the figures; * is any "
            "part, as in 'layers.*.mlp=mlp *'. May be given more than once.",
        ),
        *([limits] if colours else []),
    ]


def drawn_as(default: str) -> Callable[[Any], Any]:
    """All options of a command whose figures usually have the size ``default``."""

    def decorate(command: Any) -> Any:
        for option in reversed(figure_options(default)):
            command = option(command)
        return command

    return decorate


@dataclass(frozen=True)
class Drawing:
    """The request for figures.

    Attributes:
        base: the style.
        width: in inches, where it is not the style's.
        font: family and size of text, where they are not the style's.
        formats: of the files.
        names: new names of networks and layers by old ones.
        limits: values at the ends of colours.
        used: the old names that a figure had, so far.
    """

    base: str = "column"
    width: float | None = None
    font: tuple[str | None, float | None] | None = None
    formats: Sequence[str] = ("png", "pdf")
    names: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    used: set[str] = field(default_factory=set)

    @classmethod
    def taken(cls, options: dict[str, Any]) -> Drawing:
        """The request in the options of a command, which are taken out of them."""
        found = {key: options.pop(key) for key in _KEYS if key in options}
        given = {_KEYS[key]: value for key, value in found.items() if value is not None}
        made = cls(**{**given, "names": dict(given.get("names", ()))})
        if made.font is not None:
            made.style()  # a font that is not there is refused before anything runs
        return made

    def style(self) -> Style:
        """The style of the figures."""
        from repsim.figures import Style

        family, size = self.font or (None, None)
        return Style(self.base, self.width, family, size)

    def options(self) -> dict[str, Any]:
        """The arguments of ``repsim.figures.draw``."""
        return {"style": self.style(), "names": self.names, "limits": self.limits}

    def unused(self) -> list[str]:
        """The old names that no figure had."""
        return [old for old in self.names if old not in self.used]


#: Fields of ``Drawing`` by the options that give them.
_KEYS = {
    "style": "base",
    "width": "width",
    "font": "font",
    "formats": "formats",
    "rename": "names",
    "limits": "limits",
}
