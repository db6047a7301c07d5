"""Figures of results whatever their kind, and files from figures."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from repsim._version import __version__
from repsim.errors import UsageError, choices
from repsim.figures.fonts import without_glyph_warnings
from repsim.figures.kinds import figures_of, figures_of_all
from repsim.figures.layout import panels
from repsim.figures.renaming import renamed
from repsim.figures.style import WRITING, Style
from repsim.files import atomic_path, csv_text, refuse_existing, utf8, write_atomic
from repsim.results import Result, Table, facts
from repsim.results.figure import FigureData
from repsim.visible import visible

#: Kinds of files that figures are written as, by the ending.
FORMATS = ("png", "pdf", "svg")


def draw(
    result: Result,
    *,
    style: str | Style = "column",
    estimator: str = "unbiased",
    names: Mapping[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    used: set[str] | None = None,
) -> dict[str, Figure]:
    """The figures that belong to a result, by the suffix of their file names.

    The suffix of a figure that is a result by itself, a ``FigureData``, is empty.

    Args:
        result: of any kind.
        style: the size and the font.
        estimator: of the similarities in maps.
        names: other names for networks and layers, as ``renamed`` takes them; each must be in one
            of the figures.
        limits: values at the ends of the colours.
        used: collects the names that the figures have; then other names are no mistake, for they
            may belong to other results.

    Raises:
        TypeError: a kind without figures.
        UsageError: a name that no figure has, limits without colours, or no such style.
    """
    found = figures_of(result, estimator=estimator)
    return draw_data(found, style=style, names=names, limits=limits, used=used)


def draw_together(
    results: Sequence[Result],
    *,
    style: str | Style = "page",
    names: Mapping[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    used: set[str] | None = None,
) -> dict[str, Figure]:
    """The figures that belong to several results of a kind together, as ``draw`` gives them."""
    found = figures_of_all(results)
    return draw_data(found, style=style, names=names, limits=limits, used=used)


def draw_data(
    found: Mapping[str, FigureData],
    *,
    style: str | Style,
    names: Mapping[str, str] | None = None,
    limits: tuple[float, float] | None = None,
    used: set[str] | None = None,
) -> dict[str, Figure]:
    """Figures from their data, by the same keys; the arguments have their meaning in ``draw``."""
    changed = renamed(found, names, used=used) if names else dict(found)
    if limits is not None:
        changed = _with_colours(changed, limits)
    return {suffix: panels(data, style=style) for suffix, data in changed.items()}


def _with_colours(
    found: Mapping[str, FigureData], limits: tuple[float, float]
) -> dict[str, FigureData]:
    """The figures with other ends of their colours; refused if no figure has colours."""
    changed = {
        key: replace(data, panels=[panel.with_colours(limits) for panel in data.panels])
        for key, data in found.items()
    }
    before = [panel for data in found.values() for panel in data.panels]
    after = [panel for data in changed.values() for panel in data.panels]
    if all(one is other for one, other in zip(before, after, strict=True)):
        raise UsageError("limits of colours arrived for figures without colours; leave them out")
    return changed


def save(
    figure: Figure | FigureData,
    stem: str | os.PathLike[str],
    *,
    provenance: dict[str, Any] | None = None,
    data: FigureData | Table | None = None,
    style: str | Style = "page",
    formats: Sequence[str] = ("png", "pdf"),
    overwrite: bool = False,
) -> list[Path]:
    """Write a figure as STEM.png and STEM.pdf, and close it; all paths written are returned.

    The provenance goes into the files' metadata; no date does, so that the same figure gives the
    same file. The caption and the provenance go to STEM.txt; with ``data``, its numbers to
    STEM.csv.

    Args:
        figure: what to write; a ``FigureData`` is drawn first, and is its own ``data``.
        stem: path without an ending.
        provenance: the origin of the numbers; by default the provenance of ``data``.
        data: what the figure shows.
        style: the size and font of a figure that is drawn here.
        formats: of ``png``, ``pdf`` and ``svg``.
        overwrite: replace files that exist. A STEM.csv of the same numbers, as ``data.save``
            leaves it, and a STEM.txt of the same caption stay in any case.

    Raises:
        UsageError: a file exists, or no such format; then none is written.
    """
    for each in formats:
        if each not in FORMATS:
            raise UsageError(f"figures have no format {each!r}; {choices(each, FORMATS)}")
    if isinstance(figure, FigureData):
        data, figure = figure, panels(figure, style=style)
    name = _without_ending(stem)
    shown = getattr(figure, "data", data)  # with the names that are drawn
    if provenance is None:
        provenance = shown.provenance if shown is not None else {}
    texts = _texts(name, shown, data, provenance)
    paths = [Path(f"{name}.{each}") for each in formats]
    _refuse(paths, texts, overwrite)
    for path in paths:
        _write(figure, path, provenance)
    for path, text in texts.items():
        write_atomic(path, text)
    plt.close(figure)
    return [*paths, *texts]


def unsaved(
    figure: Figure,
    stem: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any],
    data: FigureData | Table | None = None,
    formats: Sequence[str] = ("png", "pdf"),
) -> list[str]:
    """The formats in which ``save`` has not written a figure yet; none where all are there.

    The caption tells it: it holds the origin of the numbers, and how they were drawn.

    Raises:
        UsageError: another figure has the name, or one without a caption; what differs is named.
    """
    name, shown = _without_ending(stem), getattr(figure, "data", data)
    there = [each for each in formats if Path(f"{name}.{each}").exists()]
    for path, text in _texts(name, shown, data, provenance).items():
        if not path.is_file() and there:
            refuse_existing(f"{name}.{there[0]}", overwrite=False)
        if path.is_file() and (before := path.read_text("utf-8", "surrogateescape")) != text:
            raise UsageError(
                f"{path} exists already, of another figure ({_differing(before, text)}); choose "
                "another name or pass --overwrite"
            )
    return [each for each in formats if each not in there]


def files_of(
    figure: Figure,
    stem: str | os.PathLike[str],
    *,
    provenance: Mapping[str, Any],
    data: FigureData | Table | None = None,
    formats: Sequence[str] = ("png", "pdf"),
) -> list[Path]:
    """The paths that ``save`` returns for a figure, with the same arguments."""
    name, shown = _without_ending(stem), getattr(figure, "data", data)
    return [
        *(Path(f"{name}.{each}") for each in formats),
        *_texts(name, shown, data, provenance),
    ]


def _without_ending(stem: str | os.PathLike[str]) -> str:
    """The stem of the files of a figure, of which a user may have named one."""
    name = os.fspath(stem)
    return name[:-4] if name.endswith(tuple(f".{each}" for each in FORMATS)) else name


def _differing(before: str, now: str, shown: int = 3) -> str:
    """The first lines that differ between two captions: each key with both values."""
    lines = [dict(_keyed(text)) for text in (before, now)]
    keys = [key for key in {**lines[0], **lines[1]} if lines[0].get(key) != lines[1].get(key)]
    values = [[_short(each.get(key, "nothing")) for each in lines] for key in keys[:shown]]
    said = [f"{key} {old}, now {new}" for key, (old, new) in zip(keys, values, strict=False)]
    return "; ".join(said) or "its numbers"


def _keyed(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a caption: what it says, and the values of its provenance by their keys."""
    for number, line in enumerate(text.splitlines()):
        key, _, value = line.partition(": ")
        yield (key, value) if number else ("caption", line)


def _short(text: str) -> str:
    """A value in a message; a long one by its beginning."""
    return text if len(text) < 40 else f"{text[:12]}..."


def _texts(
    name: str,
    shown: FigureData | Table | None,
    data: FigureData | Table | None,
    provenance: Mapping[str, Any],
) -> dict[Path, str]:
    """The table and the caption of a figure by their paths."""
    texts = {} if data is None else {Path(f"{name}.csv"): csv_text(data.rows())}
    if shown is not None:
        texts[Path(f"{name}.txt")] = _caption(shown, provenance)
    return texts


def _refuse(paths: list[Path], texts: dict[Path, str], overwrite: bool) -> None:
    """Refuse to replace files, except by the same text."""
    for path in paths:
        refuse_existing(path, overwrite)
    for path, text in texts.items():
        if not (path.is_file() and path.read_bytes() == utf8(text)):
            refuse_existing(path, overwrite)


def _write(figure: Figure, path: Path, provenance: dict[str, Any]) -> None:
    note = json.dumps(provenance, sort_keys=True)
    described = {
        ".png": {"Software": f"repsim {__version__}", "Description": note},
        ".svg": {"Creator": f"repsim {__version__}", "Description": note, "Date": None},
        ".pdf": {"Creator": f"repsim {__version__}", "Subject": note, "CreationDate": None},
    }
    writing = mpl.rc_context(rc=cast(Any, WRITING))
    with writing, without_glyph_warnings(), atomic_path(path) as temporary:
        figure.savefig(temporary, metadata=described[path.suffix])


def _caption(shown: FigureData | Table, provenance: Mapping[str, Any]) -> str:
    """The caption, and a line for each value of the provenance."""
    found = facts({"repsim": __version__, **provenance})
    values = (" ".join(f"{key}: {text}".splitlines()) for key, text in found)
    lines = [f"{shown.name}. {shown.caption}", "", *values]
    return visible("\n".join(lines)) + "\n"
