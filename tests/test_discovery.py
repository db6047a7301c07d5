"""Modules of a package, found without being imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from repsim.discovery import ModuleIndex, import_all
from repsim.errors import UsageError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of two tools, and of a module and a package that are none."""
    files = {
        "__init__.py": "",
        "one_hammer.py": '"""A hammer.\n\nFor nails."""\n\nTOOL = "hammer"\n',
        "saw.py": "TOOL = 'saw'\n",
        "base.py": '"""Say ``TOOL = ...`` in a module."""\n',
        "engine/__init__.py": "raise RuntimeError\n",
    }
    for name, text in files.items():
        file = tmp_path / "some_tools" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    __import__("some_tools")
    yield "some_tools"
    for name in [name for name in sys.modules if name.split(".")[0] == "some_tools"]:
        del sys.modules[name]


def test_modules_are_named_and_summarised_without_an_import(package: str) -> None:
    tools = ModuleIndex[str](package, "TOOL", "tool", separator="-")
    assert tools.names() == ["one-hammer", "saw"]
    assert [tools.summary(name) for name in tools.names()] == ["A hammer.", ""]
    assert [name for name in sys.modules if name.startswith(package)] == [package]
    assert ModuleIndex[str](package, "TOOL", "tool").names() == ["one_hammer", "saw"]


def test_a_name_finds_what_its_module_defines(package: str) -> None:
    tools = ModuleIndex[str](package, "TOOL", "tool", separator="-")
    assert [tools.find(name) for name in tools.names()] == ["hammer", "saw"]
    with pytest.raises(UsageError, match="unknown tool 'sav'; did you mean 'saw'"):
        tools.find("sav")


def test_every_module_is_imported(package: str) -> None:
    with pytest.raises(RuntimeError):
        import_all(package)
    assert f"{package}.base" in sys.modules
