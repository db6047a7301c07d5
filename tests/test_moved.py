"""Names that README and documentation once taught: each is there, or says where it is now."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from imports import ROOT

import repsim
from repsim.data import ImageSet, load
from repsim.figures import Heatmap
from repsim.moved import GONE, MOVED, moved_names, new_name
from repsim.networks import describe

#: All dotted names and imports in README and docs of the last release.
TAUGHT = (ROOT / "tests" / "taught_names.txt").read_text().split()

#: Each function and method of these names in the last release, with its parameters; those that are
#: given by name alone have a star.
PARAMETERS = (ROOT / "tests" / "taught_parameters.txt").read_text().splitlines()

#: Modules that a page tells to write, and files that commands of a page write.
EXAMPLES: set[str] = set()


def resolve(dotted: str) -> Any:
    """The object of a dotted name: the longest module that can be imported, then attributes."""
    pieces = dotted.split(".")
    for size in range(len(pieces), 0, -1):
        module = ".".join(pieces[:size])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not f"{module}.".startswith(f"{error.name}."):
                raise
            continue
        for piece in pieces[size:]:
            found = getattr(found, piece)
        return found
    raise ModuleNotFoundError(dotted)


def resolve_with_warnings(dotted: str) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = resolve(dotted)
    return found, [str(each.message) for each in caught if each.category is FutureWarning]


@pytest.mark.parametrize("name", TAUGHT)
def test_taught_names_are_there_or_say_where_they_are_now(name: str) -> None:
    if name in GONE:
        assert GONE[name]
        return
    found, said = resolve_with_warnings(name)
    new = new_name(name)
    if new is None:
        assert said == []
    elif name not in MOVED or said:
        assert any(new in line for line in said)
        assert resolve_with_warnings(new) == (found, [])


def parameters_of(found: Any) -> tuple[list[inspect.Parameter], dict[str, str]]:
    """Parameters, and those that are taken by an old name."""
    made = found.__init__ if inspect.isclass(found) else found
    listed = inspect.signature(found).parameters.values()
    return [each for each in listed if each.name != "self"], getattr(made, "renamed", {})


@pytest.mark.parametrize("line", PARAMETERS, ids=lambda line: line.split()[0])
def test_taught_names_take_the_parameters_that_they_took(line: str) -> None:
    name, *taught = line.split()
    found, renamed = parameters_of(resolve_with_warnings(name)[0])
    known = {each.name for each in found} | renamed.keys()
    assert {each.lstrip("*") for each in taught} <= known
    placed = [each for each in taught if not each.startswith("*")]
    places = [each.name for each in found if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    if "labels" not in renamed:  # an image set takes either order
        assert [renamed.get(each, each) for each in placed] == places[: len(placed)]


def test_parameters_by_their_old_names_mean_the_same_and_say_the_new_ones() -> None:
    with pytest.warns(FutureWarning, match=r"size= of load is now image_size="):
        small = load("digits", "test[:4]", size=8)
    assert small.size == (8, 8)
    with pytest.warns(FutureWarning, match="labels= of ImageSet is now targets="):
        made = ImageSet(
            name="mine",
            split="train",
            images=small.images,
            labels=small.labels,
            ids=small.ids,
            classes=small.classes,
        )
    assert made.labels is small.labels
    assert made.classes == small.classes
    with pytest.warns(FutureWarning, match="is now targets="):
        assert ImageSet("mine", "train", small.images, None, small.ids, ()).labels is None
    layer = torch.nn.Linear(3, 2)
    for arguments in ((layer,), ()):
        given = {} if arguments else {"network": layer}
        with pytest.warns(FutureWarning, match="shape= of describe is now shapes="):
            assert describe(*arguments, **given, shape=(3,)) == describe(layer, (3,))
    similarity = repsim.cka_map({"x": torch.eye(5)}, {"y": torch.eye(5)})
    with pytest.warns(FutureWarning, match="map= of .* is now similarity="):
        assert Heatmap.of(map=similarity, title="t").title == "t"


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_only_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"(?<![\w./-])repsim(?:\.[A-Za-z_]\w*)+", text))
    imported = re.findall(r"^ *from (repsim[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
    for module, listed in imported:
        names |= {f"{module}.{name.split()[0]}" for name in listed.split(",")}
    for name in sorted(names - EXAMPLES):
        assert resolve_with_warnings(name)[1] == [], name


@pytest.mark.parametrize("old", sorted(MOVED))
def test_new_names_are_there(old: str) -> None:
    assert resolve_with_warnings(MOVED[old])[1] == []
    assert any(name == old or name.startswith(f"{old}.") for name in TAUGHT), "never taught"


def test_old_modules_leave_functions_of_their_name_alone() -> None:
    code = (
        "import repsim, repsim.activations as a; before = a.compare\n"
        "from repsim.activations.compare import compare_classes\n"
        "from repsim.activations.compare import compare\n"
        "assert a.compare is before is compare is repsim.compare\n"
        "assert a.compare_classes is compare_classes"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "repsim.activations.compare.compare is now repsim." in run.stderr


def test_unknown_names_of_old_modules_are_unknown() -> None:
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from repsim.intervals import no_such_name")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("repsim.no_such_module")


def test_names_that_are_gone_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GONE, "repsim.results.Old", "results are tables now")
    with pytest.raises(AttributeError, match="results are tables now"):
        moved_names("repsim.results")("Old")
