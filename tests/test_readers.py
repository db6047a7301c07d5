"""Readers on damaged files: read, or refused in one line. By the thousand: ``fuzz_readers.py``."""

from __future__ import annotations

import collections
import io
import json
from pathlib import Path

import pytest
import torch
from fuzz_readers import GOOD, outcomes
from readers import READERS
from torch.torch_version import TorchVersion

from repsim.cli.main import cli
from repsim.cli.tables import show_table
from repsim.configuration import read_toml
from repsim.errors import RepsimError, StoreError, UsageError
from repsim.files import csv_text
from repsim.reading import damage, parse_json, read_json
from repsim.results import Result
from repsim.training.run import Run
from repsim.visible import LONGEST, one_line, shown, visible

DEEP = "[" * 100_000


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    found = collections.Counter(result for _, result in outcomes(name, tmp_path, 0, 40))
    assert set(found) <= set(GOOD)
    assert found["refused"] > 0


@pytest.mark.parametrize("name", ["checkpoint", "weights", "arrays"])
def test_a_torch_that_may_run_code_reads_no_pickles(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [each for each in READERS[name].make(tmp_path) if each.suffix == ".pt"]
    assert files
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1+cpu"))
    for file in files:
        with pytest.raises(
            StoreError, match=r"torch 2\.5\.1\+cpu may run code .* 2\.6 or later, or"
        ):
            READERS[name].read(file)


def test_values_nested_deeply_are_refused_by_every_reader_of_texts(tmp_path: Path) -> None:
    for text in (DEEP, '{"a":' * 100_000, "9" * 5000, "\ud800"):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
    (tmp_path / "config.json").write_text(DEEP)
    (tmp_path / "config.toml").write_text(f"x = {DEEP}")
    with pytest.raises(StoreError, match="nested too deeply"):
        Run(tmp_path).describe()
    with pytest.raises(StoreError, match="nested too deeply"):
        Result.load(tmp_path / "config.json")
    with pytest.raises(UsageError, match="nested too deeply"):
        read_toml(tmp_path / "config.toml")
    with pytest.raises(ValueError, match="nested too deeply"):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize(
    "error", [KeyError("a"), RecursionError(), MemoryError(), EOFError(), io.UnsupportedOperation()]
)
def test_whatever_a_damaged_file_raises_names_the_file(error: Exception) -> None:
    with pytest.raises(StoreError, match=r"^a\.h5 is damaged: .") as raised, damage("a.h5"):
        raise error
    assert raised.value.__cause__ is error
    with pytest.raises(UsageError, match="^ours$"), damage("a.h5"):
        raise UsageError("ours")


# Text of others on a terminal


def test_control_characters_are_escapes_and_other_text_stays() -> None:
    assert visible("a\x1b[31m\x07\x9b\u202eb") == r"a\x1b[31m\x07\x9b\u202eb"
    assert visible("ä\u2215 中\tline\nline\udcff") == "ä\u2215 中\tline\nline\udcff"
    assert one_line("a\nb\r\nc\td") == "a b c d"


def test_messages_are_cut_in_their_middle() -> None:
    message = str(RepsimError("a.h5 is " + "x" * 9000 + "; pass --overwrite"))
    assert len(message) == LONGEST
    assert message.startswith("a.h5 is xxx")
    assert message.endswith("; pass --overwrite")
    assert " ... " in message
    assert len(shown("y" * 9000)) == 80
    assert shown("a\x1b") == r"'a\x1b'"


def test_a_deep_or_long_value_has_a_short_text() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert shown(nested) == "a list"
    assert shown(10**5000) == "a int"
    while nested:  # else its end would overflow the stack
        (nested,) = nested  # type: ignore[assignment]


def test_tables_show_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    show_table("a\x1btitle", ("b\x1bcolumn",), [("c\x1bcell",)])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    for name in ("a\\x1btitle", "b\\x1bcolumn", "c\\x1bcell"):
        assert name in out


def test_names_in_errors_and_remarks_show_control_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"format": "repsim-result", "format_version": 1, "kind": "a\x1b[31m\nb"}
    path = tmp_path / "x\x1b.json"
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match=r"unknown kind of result") as raised:
        cli.main(["info", str(path)], prog_name="repsim", standalone_mode=False)
    said = str(raised.value) + "".join(capsys.readouterr())
    assert r"a\x1b[31m" in said
    assert r"x\x1b.json" in said
    assert "\x1b" not in said


# Tables for spreadsheets


def test_cells_that_spreadsheets_would_compute_are_text() -> None:
    rows = [
        {"name": "=1+1", "value": -0.5, "=x": "-0.5"},
        {"name": "@cmd", "value": "+1e3", "=x": "-b"},
        {"name": "\tx", "value": None, "=x": "a=b"},
    ]
    lines = csv_text(rows).splitlines()
    assert lines == ["name,value,'=x", "'=1+1,-0.5,-0.5", "'@cmd,+1e3,'-b", "'\tx,,a=b"]
    assert csv_text([{"a": "\r=x\x1b"}]) == "a\n\\r=x\\x1b\n"
