"""Options of commands that draw figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.options import sized

if TYPE_CHECKING:
    from repsim.figures import Style

#: Inches of the units that widths are given in.
_UNITS = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"


class _Text(click.ParamType):
    """A value that is read from text; a value that was read before stays as it is.

    Attributes:
        made: the type of the values.
        wrong: the rest of the message on other text.
    """

    made: type
    wrong: str

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value is None or isinstance(value, self.made):
            return value
        found = self.read(str(value))
        if found is None:
            self.fail(f"{value!r} {self.wrong}", param, ctx)
        return found

    def read(self, text: str) -> Any:
        """The value of a text; None if it has none."""
        raise NotImplementedError


class Width(_Text):
    """A length in inches: 3.3, 8.4cm, 84mm, 240pt as TeX counts points."""

    name, made = "width", float
    wrong = "is no width from 1 to 40 inches; try 3.3 or 8.4cm"

    def read(self, text: str) -> float | None:
        found = re.fullmatch(rf"({_NUMBER})\s*(in|cm|mm|pt|)", text.strip())
        width = float(found[1]) * _UNITS[found[2]] if found else 0.0
        return width if 1 <= width <= 40 else None


class Font(_Text):
    """A family, a size in points, or both: serif, 8, Times New Roman 8."""

    name, made = "font", tuple
    wrong = "is no font; try serif, 8, or 'DejaVu Serif 8'"

    def read(self, text: str) -> tuple[str | None, float | None] | None:
        found = re.fullmatch(r"(.*?)\s*(\d+(?:\.\d+)?)?(?:\s*pt)?", text.strip())
        if found is None or not any(found.groups()):
            return None
        return found[1] or None, None if found[2] is None else float(found[2])


class Formats(_Text):
    """Kinds of files: png, pdf, svg, separated by commas."""

    name, made = "format", tuple
    wrong = "is none of png, pdf and svg; try pdf or png,svg"

    def read(self, text: str) -> tuple[str, ...] | None:
        found = tuple(dict.fromkeys(each.strip().lower() for each in text.split(",")))
        return found if all(each in ("png", "pdf", "svg") for each in found) else None


class Renaming(_Text):
    """An old name and a new one: OLD=NEW."""

    name, made = "renaming", tuple
    wrong = "is no renaming; try my_cnn=CNN"

    def read(self, text: str) -> tuple[str, str] | None:
        old, sign, new = text.partition("=")
        return (old, new) if old and sign and new else None


class Limits(_Text):
    """Two rising numbers: 0.2,0.9."""

    name, made = "limits", tuple
    wrong = "is not two rising numbers; try 0.2,0.9"

    def read(self, text: str) -> tuple[float, float] | None:
        found = re.fullmatch(rf"({_NUMBER})\s*,\s*({_NUMBER})", text.strip())
        low, high = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
        return (low, high) if low < high else None


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


def drawn_as(default: str, *, colours: bool = True) -> Callable[[Any], Any]:
    """All options of a command, as ``figure_options`` lists them."""

    def decorate(command: Any) -> Any:
        for option in reversed(figure_options(default, colours=colours)):
            command = option(command)
        return command

    return decorate


@dataclass(frozen=True)
class Drawing:
    """The request for figures.

    Attributes:
        base: the style.
        width: in inches; None for the width of the style.
        font: family and size of text; None for the font of the style.
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

    def record(self, source: Path, estimator: str = "unbiased") -> dict[str, Any]:
        """The drawing of a figure, for its caption: from which file, and how."""
        from repsim.files import sha256

        asked = {
            "style": self.base,
            "width": self.width,
            "font": self.font,
            "names": dict(self.names),
            "limits": self.limits,
            "estimator": estimator,
        }
        told = {key: value for key, value in asked.items() if value not in (None, {})}
        return {"drawing": {"from_sha256": sha256(source), **told}}

    def remarks(self) -> list[str]:
        """Lines on the old names that no figure had."""
        return [
            f"note: no figure has a network or layer {old!r}, so that nothing was renamed"
            for old in self.names
            if old not in self.used
        ]


#: Fields of ``Drawing`` by the options that give them.
_KEYS = {
    "style": "base",
    "width": "width",
    "font": "font",
    "formats": "formats",
    "rename": "names",
    "limits": "limits",
}
