"""Null-space reports as results: what they answer, their files and tables."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_results import ENTRIES, EXAMPLES, report

from repsim.errors import StoreError
from repsim.results import NullSpaceReport, Result


def test_a_report_answers_by_quantity_part_group_and_layer() -> None:
    one = report()
    assert one.chance == 1 / 8
    assert one.find("energy", "row") is ENTRIES[0]
    assert one.value("energy", "null") == 2 / 3
    assert one.value("noise_share", "row", "gaussian 0.25") == 0.2
    assert one.find("layer_energy", "null", layer="conv1") is ENTRIES[-1]
    for absent in (("energy", "full"), ("noise_share", "row"), ("layer_energy", "null")):
        assert one.find(*absent) is None
        assert math.isnan(one.value(*absent))
    assert one.probes == {"full": 0.9, "null": 0.875}  # of clean features alone
    assert report(entries=[]).probes == {}


def test_what_is_missing_is_nan_after_loading_too(tmp_path: Path) -> None:
    loaded = NullSpaceReport.load(report().save(tmp_path / "report.json")[0])
    assert math.isnan(loaded.find("gap", "null").chance)
    assert math.isnan(loaded.find("noise_share", "row", "gaussian 0.25").low)
    assert math.isnan(loaded.value("layer_energy", "null", layer="conv1"))
    assert math.isnan(loaded.claims[0].low)
    assert loaded.entries[0] == ENTRIES[0]  # and nothing else is
    assert loaded.examples.label == EXAMPLES.label
    assert math.isnan(loaded.examples.null_share[2])
    assert math.isnan(loaded.alpha[0].alpha_fake_cv)


def test_subscripts_of_entries_work_for_one_release_with_a_warning() -> None:
    with pytest.warns(
        FutureWarning, match=r"NullSpaceEntry\['value'\] is now NullSpaceEntry.value"
    ):
        assert ENTRIES[0]["value"] == 1 / 3
    with pytest.warns(FutureWarning, match=r"Examples\['lambda'\] is now Examples.along_ones"):
        assert EXAMPLES["lambda"] == ()
    with pytest.raises(KeyError, match="valeu"):
        ENTRIES[0]["valeu"]
    with pytest.raises(TypeError, match="not iterable"):
        list(ENTRIES[0])  # type: ignore[call-overload]


DAMAGE = {
    "entries": [None, {}, [1, 2], ["energy"], [None], [{}]],
    "claims": [None, {}, [{}], [{"verdict": "supported"}]],
    "examples": [None, [], {"label": "few"}, {"logit": ["one"]}],
    "alpha": [None, {}, [{"epoch": 1}]],
    "singular_values": [None, 2.0],
    "n": [None, "50", True],
    "rank": ["one", 1.5],
    "name": [None, 3],
    "residual": ["none"],
    "provenance": [[]],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, each in DAMAGE.items() for v in each])
def test_a_damaged_report_is_refused_in_one_line(key: str, value: Any, tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "report.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(StoreError, match="not a whole null-space-report") as caught:
        Result.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [f.name for f in fields(NullSpaceReport)])
def test_a_report_without_a_field_is_refused(key: str, tmp_path: Path) -> None:
    path, _ = report().save(tmp_path / "report.json")
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(
        StoreError, match=rf"not a whole null-space-report \(a result has no {key}; expected "
    ):
        Result.load(path)


def test_a_report_of_before_there_were_entries_is_refused(tmp_path: Path) -> None:
    old = {"name": "gan", "n": 50, "dim": 8, "rank": 1, "tolerance": 1e-7, "residual": 1e-16}
    old |= {"singular_values": [2.0], "row_energy": 0.3, "row_energy_centred": 0.1}
    old |= {"chance": 0.125, "constancy": 0.5, "probes": {"full": 0.9}, "provenance": {}}
    head = {"format": "repsim-result", "format_version": 1, "kind": "null-space-report"}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(head | old))
    with pytest.raises(StoreError, match="old.json: not a whole null-space-report") as caught:
        NullSpaceReport.load(path)
    assert "\n" not in str(caught.value)


def test_the_table_of_a_report_has_a_line_for_every_number(tmp_path: Path) -> None:
    _, path = report().save(tmp_path / "report.json")
    with open(path, newline="") as stream:
        rows = list(csv.DictReader(stream))
    ends = [f"{number}{end}" for number in ("chance", "control") for end in ("", "_low", "_high")]
    numbers = ["value", "low", "high", *ends]
    assert list(rows[0]) == ["network", "quantity", "part", "group", "layer", *numbers, "note"]
    assert {row["network"] for row in rows} == {"gan:discriminator"}
    for row, expected in zip(rows, ENTRIES, strict=True):
        for key in ("quantity", "part", "group", "layer", "note"):
            assert row[key] == (getattr(expected, key) or "")
        found = [float(row[key] or "nan") for key in numbers]
        wanted = [getattr(expected, key) for key in numbers]
        assert np.array_equal(found, wanted, equal_nan=True)
    _, path = report(entries=[]).save(tmp_path / "empty.json")
    assert path.read_text().strip() == ""
