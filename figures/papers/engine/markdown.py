"""Tables and numbers as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repsim.figures.papers.engine.findings import Finding


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Records with the same keys as a table; a value and the ends of its interval are one cell."""
    rows = [_with_intervals(row) for row in rows]
    columns = list(rows[0]) if rows else []
    lines = [
        columns,
        ["---"] * len(columns),
        *([cell(row[key]) for key in columns] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _with_intervals(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record with ``x``, ``x_low`` and ``x_high`` as one text, ``x (low to high)``."""
    ends = {f"{name}_{end}" for name in row for end in ("low", "high")}
    shown = {}
    for name in (name for name in row if name not in ends):
        low, high = (cell(row.get(f"{name}_{end}", "")) for end in ("low", "high"))
        value = cell(row[name])
        shown[name.replace("_", ", ")] = f"{value} ({low} to {high})" if low and high else value
    return shown


def cell(value: Any) -> str:
    """A value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def verdicts(findings: Sequence[Finding]) -> str:
    """The table of the findings on claims."""
    rows = [
        {
            "claim": each.claim,
            "number": each.test,
            "value": each.shown,
            "to be": each.wanted,
            "published": each.published,
            "verdict": _verdict(each),
        }
        for each in findings
    ]
    return table_of(rows)


def _verdict(finding: Finding) -> str:
    """The verdict; of an undecided claim with what it would take."""
    taken = finding.would_take
    remedy = "" if taken is None else f"; about {taken} seeds would decide"
    return finding.verdict + remedy


def notes(findings: Sequence[Finding]) -> str:
    """The notes on findings, each once, with the claims that it is about."""
    claims: dict[str, list[str]] = {}
    for each in findings:
        if each.note:
            claims.setdefault(each.note, []).append(each.claim)
    return "\n".join(f"- {'; '.join(names)}: {note}." for note, names in claims.items())


def in_time(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
