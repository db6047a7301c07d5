"""Installations other than the usual one: few libraries, a checkout as it is, a namesake."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

import repsim

ROOT = Path(__file__).parents[1]
PARTS = ("activations", "cli", "figures")


def _with_what_they_need(*names: str) -> Iterator[metadata.Distribution]:
    """Installed distributions and all that they require."""
    known: set[str] = set()
    left = list(names)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in known:
            continue
        known.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # required on another platform
            continue
        yield found
        for line in found.requires or ():
            requirement, _, marker = line.partition(";")
            if "extra" not in marker:
                left.append(re.split(r"[^\w.-]", requirement.strip())[0])


def _as_installed(folder: Path) -> Path:
    """This repsim as a wheel has it, its packages within one."""
    (folder / "repsim").mkdir(parents=True)
    for part in (ROOT / "repsim").iterdir():
        if part.name not in PARTS:
            (folder / "repsim" / part.name).symlink_to(part)
    for name in PARTS:
        (folder / "repsim" / name).symlink_to(ROOT / name)
    return folder


def _run(*arguments: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python without its site: only the standard library and what lies in ``path``."""
    env = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-S", *arguments], env=env, cwd=cwd, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of libraries: repsim, torch, NumPy, SciPy and what these require."""
    folder = _as_installed(tmp_path_factory.mktemp("few"))
    for each in _with_what_they_need("torch", "numpy", "scipy"):
        for top in {Path(file).parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(Path(str(each.locate_file(top))))
    return folder


@pytest.mark.slow
def test_measures_networks_and_probes_need_only_torch_numpy_and_scipy(few: Path) -> None:
    done = _run(str(ROOT / "tests" / "embedded.py"), path=few, cwd=few)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("as promised\n")


def test_the_command_line_says_which_library_it_needs(few: Path) -> None:
    done = _run("-m", "repsim", "--version", path=few, cwd=few)
    assert done.returncode == 1
    assert re.fullmatch(
        r"repsim: error: the command line needs (click|rich), which is not installed; .*\n",
        done.stderr,
    )


def test_a_checkout_that_is_not_installed_is_whole(tmp_path: Path) -> None:
    libraries = Path(str(metadata.distribution("click").locate_file("")))
    code = (
        "import repsim, repsim.cli.main; print(repsim.compare.__module__, repsim.cli.__file__); "
        "repsim.figures.heatmap; import repsim.activations.store.exchange"
    )
    bare = tmp_path / "libraries"  # without the finder of an editable installation
    bare.mkdir()
    for each in libraries.iterdir():
        if not each.name.startswith(("repsim", "__editable__")):
            (bare / each.name).symlink_to(each)
    done = _run("-c", code, path=bare, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "repsim.activations.analyses.similarity",
        str(ROOT / "cli" / "__init__.py"),
    ]


def test_another_project_of_this_name_is_found_and_said(tmp_path: Path) -> None:
    folder = _as_installed(tmp_path)
    (folder / "repsim-1.1.dist-info").mkdir()
    done = _run("-c", "import repsim", path=folder, cwd=folder)
    assert done.returncode == 0
    assert "another project's package repsim is installed too (repsim-1.1)" in done.stderr


def test_the_command_line_refuses_to_run_where_it_has_overwritten_this_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from repsim.cli.main import main

    monkeypatch.setattr(sys, "argv", ["repsim", "ls"])
    monkeypatch.delattr(repsim, "lazy")
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert "repsim/__init__.py is another project's" in capsys.readouterr().err
