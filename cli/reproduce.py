"""``repsim reproduce``: a paper's runs, results, figures, tables and claims."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_papers
from repsim.cli.drawing import Drawing, drawn_as
from repsim.cli.grouping import Grouped
from repsim.cli.options import data_dir_option, device_option, json_option
from repsim.cli.reporting import bar, hinting, say, show_files, show_json, tell
from repsim.cli.tables import show_table

if TYPE_CHECKING:
    from repsim.figures.papers.engine.findings import Finding
    from repsim.figures.papers.engine.report import Findings


class PaperCommand(Grouped):
    """A command whose help lists the papers that are there."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from repsim.figures.papers import paper_names, paper_summary

        with formatter.section("Papers"):
            formatter.write_dl([(name, paper_summary(name)) for name in paper_names()])


@click.command(cls=PaperCommand)
@click.argument("paper", metavar="PAPER", shell_complete=complete_papers)
@click.option(
    "--scale",
    type=click.Choice(["tiny", "small", "long", "paper"]),
    default="small",
    show_default=True,
    help="tiny: minutes, to see every figure; small: an hour or so on two cores; long: a night, "
    "where a paper lays it out; paper: the papers' settings.",
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
    help="Runs and results at a time, each on its share of the processors.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything it makes.  [default: reproductions/PAPER-DATA-SCALE]",
)
@click.option(
    "--page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write a page for people, such as docs/mao2022.md, with its images beside it.",
)
@click.option("--dry-run", is_flag=True, help="List what is missing, with time and disk; no more.")
@click.option(
    "--no-training",
    is_flag=True,
    help="Train nothing: show how far the networks get that are trained.",
)
@device_option
@drawn_as("page", colours=False)
@json_option
def reproduce(
    paper: str,
    scale: str,
    data: str | None,
    data_dir: Path | None,
    seeds: int | None,
    jobs: int,
    output: Path | None,
    page: Path | None,
    dry_run: bool,
    no_training: bool,
    device: str,
    as_json: bool,
    **options: Any,
) -> None:
    """\b
    repsim reproduce grigg2021 --scale tiny
    repsim reproduce mao2022 --data mnist

    Train what a paper needs, compute its results, draw its figures and tables, and say of each of
    its claims whether the numbers support it. What exists is found again by a hash of its settings,
    so an interrupted reproduction continues, and another --style only draws. A run or result that
    fails is reported at the end, and all that does not need it is made; --no-training does the same
    with networks that are not trained yet. Figures have a PNG, which the report shows, and the
    formats that are asked for.
    """
    from repsim.figures.papers import find_paper
    from repsim.figures.papers.engine import Folder, Reproduction
    from repsim.figures.papers.engine.estimates import estimate
    from repsim.figures.papers.engine.page import check_text, write_page
    from repsim.figures.papers.engine.production import make_missing
    from repsim.figures.papers.engine.report import collect

    drawing = Drawing.taken(options)
    asked = find_paper(paper)
    shown = re.sub(r"[^\w.-]+", "_", data or asked.data_sets(scale)[0])
    usual = Path("reproductions") / f"{paper}-{shown}-{scale}"
    folder = Folder(output or usual, data_dir, device)
    reproduction = Reproduction(asked, folder, scale, data, seeds)
    reproduction.check_folder()
    if dry_run:
        steps = len(reproduction.steps)
        missing = reproduction.missing(train=not no_training)
        show_estimate(estimate(missing), steps, folder.path, as_json)
        return
    if page:
        check_text(asked)
    with reproduction.lock(), hinting(lambda: "stopped; the same command continues"):
        with bar(f"reproduce {paper}") as progress:
            failed = make_missing(reproduction, jobs=jobs, train=not no_training, progress=progress)
        if no_training and (left := len(reproduction.missing())):
            of = len(reproduction.steps)
            say(f"{left} of {of} runs and results are not there; claims that need them wait")
        say("draw the figures")
        findings = collect(reproduction, {step.name: error for step, error in failed.items()})
        show_findings(findings, _published(findings, drawing), as_json)
        if page:
            show_files(write_page(findings, page)[:1], as_json=as_json)
    (say if as_json else tell)(f"everything lies in {folder.path}/")
    if findings.failures:
        raise click.exceptions.Exit(1)


def _published(findings: Findings, drawing: Drawing) -> list[Path]:
    """Write everything; the files that a reader opens first are returned."""
    from repsim.figures.papers.engine.report import publish

    written = publish(
        findings,
        style=drawing.style(),
        formats=drawing.formats,
        names=drawing.names,
        used=drawing.used,
    )
    for note in drawing.remarks():
        say(note)
    first = {f".{each}" for each in drawing.formats if each != "png"} or {".png"}
    return [path for path in written if path.suffix in (*first, ".md") or path.name == "claims.csv"]


def show_findings(findings: Findings, written: list[Path], as_json: bool) -> None:
    """The verdicts, what failed, and the files that a reader opens first."""
    if as_json:
        show_json([claim.row() for claim in findings.claims])
    else:
        show_claims(findings.claims, findings.reproduction.paper.title)
    for name, error in findings.failures.items():
        say(f"{name} failed: {error}")
    show_files(written, as_json=as_json)


def show_estimate(missing: list[dict[str, Any]], steps: int, folder: Path, as_json: bool) -> None:
    """The costs of the steps that would be made."""
    from repsim.devices import in_units
    from repsim.figures.papers.engine.markdown import in_time

    if as_json:
        show_json(missing)
        return
    if not missing:
        tell(f"nothing is missing in {folder}: all of {steps} runs and results are there")
        return
    known = [each for each in missing if not each["unknown"]]
    rows = [
        (
            each["task"],
            each["kind"],
            in_time(each["seconds"]),
            in_units(each["memory"]),
            in_units(each["bytes"]),
        )
        if not each["unknown"]
        else (each["task"], each["kind"], "not known", "not known", "not known")
        for each in missing
    ]
    seconds, size = (sum(each[key] for each in known) for key in ("seconds", "bytes"))
    total = "all of it" if len(known) == len(missing) else "all that is known"
    rows.append((total, "", in_time(seconds), "", in_units(size)))
    show_table(
        f"{len(missing)} of {steps} runs and results are missing in {folder}",
        ("", "kind", "time, about", "memory, about", "disk, about"),
        rows,
    )
    for reason in dict.fromkeys(each["unknown"] for each in missing if each["unknown"]):
        say(f"not known: {reason}")


def show_claims(claims: Sequence[Finding], title: str) -> None:
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
