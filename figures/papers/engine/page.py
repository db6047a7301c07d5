"""A page of the documentation, made from results: a text with places for numbers and tables.

The text is ``page.md`` in the folder of a paper. Double braces hold its places: ``{{claims}}``,
the table of verdicts; ``{{notes}}``, remarks on their numbers; ``{{figures}}``, all of them, or
``{{figure NAME}}``; ``{{table NAME}}``; ``{{value NAME}}`` and ``{{verdict NAME}}`` of a claim; and
the words of ``_words``. Remarks that a person made on the results of one scale and image set are in
``remarks.SCALE.DATA.md`` beside it, with places of their own; they fill ``{{remarks}}``. The place
of a table, figure or claim that could not be made says so; a section all of whose tables are of
other image sets is left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from repsim._version import __version__
from repsim.errors import UsageError, choices
from repsim.figures.papers.engine.findings import Finding
from repsim.figures.papers.engine.markdown import in_time, notes, table_of, verdicts
from repsim.figures.papers.engine.only import is_of
from repsim.figures.papers.engine.paper import Paper, Reproduction
from repsim.figures.papers.engine.report import Effort, Findings, figure_of, stem_of
from repsim.files import write_atomic

_PLACE = re.compile(r"\{\{\s*(.*?)\s*\}\}")

#: The beginnings of the names of places that results fill: nothing does where a step failed.
_OF_RESULTS = ("figure ", "table ", "value ", "verdict ")


def check_text(paper: Paper) -> None:
    """Raise ``UsageError`` for a paper that has no text for a page."""
    _text(paper, "page.md")


def write_page(findings: Findings, path: Path) -> list[Path]:
    """Write the page of a paper, with its figures in ``images/`` beside it.

    Returns:
        The page and the images.

    Raises:
        UsageError: the paper has no text for a page, or one with a place that nothing fills.
    """
    reproduction = findings.reproduction
    prefix = f"{path.stem}-"
    text = _of_data(_text(reproduction.paper, "page.md"), reproduction)
    text = _filled(text, findings, prefix)
    images = []
    for figure in findings.figures:
        image = path.parent / "images" / f"{prefix}{stem_of(figure)}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        _copy_opaque(reproduction.folder.path / "figures" / f"{stem_of(figure)}.png", image)
        images.append(image)
    write_atomic(path, re.sub(r"\n{3,}", "\n\n", text))  # where there are no remarks
    return [path, *images]


def _copy_opaque(source: Path, target: Path) -> None:
    """Copy a PNG with its texts but without transparency: a page is loaded faster."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    with Image.open(source) as image:
        for key, text in image.info.items():
            if isinstance(key, str) and isinstance(text, str):
                texts.add_itxt(key, text)
        dpi = image.info["dpi"]
        image.convert("RGB").save(target, pnginfo=texts, dpi=dpi, optimize=True)


def _text(paper: Paper, name: str) -> str:
    if paper.folder is None or not (paper.folder / name).is_file():
        raise UsageError(f"{paper.name} has no {name}, the text that a page is made from")
    return (paper.folder / name).read_text(encoding="utf-8")


def _of_data(text: str, reproduction: Reproduction) -> str:
    """A text without the sections all of whose tables are of other image sets."""
    others = {
        f"table {name}"
        for name, make in reproduction.paper.tables.items()
        if not is_of(make, reproduction.data)
    }
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    tables = [{p for p in _PLACE.findall(each) if p.startswith("table ")} for each in sections]
    return "".join(
        each for each, shown in zip(sections, tables, strict=True) if not shown or shown - others
    )


def _filled(text: str, findings: Findings, prefix: str) -> str:
    """A text with all of its places filled."""
    places = _places(findings, prefix)

    def fill(match: re.Match[str]) -> str:
        place = match[1]
        if place in places:
            return places[place]()
        if place.startswith(_OF_RESULTS) and (findings.failures or findings.left):
            return _not_made(place, findings)
        raise UsageError(f"the page has {{{{{place}}}}}; {choices(place, places)}")

    return _PLACE.sub(fill, text)


def _not_made(name: str, findings: Findings) -> str:
    """The line in the place of something that could not be made, with the reason if it has one."""
    known = {**findings.left, **findings.failures}
    reasons = {each.lower(): reason for each, reason in known.items()}
    reason = reasons.get(name.lower(), "a result that it needs was not made")
    return f"(Not made: {name}: {reason}.)"


def _figures(findings: Findings, prefix: str) -> str:
    """All figures that could be made, and a line for each that could not."""
    made = [figure_of(each, "images", prefix) for each in findings.figures]
    lacking = [*findings.failures, *findings.left]
    failed = [name for name in lacking if name.startswith("figure ")]
    return "\n\n".join([*made, *(_not_made(name, findings) for name in failed)])


def _places(findings: Findings, prefix: str) -> dict[str, Callable[[], str]]:
    """The texts that may be filled in, by the names of their places."""
    places: dict[str, Callable[[], str]] = {
        name: _constant(text) for name, text in _words(findings).items()
    }
    places["claims"] = lambda: verdicts(findings.claims)
    places["notes"] = lambda: notes(findings.claims)
    places["figures"] = lambda: _figures(findings, prefix)
    places["remarks"] = lambda: _remarks(findings, prefix)
    data = findings.reproduction.data
    for name, make in findings.reproduction.paper.tables.items():
        if not is_of(make, data):
            places[f"table {name}"] = _constant(f"(This table is not of {data}.)")
    for name, rows in findings.tables.items():
        places[f"table {name}"] = _constant(table_of(rows))
    for figure in findings.figures:
        places[f"figure {figure.name}"] = _constant(figure_of(figure, "images", prefix))
    for claim in findings.claims:
        places.setdefault(f"value {claim.claim}", _constant(claim.shown))
        places.setdefault(f"verdict {claim.claim}", _constant(claim.verdict))
    return places


def _constant(text: str) -> Callable[[], str]:
    return lambda: text


def _words(findings: Findings) -> dict[str, str]:
    """Scale, image set, seeds, hardware and the like."""
    reproduction = findings.reproduction
    effort = Effort.of(reproduction)
    splits = {name.replace("_", " "): split for name, split in reproduction.splits.items()}
    return {
        "title": reproduction.paper.title,
        "command": reproduction.command,
        "scale": reproduction.scale,
        "data": reproduction.data,
        "seeds": ", ".join(map(str, reproduction.seeds)),
        "time": in_time(effort.seconds),
        "hardware": effort.machines,
        "steps": effort.steps,
        "version": __version__,
        "differences": "\n".join(f"- {each}" for each in reproduction.paper.differences),
        "counts": _counts(findings.claims),
        **splits,
    }


def _counts(claims: Sequence[Finding]) -> str:
    """``12 supported, 3 undecided``."""
    counts = Counter(each.verdict for each in claims)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def _remarks(findings: Findings, prefix: str) -> str:
    """Remarks on the results of this scale and image set; nothing where nobody made any."""
    reproduction = findings.reproduction
    name = f"remarks.{reproduction.scale}.{reproduction.data}.md"
    folder = reproduction.paper.folder
    if folder is None or not (folder / name).is_file():
        return ""
    return _filled(_text(reproduction.paper, name), findings, prefix).strip()
