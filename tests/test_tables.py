"""Tables on narrow terminals: names fold, and no value is cut or broken."""

from __future__ import annotations

import re
from typing import Any

import pytest

from repsim.cli import tables

COLUMNS = ("network", "layer", "features", "train accuracy", "accuracy", "95 % interval")
LAYERS = (
    "stem",
    "bg2.b0.residual.conv1",
    "vit.encoder.layer.11.attention.output",
    "ohneTrenner" * 3,
)
ROWS = [
    (
        "a-network-with-a-long-name",
        layer,
        1280 + at,
        0.98,
        None if at else 0.6213,
        f"0.5{at} to 0.675",
    )
    for at, layer in enumerate(LAYERS)
]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """The lines that a table takes on a terminal of so many columns; 0 for a pipe."""

    def show(width: int, *table: Any) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width or 80))
        monkeypatch.setattr("sys.stdout.isatty", lambda: bool(width), raising=False)
        tables.show_table(*table)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return show


@pytest.mark.parametrize("width", [40, 60, 61, 72, 80, 100, 200])
def test_values_are_whole_and_names_lose_no_sign(width: int, shown) -> None:  # type: ignore[no-untyped-def]
    lines = shown(width, "accuracies", COLUMNS, ROWS)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    for value in ("1280", "1283", "0.980", "0.621"):
        assert value in words
    for at in range(len(ROWS)):
        assert any(f"0.5{at} to 0.675" in line for line in lines)
    assert "…" not in "".join(lines)
    squeezed = re.sub(r"\s", "", "".join(lines))
    assert squeezed.count("-") >= 3  # of NaN and of the name
    if width < 50:  # a list for each row
        assert [
            line for line in lines if line.split() == ["95", "%", "interval", "0.50", "to", "0.675"]
        ]


def test_names_break_behind_the_signs_that_part_them(shown) -> None:  # type: ignore[no-untyped-def]
    lines = shown(60, "", ("layer", "rank"), [("a" * 30 + ".group3.block1." + "b" * 30, "3 / 64")])
    assert any(line.split()[:1] == ["a" * 30 + ".group3.block1."] for line in lines)
    folded = shown(60, "", ("layer", "rank"), [("x" * 90, "3 / 64")])
    assert "".join(folded).count("x") == 90


def test_a_pipe_gets_every_row_on_a_line_of_its_own(shown) -> None:  # type: ignore[no-untyped-def]
    lines = shown(0, "", COLUMNS, ROWS)
    for layer in LAYERS:
        assert sum(layer in line for line in lines) == 1


def test_a_table_without_rows_has_its_head(shown) -> None:  # type: ignore[no-untyped-def]
    assert any("layer" in line for line in shown(60, "", ("layer", "rank"), []))


def test_numbers_stand_to_the_right_and_lines_of_cells_stay(shown) -> None:  # type: ignore[no-untyped-def]
    lines = shown(80, "", ("claim", "n"), [("1: more\n  0.5 to be above", 7), ("2: less", 1234)])
    assert any(line.rstrip().endswith("    7") for line in lines)
    assert any(line.strip() == "0.5 to be above" for line in lines)
