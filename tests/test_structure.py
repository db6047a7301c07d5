"""The shape of the project: which folder may import which, and what starts quickly."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from imports import ROOT, circles, graph, imports, modules

import repsim

#: Each folder and those it may import from.
FOLDERS = {
    "repsim": {"repsim"},
    "activations": {"repsim", "activations"},
    "figures": {"repsim", "activations", "figures"},
    "cli": {"repsim", "activations", "figures", "cli"},
}

#: The packages in ``activations/``; each imports those before it.
PACKAGES = ("capture", "store", "harvesting", "analyses")

#: Figures are drawn from results. What reproduces a paper is the exception: it trains the networks,
#: harvests them and analyses them before it draws.
MAKES_ITS_RESULTS = "repsim.figures.papers"

#: Parts of the package that what draws has no use for.
UNSEEN = ("activations", "data", "measures", "networks", "nullspace", "probes", "training")


def folder_of(module: str) -> str:
    """The folder of the repository that holds a module."""
    pieces = module.split(".")
    return pieces[1] if len(pieces) > 1 and pieces[1] in FOLDERS else "repsim"


@pytest.fixture(scope="module")
def edges() -> dict[str, set[str]]:
    return graph()


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_imports_go_one_way(folder: str, edges: dict[str, set[str]]) -> None:
    for module, imported in edges.items():
        if folder_of(module) == folder:
            assert {folder_of(other) for other in imported} <= FOLDERS[folder], module


def test_folders_are_named_as_they_are_imported() -> None:
    for file in modules().values():
        for name in imports(file, ()):
            assert name.split(".")[0] == "repsim", f"{file} imports {name}; say repsim.{name}"


def test_packages_of_activations_import_those_before_them(edges: dict[str, set[str]]) -> None:
    places = {f"repsim.activations.{name}": place for place, name in enumerate(PACKAGES)}

    def place(module: str) -> int:
        if module == "repsim.activations":
            return len(PACKAGES)
        return places.get(".".join(module.split(".")[:3]), -1)

    found = {module for module in edges if module.startswith("repsim.activations.")}
    assert all(place(module) >= 0 for module in found), "a module that lies in none of PACKAGES"
    for module in found:
        for other in edges[module]:
            assert place(other) <= place(module), f"{module} imports {other}"


def test_no_modules_import_each_other(edges: dict[str, set[str]]) -> None:
    assert circles(edges) == []


def test_circles_are_found_through_others_and_inside_functions(tmp_path: Path) -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": set()}) == [
        ["a", "b", "c"]
    ]
    file = tmp_path / "module.py"
    file.write_text(
        "from repsim.files import write\n"
        "if TYPE_CHECKING:\n    import repsim.layers\n"
        "def late():\n    from repsim import errors, devices\n    import repsim.sources\n"
    )
    known = {"repsim.files", "repsim.layers", "repsim.errors", "repsim.sources"}
    assert imports(file, known) == {"repsim.files", "repsim.errors", "repsim.sources", "repsim"}


def test_what_draws_sees_results_only(edges: dict[str, set[str]]) -> None:
    for module, imported in edges.items():
        if folder_of(module) != "figures" or module.startswith(MAKES_ITS_RESULTS):
            continue
        for other in imported:
            assert other.split(".")[1] not in UNSEEN, f"{module} imports {other}"
        text = modules()[module].read_text()
        assert "import torch" not in text, module
        assert "import h5py" not in text, module


@pytest.mark.parametrize("file", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda f: f.stem)
def test_benchmarks_import_names_that_are_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file.parent)  # as where Python runs the file
    runpy.run_path(str(file), run_name="imported")


def test_every_public_name_is_there() -> None:
    for name in repsim.__all__:
        assert getattr(repsim, name) is not None
    assert set(repsim.__all__) <= set(dir(repsim))
    with pytest.raises(AttributeError, match="no_such_name"):
        repsim.no_such_name  # noqa: B018


def test_every_package_is_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("__init__.py"):
            inside = file.parent.relative_to(ROOT).as_posix().replace("/", ".")
            package = inside if inside.startswith("repsim") else f"repsim.{inside}"
            assert f'"{package}"' in text, f"{package} is missing from [tool.setuptools] packages"


def test_nothing_that_was_made_is_in_the_tree() -> None:
    """Files of numbers are there for the tests alone, and pictures for the pages alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    homes = {
        **dict.fromkeys((".h5", ".npy", ".npz", ".pt", ".log", ".csv"), "tests/"),
        **dict.fromkeys((".png", ".pdf", ".svg"), "docs/images/"),
    }
    strays = [file for file in listed if not file.startswith(homes.get(Path(file).suffix, ""))]
    assert strays == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["reproduce", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "numpy", "matplotlib", "h5py", "sklearn", "pydantic")
    code = (
        "import sys; from repsim.cli.main import cli; "
        f"cli.main({arguments!r}, prog_name='repsim', standalone_mode=False); "
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout
    expected = ["numpy"] if "reproduce" in arguments else []  # types of panels lie in its parent
    assert run.stderr.strip() == repr(expected)
