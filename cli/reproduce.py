"""``repsim reproduce``: a paper's runs, results, figures, tables and claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.options import data_dir_option, device_option, json_option, page_style_option
from repsim.cli.reporting import bar, say, show_files, show_json, show_table

if TYPE_CHECKING:
    from repsim.figures.papers.claims import Claim


@click.command()
@click.argument("paper", metavar="PAPER")
@click.option(
    "--scale",
    type=click.Choice(["tiny", "small", "paper"]),
    default="small",
    show_default=True,
    help="tiny: minutes, to see every figure; small: an hour or so on two cores; paper: the "
    "papers' settings.",
)
@click.option("--data", help="Image set.  [default: the paper's; digits at scale tiny]")
@data_dir_option
@click.option(
    "--seeds",
    type=click.IntRange(1, 100),
    help="Runs of each kind.  [default: 3; 2 at scale tiny]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trainings at a time, each on its share of the processors.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything it makes.  [default: reproductions/PAPER-DATA-SCALE]",
)
@click.option("--dry-run", is_flag=True, help="List what is missing, with time and disk; no more.")
@device_option
@page_style_option
@json_option
def reproduce(
    paper: str,
    scale: str,
    data: str | None,
    data_dir: Path | None,
    seeds: int | None,
    jobs: int,
    output: Path | None,
    dry_run: bool,
    device: str,
    style: str,
    as_json: bool,
) -> None:
    """\b
    repsim reproduce grigg2021 --scale tiny
    repsim reproduce mao2022 --data mnist

    Train what a paper needs, compute its results, draw its figures and tables, and say of each of
    its claims whether the numbers support it. PAPER is grigg2021 or mao2022. What exists is found
    again by a hash of its settings, so an interrupted reproduction continues, and another --style
    only draws.
    """
    from repsim.errors import StoreError
    from repsim.figures.papers import Workspace, find_recipe
    from repsim.figures.papers.production import estimate, make_missing
    from repsim.figures.papers.report import publish

    kind = find_recipe(paper)
    chosen = kind(Workspace(Path(), data_dir, device), scale, data, seeds).data
    folder = output or Path("reproductions") / f"{paper}-{chosen}-{scale}"
    recipe = kind(Workspace(folder, data_dir, device), scale, data, seeds)
    if dry_run:
        show_estimate(estimate(recipe), len(recipe.tasks), folder, as_json)
        return
    try:
        with recipe.claim_folder():
            with bar(f"reproduce {paper}") as progress:
                make_missing(recipe, jobs=jobs, progress=progress)
            say("draw the figures")
            claims = recipe.claims()
            written = publish(recipe, claims, style=style)
    except StoreError as error:
        raise StoreError(f"{error}; here: remove it, and run the same command again") from error
    if as_json:
        show_json([claim.row() for claim in claims])
    else:
        show_claims(claims, recipe.title)
    shown = [
        path for path in written if path.suffix in (".pdf", ".md") or path.name == "claims.csv"
    ]
    show_files(shown, as_json=as_json)
    click.echo(f"everything lies in {folder}/", err=as_json)


def show_estimate(missing: list[dict[str, Any]], tasks: int, folder: Path, as_json: bool) -> None:
    """The runs and analyses that would be made."""
    from repsim.devices import in_units

    if as_json:
        show_json(missing)
        return
    if not missing:
        click.echo(f"nothing is missing in {folder}: all of {tasks} runs and results are there")
        return
    rows = [
        (each["task"], each["kind"], in_time(each["seconds"]), in_units(each["bytes"]))
        for each in missing
    ]
    seconds, size = (sum(each[key] for each in missing) for key in ("seconds", "bytes"))
    rows.append(("all of it", "", in_time(seconds), in_units(size)))
    show_table(
        f"{len(missing)} of {tasks} runs and results are missing in {folder}",
        ("", "kind", "time, about", "disk, about"),
        rows,
    )


def in_time(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_claims(claims: list[Claim], title: str) -> None:
    """The verdict on each claim, with the number that decides below it."""
    rows = [
        (
            f"{each.claim}\n  {each.test}",
            each.shown.replace(" (", "\n("),
            each.wanted,
            each.published,
            each.verdict,
        )
        for each in claims
    ]
    columns = ("claim, and the number that decides", "value", "to be", "published", "verdict")
    show_table(title, columns, rows)
