"""Plain English: a docstring begins with the thing it describes, or with an imperative."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from imports import FOLDERS, ROOT

#: Openings that describe a thing by a question about it.
QUESTION = re.compile(r"(What|Whether|Who|How|Where|Which|Why)\b")

#: Of so many docstrings, one may open so.
EVERY = 50


def docstrings(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring in a Python file."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text


def test_few_docstrings_open_with_a_question() -> None:
    folders = (*FOLDERS, "tests", "benchmarks", "docs")
    files = [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]
    found = [(file, *each) for file in files for each in docstrings(file)]
    asking = [each for each in found if QUESTION.match(each[2])]
    lines = [f"{file.relative_to(ROOT)}:{line}: {text[:60]}" for file, line, text in asking]
    assert len(asking) * EVERY <= len(found), "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("What a batch says of its examples.", True),
        ("Whether training is over.", True),
        ("Whatever a hook returns.", False),
        ("Rows of a layer.", False),
    ],
)
def test_openings_are_told_apart(text: str, asks: bool) -> None:
    assert bool(QUESTION.match(text)) == asks


def test_docstrings_are_found_at_every_level(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    text = '"""One."""\nclass A:\n    """Two."""\n    def f(self):\n        """Three."""\n'
    file.write_text(text)
    assert list(docstrings(file)) == [(1, "One."), (3, "Two."), (5, "Three.")]
