"""``repsim nullspace``: what a linear head sees of its features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.cka import claim
from repsim.cli.options import (
    data_dir_option,
    device_option,
    json_option,
    listed,
    output_option,
    overwrite_option,
    page_style_option,
    runs_option,
)
from repsim.cli.reporting import bar, show_files, show_json, show_table
from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.results import NullSpaceEntry, NullSpaceReport

#: Figures that a report may have, beside the bars of all reports.
_FIGURES = ["strips", "histogram", "noise", "alpha", "layers"]


@click.command()
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@runs_option
@click.option("--data", help="Image set to show.  [default: the one it was trained on]")
@data_dir_option
@click.option(
    "--split",
    help="Part to train probes on.  [default: the part that the run was trained on]",
)
@click.option("--test-split", default="test", show_default=True, help="Part to report on.")
@click.option(
    "--noise",
    "noises",
    metavar="KIND:LEVEL,...",
    help="gaussian:SD and salt-and-pepper:SHARE, on images from -1 to 1; none for no noise.  "
    "[default: four levels of each]",
)
@click.option(
    "--control/--no-control",
    default=True,
    show_default=True,
    help="Compare with the run's own network before training.",
)
@click.option(
    "--layers/--no-layers",
    default=True,
    show_default=True,
    help="Report on the convolutions and linear layers before the head, too.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 63) - 1),
    default=0,
    show_default=True,
    help="Of noise, generated images and resampling.",
)
@device_option
@page_style_option
@output_option("results/nullspace-RUN.json")
@overwrite_option
@json_option
def nullspace(
    references: tuple[str, ...],
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    split: str | None,
    test_split: str,
    noises: str | None,
    control: bool,
    layers: bool,
    seed: int,
    device: str,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim nullspace mgan

    Split the features that feed a linear head into its row space, which its outputs depend on, and
    its null space, which they cannot see; on held-out, noisy and generated images, against chance
    and the untrained network. A run with several extractors gives a report for each. Runs the
    networks themselves: nothing needs to be harvested.
    """
    from repsim import figures
    from repsim.activations.analyses.nullspace import NOISES, null_space_of_run
    from repsim.cli.workspace import check_distinct, expand_references, result_path
    from repsim.data import load
    from repsim.devices import find_device

    chosen = expand_references(references, runs)
    if output is not None and len(chosen) > 1:
        raise UsageError(
            f"--output names one file, but {len(chosen)} extractors were asked for; leave it out, "
            "or name one RUN:EXTRACTOR"
        )
    others = [
        data,
        split,
        None if test_split == "test" else test_split,
        None if noises is None else f"noise-{noises}",
        None if control else "no-control",
        None if layers else "no-layers",
        None if seed == 0 else f"seed-{seed}",
    ]
    check_distinct(chosen)
    paths = [result_path(output, "nullspace", [each.label], *others) for each in chosen]
    for path in paths:
        if paths.count(path) > 1:
            same = " and ".join(
                each.label for each, p in zip(chosen, paths, strict=True) if p == path
            )
            raise UsageError(f"the results of {same} would both be {path}; report on them apart")
    joint = claim(result_path(output, "nullspace", references, *others), ["bars"], overwrite)
    stems = [claim(path, _FIGURES, overwrite) for path in paths]
    wanted = NOISES if noises is None else _noises(noises)
    reports, written = [], []
    for extractor, path, stem in zip(chosen, paths, stems, strict=True):
        name = data or extractor.run.config.data
        train = load(name, split or _trained_on(extractor, data), data_dir=data_dir)
        test = load(name, test_split, data_dir=data_dir)
        with bar(f"nullspace {extractor.label}") as progress:
            report = null_space_of_run(
                extractor,
                train,
                test,
                noises=wanted,
                control=control,
                layers=layers,
                seed=seed,
                device=find_device(device),
                progress=progress,
            )
        reports.append(report)
        drawn = figures.null_space_figures(report, style=style)
        made: list[Path] = []
        for suffix in _FIGURES:
            if suffix in drawn:
                made += figures.save(
                    drawn[suffix],
                    stem[suffix],
                    provenance=report.provenance,
                    overwrite=overwrite,
                )
        # The result comes last: where it is, the figures are too.
        written += [*report.save(path, overwrite=overwrite), *made]
    written += figures.save(
        figures.null_space_bars(reports, style=style),
        joint["bars"],
        provenance=reports[0].provenance,
        overwrite=overwrite,
    )
    if as_json:
        show_json([report.to_dict() for report in reports])
    else:
        for k in range(0, len(reports), 2):  # of more, a terminal has no room
            show_reports(reports[k : k + 2])
        for report in reports:
            show_claims(report)
    show_files(written, as_json=as_json)


def _noises(text: str) -> list[str]:
    found = listed(text)
    if not found:
        raise UsageError(f"--noise is {text!r}; expected such as gaussian:0.25, or none")
    return [] if found == ["none"] else found


def _trained_on(extractor: Any, data: str | None) -> str:
    """The part that a run was trained on; of another image set, what is called so."""
    return extractor.run.config.split if data is None else "train"


def show_reports(reports: Sequence[NullSpaceReport]) -> None:
    """Each network with its intervals, chance and the untrained one; a row a quantity."""
    rows: list[tuple[str, ...]] = [
        ("rank of the head / features", *_spread([f"{r.rank} / {r.dim}" for r in reports])),
    ]
    summaries = [dict(report.summary()) for report in reports]
    for name, *_ in reports[0].SUMMARY:
        if any(name in each for each in summaries):
            rows.append((name, *(cell for each in summaries for cell in _cells(each.get(name)))))
    columns = [title for report in reports for title in (report.name, "chance", "untrained")]
    show_table(f"row space and null space, n = {reports[0].n:,}", ("", *columns), rows)


def _spread(values: Sequence[str]) -> list[str]:
    return [cell for value in values for cell in (value, "", "")]


def _cells(entry: NullSpaceEntry | None) -> tuple[str, str, str]:
    if entry is None:
        return "-", "-", "-"
    value = _figure(entry.value)
    ends = [_figure(end) for end in (entry.low, entry.high)]
    interval = "" if "-" in ends else f" ({ends[0]} to {ends[1]})"
    return value + interval, _figure(entry.chance), _figure(entry.control)


def _figure(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.2e}"


def show_claims(report: NullSpaceReport) -> None:
    """The verdict on each claim, by the interval of a number; the result has whole sentences."""
    if not report.claims:
        return
    rows = []
    for each in report.claims:
        entry = report.find(each.quantity, each.part, each.group)
        value, _, control = _cells(entry)
        what = {"all": "", "clean": ""}.get(each.group, f", {each.group}")
        bound = f"{each.side} {_figure(each.against)}"
        name = f"{each.quantity.replace('_', ' ')}, {each.part}{what}"
        rows.append((each.claim, name, value, bound, control, each.verdict))
    columns = ("claim", "number", "value", "to be", "untrained", "verdict")
    show_table(f"claims of Mao et al. on {report.name}", columns, rows)
