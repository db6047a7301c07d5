"""Values fitted to annotations, and annotations in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch

from repsim.errors import UsageError
from repsim.results.annotations import fit, in_words
from repsim.results.records import REQUIRED, SPARSE, Checked, Record, plain, read_fields


@dataclass(frozen=True)
class Point(Checked):
    noun: ClassVar[str] = "point"

    x: float
    label: str | None = None


@dataclass(frozen=True)
class Reading(Record):
    noun: ClassVar[str] = "reading"

    points: list[Point]
    shape: tuple[int, int]
    table: np.ndarray
    note: str = field(default="", metadata=REQUIRED)
    level: float = field(default=math.nan, metadata={**SPARSE, "key": "lambda"})


READING: dict[str, Any] = {
    "points": [{"x": None}, {"x": 1, "label": "a"}],
    "shape": [2, 3],
    "table": [[1, None]],
    "note": "",
}


def test_records_are_read_and_written_as_they_were() -> None:
    made = Reading.from_record({**READING, "later": "field"})
    assert math.isnan(made.points[0].x)
    assert made.points[1] == Point(1, "a")
    assert (made.shape, type(made.points)) == ((2, 3), list)
    assert np.array_equal(made.table, [[1, math.nan]], equal_nan=True)
    points = [{"x": None, "label": None}, {"x": 1, "label": "a"}]
    assert plain(made) == {**READING, "points": points}
    assert plain(Reading.from_record({**READING, "lambda": 0.5}))["lambda"] == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": None}, "points holds None; expected a list of points"),
        ({"points": [3]}, r"points\[0\]: 3 is no point; expected a record"),
        ({"points": [{}]}, r"points\[0\]: a point has no x; expected a number"),
        ({"points": [{"x": "1"}]}, r"points\[0\]: point: x holds '1'; expected a number"),
        ({"shape": [2]}, r"shape holds \[2\]; expected 2 of whole numbers"),
        ({"shape": [2, True]}, "shape holds True; expected a list of whole numbers"),
        ({"table": 3}, "table holds 3; expected a table of numbers"),
        ({"note": None}, "note holds None; expected a text"),
        ({"lambda": 10**400}, "level holds 1000.*; expected a number"),
    ],
)
def test_records_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_fields(Reading, {**READING, **change})


def test_a_default_stands_for_an_absent_field_unless_files_must_have_it() -> None:
    content = dict(READING)
    del content["note"]
    with pytest.raises(UsageError, match="a reading has no note; expected a text"):
        read_fields(Reading, content)
    assert "level" not in read_fields(Reading, READING)


@pytest.mark.parametrize("numbers", [(1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])])
def test_arrays_become_numbers_of_python(numbers: Any) -> None:
    found = fit(Sequence[float], numbers, "numbers")
    assert found == (1.0, 2.0)
    assert {type(each) for each in found} == {float}


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (Sequence[float], "a list of numbers"),
        (tuple[tuple[str, ...], ...], "a list of lists of texts"),
        (int | None, "a whole number or null"),
        (Literal["low", "high"], "'low' or 'high'"),
        (dict[str, Any], "a dictionary"),
        (list[Point], "a list of points"),
    ],
)
def test_annotations_have_words(hint: Any, words: str) -> None:
    assert in_words(hint) == words
