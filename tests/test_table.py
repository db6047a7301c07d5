"""Tables: columns, cells, files, CSV, and how they are printed and drawn."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from driving import run_command
from matplotlib import pyplot as plt

from repsim import figures
from repsim.errors import StoreError, UsageError
from repsim.results import Column, Result, Table

RECORDS = [
    {"measure": "cka", "identified": np.float64(87.5), "published": 99.3, "exact": True},
    {"measure": "cca", "identified": 12.5, "published": None, "exact": False},
]


def table(**changes: Any) -> Table:
    made: dict[str, Any] = {
        "caption": "Layers with their counterpart.",
        "units": {"identified": "%"},
        "descriptions": {"published": "by Kornblith et al. (2019)"},
        "provenance": {"seed": 0},
    }
    return Table.of("layer identification", RECORDS, **{**made, **changes})


def test_columns_have_names_units_and_descriptions() -> None:
    made = table()
    assert made.columns == (
        Column("measure"),
        Column("identified", "%"),
        Column("published", description="by Kornblith et al. (2019)"),
        Column("exact"),
    )
    assert [column.title for column in made.columns][:2] == ["measure", "identified (%)"]
    assert made.column("identified") == [87.5, 12.5]
    assert type(made.column("identified")[0]) is float
    assert math.isnan(made.column("published")[1])
    assert made.rows()[0] == {**RECORDS[0]}


@pytest.mark.parametrize("title", ["measure", "layers (all)", "a (b) c", "shift (norms)"])
def test_titles_are_read_back(title: str) -> None:
    assert Column.parse(title).title == title


def test_a_table_survives_a_file(tmp_path: Path) -> None:
    path, sheet = table().save(tmp_path / "table.json")
    loaded = Result.load(path)
    assert type(loaded) is Table
    assert loaded.to_dict() == table().to_dict()
    assert (loaded.columns, loaded.caption) == (table().columns, table().caption)
    assert math.isnan(loaded.cells[1][2])
    assert loaded.cells[0][3] is True
    with sheet.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1] == {
        "measure": "cca",
        "identified": "12.5",
        "published": "nan",
        "exact": "False",
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table.of("t", []), "'t' has no records; expected at least one"),
        (lambda: Table.of("t", [{"a": 1}, {"b": 1}]), r"row 1 of 't' has the columns \['b'\]"),
        (lambda: Table.of("t", [{"a": [1]}]), r"row 0 of 't' has \[1\] as a; expected a text"),
        (lambda: Table("t", (), ()), "expected distinct names"),
        (lambda: Table("t", (Column("a"), Column("a")), ()), "expected distinct names"),
        (lambda: Table("t", (Column("a"),), ((1, 2),)), "row 0 of 't' has 2 cells; expected 1"),
        (lambda: table(units={"identifed": "%"}), "did you mean 'identified'"),
        (lambda: table().column("measures"), "no column 'measures'; did you mean 'measure'"),
    ],
)
def test_tables_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


DAMAGE = {
    "name": [None, 3],
    "columns": [None, [], ["a"], [{}], [{"name": 3}]],
    "cells": [None, 3, [None], [[1]], [["cka", 1, 2, []]]],
    "provenance": [[]],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, each in DAMAGE.items() for v in each])
def test_a_damaged_table_is_refused_in_one_line(key: str, value: Any, tmp_path: Path) -> None:
    path, _ = table().save(tmp_path / "table.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(StoreError, match="not a whole table") as caught:
        Result.load(path)
    assert "\n" not in str(caught.value)


def test_a_table_is_printed_with_its_caption_and_units(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = table().save(tmp_path / "table.json")
    assert run_command("info", path, "--full") == 0
    shown = capsys.readouterr().out
    for text in ("identified (%)", "87.500", "Layers with their counterpart.", "by Kornblith"):
        assert text in shown


def test_a_table_is_drawn_as_one(tmp_path: Path) -> None:
    (figure,) = figures.draw(table()).values()
    texts = {cell.get_text().get_text() for ax in figure.axes for t in ax.tables
             for cell in t.get_celld().values()} | {t.get_text() for ax in figure.axes
                                                    for t in ax.texts}  # fmt: skip
    assert {"identified (%)", "cka", "yes", "no"} <= texts
    plt.close("all")
    path, _ = table().save(tmp_path / "table.json")
    assert run_command("figure", path) == 0
    assert path.with_suffix(".png").is_file()
