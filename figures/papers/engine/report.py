"""Figures, tables, claims and a report from the steps that were made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from repsim._version import __version__
from repsim.figures.drawing import draw_data, save
from repsim.figures.papers.engine.claims import Claim, Judged
from repsim.figures.papers.engine.failures import reason_of
from repsim.figures.papers.engine.findings import Finding
from repsim.figures.papers.engine.found import Found, Missing
from repsim.figures.papers.engine.log import Log
from repsim.figures.papers.engine.markdown import in_time, notes, table_of, verdicts
from repsim.figures.papers.engine.only import is_of
from repsim.figures.papers.engine.paper import Reproduction, Rows
from repsim.figures.style import Style
from repsim.files import csv_text, sweep, write_atomic
from repsim.results import FigureData

T = TypeVar("T")


@dataclass(frozen=True)
class Findings:
    """Everything that a reproduction shows and says.

    Attributes:
        reproduction: whose.
        figures: that could be made.
        tables: by name, the same.
        claims: all of them.
        failures: error lines by what was not made.
        left: the same, of what only lacks something else that was not made.
    """

    reproduction: Reproduction
    figures: Sequence[FigureData]
    tables: Mapping[str, Rows]
    claims: Sequence[Finding]
    failures: Mapping[str, str] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)


def collect(reproduction: Reproduction, failures: Mapping[str, str] | None = None) -> Findings:
    """The figures, tables and claims, as far as their results are there.

    One that fails is told of among the failures, and the others are made.

    Args:
        reproduction: after its steps were made.
        failures: error lines by what was not made.
    """
    paper, attempts = reproduction.paper, _Attempts(Found(reproduction), dict(failures or {}))
    figures = [make for make in paper.figures if is_of(make, reproduction.data)]
    tables = {n: make for n, make in paper.tables.items() if is_of(make, reproduction.data)}
    return Findings(
        reproduction,
        [each for make in figures for each in attempts.made(_titled(make), make)],
        {
            name: rows
            for name, make in tables.items()
            for rows in attempts.made(f"table {name}", make)
        },
        [finding for claim in paper.claims for finding in attempts.judged(claim)],
        attempts.failures,
        attempts.left,
    )


@dataclass(frozen=True)
class _Attempts:
    """The making of figures, tables and findings, with those that failed."""

    found: Found
    failures: dict[str, str]
    left: dict[str, str] = field(default_factory=dict)

    def made(self, name: str, make: Callable[[Found], T]) -> list[T]:
        """A figure or a table; nothing where it fails."""
        try:
            return [make(self.found)]
        except Missing as error:  # the step that was not made is told of once
            self.left[name] = str(error)
            return []
        except Exception as error:
            self.failures[name] = self._reason(error, name)
            return []

    def judged(self, line: Judged) -> list[Finding]:
        """The findings on a line of the claims; each that fails is undecided."""
        try:
            claims = line.cases(self.found)
        except Exception as error:
            return self._undecided(line, error)
        return [finding for claim in claims for finding in self._findings(claim)]

    def _findings(self, claim: Claim) -> list[Finding]:
        try:
            return claim.findings(self.found)
        except Exception as error:
            return self._undecided(claim, error)

    def _undecided(self, line: Judged, error: Exception) -> list[Finding]:
        if isinstance(error, Missing):  # the step that was not made is among the failures already
            return line.undecided(self.found, str(error))
        (finding,) = line.undecided(self.found, "")
        name = f"claim {finding.claim}"
        self.failures[name] = self._reason(error, name)
        return [replace(finding, note=self.failures[name])]

    def _reason(self, error: Exception, name: str) -> str:
        file = re.sub(r"\W+", "-", name.lower())
        return reason_of(error, self.found.reproduction.folder, file)


def _titled(make: Any) -> str:
    """A name of a figure that could not be made: that of its function, with any arguments."""
    words = [getattr(make, "func", make).__name__, *getattr(make, "keywords", {}).values()]
    return "figure " + " ".join(map(str, words)).replace("_", " ").removeprefix("figure ")


def publish(
    findings: Findings,
    *,
    style: str | Style = "page",
    formats: Sequence[str] = ("png", "pdf"),
    names: Mapping[str, str] | None = None,
    used: set[str] | None = None,
) -> list[Path]:
    """Draw every figure and write every table, the claims and the report.

    A figure is STEM.json (to draw it again without the networks), .csv (its numbers), .txt (caption
    and provenance), .png, which the report shows, and the other formats. What was there is
    replaced.

    Args:
        findings: what is drawn and written.
        style: the size and font of the figures.
        formats: of their files.
        names: other names for networks and layers in them, as ``repsim.figures.draw`` takes them.
        used: collects the names that the figures have.

    Returns:
        The files, in order; the last is ``report.md``.
    """
    folder = findings.reproduction.folder.path
    sweep(folder / "figures")
    kinds = tuple(dict.fromkeys(["png", *formats]))
    met: set[str] = set() if used is None else used
    written = []
    for each in findings.figures:
        stem = folder / "figures" / stem_of(each)
        drawn = draw_data({"": each}, style=style, names=names, used=met)[""]
        written += each.save(stem, overwrite=True)
        written += save(drawn, stem, data=each, formats=kinds, overwrite=True)
    sheets = {folder / "tables" / f"{name}.csv": rows for name, rows in findings.tables.items()}
    sheets[folder / "claims.csv"] = [claim.row() for claim in findings.claims]
    for path, rows in sheets.items():
        write_atomic(path, csv_text(rows))
    report = folder / "report.md"
    write_atomic(report, report_of(findings))
    return [*dict.fromkeys(written), *sheets, report]


def stem_of(figure: FigureData) -> str:
    """The name of a figure's files."""
    return figure.name.lower().replace(" ", "-")


@dataclass(frozen=True)
class Effort:
    """The time that a reproduction took, and the machines.

    Attributes:
        steps: number of runs and results; "7 of 60" where some are not there yet.
        seconds: of all of them, added up.
        machines: in words.
    """

    steps: str
    seconds: float
    machines: str

    @classmethod
    def of(cls, reproduction: Reproduction) -> Effort:
        """The effort that the log of a folder tells of."""
        rows = Log(reproduction.folder).of(reproduction.steps)
        machines = ", and ".join(dict.fromkeys(row["machine"] for row in rows))
        seconds = sum(float(row["seconds"]) for row in rows)
        total, missing = len(reproduction.steps), len(reproduction.missing())
        steps = f"{total - missing} of {total}" if missing else str(total)
        return cls(steps, seconds, machines)


def report_of(findings: Findings) -> str:
    """Everything on one page: how it was made, the verdicts, the figures and the tables."""
    reproduction = findings.reproduction
    parts = [f"# {reproduction.paper.title}", "    " + reproduction.command, *_about(reproduction)]
    if lacking := {**findings.failures, **findings.left}:
        lines = [f"- {name}: {error}" for name, error in lacking.items()]
        title = "What failed" if findings.failures else "What is not there yet"
        parts += [f"## {title}", "\n".join(lines)]
    parts += ["## Verdicts", verdicts(findings.claims)]
    if remarks := notes(findings.claims):
        parts.append(remarks)
    parts.append("## Figures")
    parts += [figure_of(each, "figures") for each in findings.figures]
    parts.append("## Tables")
    for name, rows in findings.tables.items():
        parts.append(f"### {name.replace('-', ' ').capitalize()}\n\n{table_of(rows)}")
    differences = "\n".join(f"- {each}" for each in reproduction.paper.differences)
    parts += ["## What differs from the paper", differences]
    return "\n\n".join(parts) + "\n"


def _about(reproduction: Reproduction) -> list[str]:
    effort = Effort.of(reproduction)
    seeds = ", ".join(map(str, reproduction.seeds))
    return [
        f"Scale {reproduction.scale}, {reproduction.data}, seeds {seeds}; repsim {__version__}. "
        f"{effort.steps} runs and results; added up, they took {in_time(effort.seconds)} "
        f"({effort.machines}).",
        f"All numbers are of images that no network was trained on: {reproduction.data} "
        f"{reproduction.splits['held_out']}.",
    ]


def figure_of(figure: FigureData, folder: str, prefix: str = "") -> str:
    """A figure with its caption, as Markdown."""
    image = f"![{figure.name}]({folder}/{prefix}{stem_of(figure)}.png)"
    return f"{image}\n\n{figure.name}. {figure.caption}"
