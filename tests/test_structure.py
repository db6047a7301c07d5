"""The shape of the project: which folder may import which, and what starts quickly."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import repsim

ROOT = Path(__file__).parent.parent

#: Folder to the parts of the package it may import.
ALLOWED = {
    "repsim": {"repsim"},
    "activations": {"repsim", "activations"},
    "figures": {"repsim", "activations", "figures"},
    "cli": {"repsim", "activations", "figures", "cli"},
}
PARTS = ("activations", "figures", "cli")


def imported_parts(file: Path) -> set[str]:
    """The folders that a module imports from, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            pieces = name.split(".")
            assert pieces[0] not in PARTS, f"{file} imports {name}; say repsim.{name}"
            if pieces[0] == "repsim":
                part = pieces[1] if len(pieces) > 1 and pieces[1] in PARTS else "repsim"
                found.add(part)
    return found


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_go_one_way(folder: str) -> None:
    front_doors = {ROOT / "repsim" / "__init__.py", ROOT / "repsim" / "__main__.py"}
    for file in (ROOT / folder).rglob("*.py"):
        if file not in front_doors:
            assert imported_parts(file) <= ALLOWED[folder], file


def test_what_draws_never_sees_a_network_or_a_store() -> None:
    for file in (ROOT / "figures").glob("*.py"):  # recipes, in papers/, have made what is drawn
        text = file.read_text()
        assert "import torch" not in text, file
        assert "import h5py" not in text, file


def test_every_public_name_is_there() -> None:
    for name in repsim.__all__:
        assert getattr(repsim, name) is not None
    assert set(repsim.__all__) <= set(dir(repsim))
    with pytest.raises(AttributeError, match="no_such_name"):
        repsim.no_such_name  # noqa: B018


def test_every_package_is_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for folder in ALLOWED:
        for file in (ROOT / folder).rglob("__init__.py"):
            inside = file.parent.relative_to(ROOT).as_posix().replace("/", ".")
            package = inside if inside.startswith("repsim") else f"repsim.{inside}"
            assert f'"{package}"' in text, f"{package} is missing from [tool.setuptools] packages"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "numpy", "matplotlib", "h5py", "sklearn", "pydantic")
    code = (
        "import sys; from repsim.cli.main import cli; "
        f"cli.main({arguments!r}, prog_name='repsim', standalone_mode=False); "
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout
    assert run.stderr.strip() == "[]"
