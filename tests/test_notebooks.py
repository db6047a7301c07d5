"""Progress in notebooks: a bar below the cell by default, and nothing anywhere else."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import repsim
from repsim import progress
from repsim.activations import compare, harvest, invariance
from repsim.activations.analyses.probe import probe_layers
from repsim.activations.store.exchange import export_layers, import_activations
from repsim.progress import notebook_bar
from repsim.training.loop import train


class Handle:
    """A place below a cell, with everything that was drawn in it."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def update(self, page: str) -> None:
        self.drawn.append(page)


@pytest.fixture
def handles(monkeypatch: pytest.MonkeyPatch) -> list[Handle]:
    """The bars that a notebook shows."""
    made: list[Handle] = []

    def display(page: str, display_id: bool) -> Handle:
        assert display_id
        made.append(Handle())
        return made[-1]

    class Shell:
        kernel = object()

    library, drawing = ModuleType("IPython"), ModuleType("IPython.display")
    vars(library).update(get_ipython=Shell)
    vars(drawing).update(HTML=str, display=display)
    monkeypatch.setitem(sys.modules, "IPython", library)
    monkeypatch.setitem(sys.modules, "IPython.display", drawing)
    monkeypatch.setattr(progress, "_BAR", progress._Bar())
    monkeypatch.setattr(progress._Bar, "PAUSE", 0.0)
    return made


@pytest.mark.parametrize(
    "function", [train, harvest, repsim.cka_map, compare, invariance, probe_layers, export_layers]
)
def test_functions_that_take_long_draw_a_bar_by_default(function: Callable[..., Any]) -> None:
    assert inspect.signature(function).parameters["progress"].default is notebook_bar


def test_a_bar_is_drawn_once_for_each_work(handles: list[Handle], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = {f"layer{at}": rng.normal(size=(30, 4)) for at in range(3)}
    with import_activations(layers, tmp_path / "a.h5") as store:
        (bar,) = handles
        assert "100 %" in bar.drawn[-1]
        repsim.cka_map(store, store)
        assert len(handles) == 2
        assert all("100 %" in each.drawn[-1] for each in handles)
        repsim.layer_identification(store, store)
    assert len(handles) == 2


def test_a_bar_has_the_share_and_the_note_as_text(handles: list[Handle]) -> None:
    notebook_bar(1, 4, "loss <nan>")
    notebook_bar(2, 4, "")
    notebook_bar(1, 8, "")
    assert len(handles) == 2
    assert 'value="1" max="4"' in handles[0].drawn[0]
    assert "25 % loss &lt;nan&gt;" in handles[0].drawn[0]
    assert "50 %" in handles[0].drawn[1]


def test_nothing_is_drawn_outside_notebooks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not progress.in_notebook()
    notebook_bar(1, 2)
    terminal = ModuleType("IPython")
    vars(terminal).update(get_ipython=object)  # a shell without a kernel
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    notebook_bar(1, 2)
    assert capsys.readouterr() == ("", "")
