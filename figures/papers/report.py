"""What is drawn and written from a recipe's finished tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from repsim._version import __version__
from repsim.figures.draw import save
from repsim.figures.papers.claims import Claim
from repsim.figures.papers.production import Log
from repsim.figures.papers.recipe import Recipe
from repsim.files import table, write_atomic
from repsim.results import FigureData


def publish(recipe: Recipe, claims: Sequence[Claim], *, style: str = "page") -> list[Path]:
    """Draw every figure and write every table and the report, from finished tasks.

    A figure is STEM.json (to draw it again without the networks), .csv (its numbers), .txt (caption
    and provenance), .pdf and .png. What was there is replaced.

    Returns:
        The files, in order; the last is ``report.md``.
    """
    folder = recipe.workspace.folder
    for left in (folder / "figures").glob(".writing-*"):  # by a process that was killed
        left.unlink()
    figures = recipe.figures()
    written = [path for each in figures for path in _draw(recipe, each, style)]
    tables = recipe.tables()
    sheets = {folder / "tables" / f"{name}.csv": rows for name, rows in tables.items()}
    sheets[folder / "claims.csv"] = [claim.row() for claim in claims]
    for path, rows in sheets.items():
        write_atomic(path, table(rows))
    report = folder / "report.md"
    write_atomic(report, _report(recipe, figures, tables, claims))
    return [*dict.fromkeys(written), *sheets, report]


def stem_of(figure: FigureData) -> str:
    """The name of a figure's files."""
    return figure.name.lower().replace(" ", "-")


def _draw(recipe: Recipe, figure: FigureData, style: str) -> list[Path]:
    stem = recipe.workspace.folder / "figures" / stem_of(figure)
    files = figure.save(stem, overwrite=True)
    return [*files, *save(figure, stem, style=style, overwrite=True)]


def _report(
    recipe: Recipe,
    figures: Sequence[FigureData],
    tables: dict[str, list[dict[str, Any]]],
    claims: Sequence[Claim],
) -> str:
    """Everything on one page: how it was made, the verdicts, the figures and the tables."""
    tasks = {task.path.name for task in recipe.tasks}
    rows = [row for row in Log(recipe).rows() if row["task"] in tasks]
    seconds = sum(float(row["seconds"]) for row in rows)
    machines = ", and ".join(dict.fromkeys(row["machine"] for row in rows))
    about = [
        f"Scale {recipe.scale}, {recipe.data}, seeds {', '.join(map(str, recipe.seeds))}; repsim "
        f"{__version__}. {len(tasks)} runs and results; added up, they took {seconds / 60:.0f} "
        f"min ({machines}).",
        f"All numbers are of images that no network was trained on: {recipe.data} "
        f"{recipe.held_out}.",
    ]
    parts = [
        f"# {recipe.title}",
        "    " + recipe.command,
        *about,
        "## Verdicts",
        _markdown(
            [
                {
                    "claim": each.claim,
                    "number": each.test,
                    "value": each.shown,
                    "to be": each.wanted,
                    "published": each.published,
                    "verdict": each.verdict,
                }
                for each in claims
            ]
        ),
        "## Figures",
    ]
    for figure in figures:
        caption = f"{figure.name}. {figure.caption}"
        parts.append(f"![{figure.name}](figures/{stem_of(figure)}.png)\n\n{caption}")
    parts.append("## Tables")
    for name, records in tables.items():
        parts.append(f"### {name.replace('-', ' ').capitalize()}\n\n{_markdown(records)}")
    parts.append("## What differs from the paper")
    parts.append("\n".join(f"- {each}" for each in recipe.differences))
    return "\n\n".join(parts) + "\n"


def _markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Records with the same keys as a table."""
    columns = list(rows[0]) if rows else []
    lines = [
        columns,
        ["---"] * len(columns),
        *([_cell(row[key]) for key in columns] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
