"""Fonts that have the characters of a figure."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager, ft2font

from repsim.errors import RepsimWarning, UsageError, choices, few
from repsim.results.figure import FigureData

#: Families that stand for a list of fonts in the settings of matplotlib.
_GENERIC = ("serif", "sans-serif", "monospace", "cursive", "fantasy")

#: Fonts without letters for text: boxes for missing characters, parts of formulas.
_NO_TEXT = ("Last Resort", "STIXNonUnicode", "STIXSize", "cm")

#: Classes of characters that no font draws: controls, marks of direction, spaces.
_UNDRAWN = ("Cc", "Cf", "Zl", "Zp", "Zs")

#: First words of the names of characters that one font for East Asia has.
_EAST_ASIAN = (
    "BOPOMOFO",
    "CJK",
    "FULLWIDTH",
    "HALFWIDTH",
    "HANGUL",
    "HIRAGANA",
    "IDEOGRAPHIC",
    "KATAKANA",
)

#: Text is drawn as it is: no formulas, no TeX.
_PLAIN: dict[str, Any] = {"text.parse_math": False, "text.usetex": False}

#: Text is set by a library that knows its direction.
_SHAPED = hasattr(ft2font, "__libraqm_version__")


def check_font(family: str) -> None:
    """Refuse a font that is not on the machine.

    Raises:
        UsageError: there is no such font.
    """
    known = {*font_manager.get_font_names(), *_GENERIC}
    if family not in known:
        raise UsageError(f"there is no font {family!r} on this machine; {choices(family, known)}")


@contextmanager
def fonts_for(data: FigureData) -> Iterator[None]:
    """Draw text as it is within the block, with further fonts for characters that the first lacks.

    Dollars and underscores mean nothing; a character that no font has is named in a warning.
    """
    records = [data.heading, *(panel.record() for panel in data.panels)]
    text = json.dumps(records, ensure_ascii=False)
    families, missing = _families_for(text)
    if missing:
        _warn(
            f"no font on this machine has {few(missing, 8)}; boxes stand for them; install "
            f"{' and '.join(_fonts_with(missing))}"
        )
    if not _SHAPED and any(unicodedata.bidirectional(each) in ("R", "AL") for each in text):
        _warn("this matplotlib orders right-to-left text wrongly; install matplotlib 3.11 or later")
    settings: dict[Any, Any] = {**_PLAIN, "font.family": families}
    with mpl.rc_context(settings), without_glyph_warnings():
        yield


@contextmanager
def without_glyph_warnings() -> Iterator[None]:
    """Silence the warning that matplotlib repeats each time it draws a missing character."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


@cache
def _warn(message: str) -> None:
    """Give a warning once, for any number of figures."""
    warnings.warn(message, RepsimWarning, stacklevel=6)


def _families_for(text: str) -> tuple[list[str], list[str]]:
    """The families of the style with further ones for the text, and characters that none has."""
    families = list(mpl.rcParams["font.family"])
    left = {each for each in text if unicodedata.category(each) not in _UNDRAWN}
    left -= _characters(font_manager.findfont(font_manager.FontProperties(family=families)))
    for family, path in _others() if left else ():
        if found := left & _characters(path):
            families.append(family)
            left -= found
    return families, sorted(left)


def _fonts_with(missing: Sequence[str]) -> list[str]:
    """The free fonts that have some characters, by their scripts."""
    return sorted({_font_with(each) for each in missing})


def _font_with(character: str) -> str:
    """The font of Noto for the script that the name of a character begins with."""
    script = unicodedata.name(character, "").partition(" ")[0].partition("-")[0]
    if script in _EAST_ASIAN:
        return "Noto Sans CJK"
    if unicodedata.category(character) == "So":
        return "Noto Emoji"
    if unicodedata.category(character) in ("Lo", "Lu", "Ll", "Mn", "Mc", "Nd") and script:
        return f"Noto Sans {script.title()}"
    return "a font that has them"


def _others() -> Sequence[tuple[str, str]]:
    """Upright fonts of the machine for text, by name."""
    upright = (each for each in font_manager.fontManager.ttflist if each.style == "normal")
    named = {each.name: each.fname for each in upright if not each.name.startswith(_NO_TEXT)}
    return sorted(named.items())


@lru_cache(maxsize=64)
def _characters(path: str) -> frozenset[str]:
    """The characters that a font draws."""
    return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
