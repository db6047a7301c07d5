"""Imports and exports that are there already: kept if they are the same, else told apart."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import run_command

from repsim.activations.store.exchange import export_layers, import_activations
from repsim.errors import UsageError

N = 6
ARRAYS: dict[str, Any] = {
    "conv": np.arange(N * 8, dtype=np.float32).reshape(N, 2, 2, 2),
    "head": np.arange(N * 3, dtype=np.float64).reshape(N, 3),
    "half": torch.arange(N * 2).reshape(N, 2).to(torch.bfloat16),
}
LABELS = np.arange(N) % 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store of three layers with labels, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    import_activations(ARRAYS, "a.h5", labels=LABELS, name="net").close()
    return tmp_path


def stamps() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}


def test_the_same_import_is_kept(here: Path) -> None:
    before = stamps()
    with import_activations(ARRAYS, "a.h5", labels=LABELS, name="net", keep=True) as store:
        assert tuple(store.layers) == tuple(ARRAYS)
    assert stamps() == before


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"labels": 1 - LABELS}, "targets differ"),
        ({"labels": None}, "targets differ"),
        ({"ids": list("abcdef")}, "example ids differ"),
        ({"name": "other"}, r"network differ \(network was net, now other\)"),
        ({"sources": {**ARRAYS, "head": ARRAYS["head"] + 1}}, "values of layer 'head' differ"),
        ({"sources": {**ARRAYS, "half": ARRAYS["half"] + 1}}, "values of layer 'half' differ"),
        ({"sources": {**ARRAYS, "head": ARRAYS["conv"]}}, "layers differ"),
        ({"layers": "conv"}, "layers differ"),
    ],
)
def test_another_import_is_refused_with_what_differs(
    here: Path, changed: dict[str, Any], words: str
) -> None:
    asked = {"sources": ARRAYS, "labels": LABELS, "name": "net", **changed}
    with pytest.raises(UsageError, match=f"a.h5 exists already, of another import: .*{words}"):
        import_activations(asked.pop("sources"), "a.h5", keep=True, **asked)


@pytest.mark.parametrize(("target", "layers"), [("out", None), ("head.npy", "head")])
def test_the_same_export_is_kept(here: Path, target: str, layers: str | None) -> None:
    with import_activations(ARRAYS, "a.h5", labels=LABELS, name="net", keep=True) as store:
        written = export_layers(store, target, layers=layers)
        before = stamps()
        assert export_layers(store, target, layers=layers, keep=True) == written
    assert stamps() == before


def test_another_export_is_refused_with_what_differs(here: Path) -> None:
    other = {**ARRAYS, "head": ARRAYS["head"] + 1}
    with (
        import_activations(ARRAYS, "a.h5", labels=LABELS, name="net", keep=True) as store,
        import_activations(other, "b.h5", labels=LABELS, name="net") as values,
        import_activations(ARRAYS, "c.h5", labels=LABELS, name="more") as name,
    ):
        export_layers(store, "out")
        export_layers(store, "head.npy", layers="head")
        before = stamps()
        for given, target, layers, words in (
            (values, "out", None, "layers/head.npy differ"),
            (values, "head.npy", "head", "its values differ"),
            (name, "out", None, r"network differ \(network was net, now more\)"),
            (store, "out", "head", "layers/conv.npy"),
        ):
            with pytest.raises(UsageError, match=f"{target} exists already, .*{words}"):
                export_layers(given, target, layers=layers, keep=True)
        assert stamps() == before
        Path("out/provenance.json").write_text("{")
        with pytest.raises(UsageError, match=r"provenance\.json cannot be read"):
            export_layers(store, "out", keep=True)


def test_commands_say_that_it_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("x.npz", head=ARRAYS["head"])
    commands: list[tuple[str, ...]] = [
        ("import", "x.npz", "--name", "mine"),
        ("export", "mine", "-o", "out"),
        ("export", "mine", "-o", "head.npy"),
    ]
    for command in commands:
        assert run_command(*command) == 0
        before = stamps()
        capsys.readouterr()
        assert run_command(*command) == 0
        assert "is there already" in capsys.readouterr().err
        assert run_command(*command, "--json") == 0
        assert json.loads(capsys.readouterr().out)
        assert stamps() == before


def test_inputs_are_checked_before_outputs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks: list[tuple[tuple[str, ...], str]] = [
        (("import", "nothing.npz", "-o", "a.h5"), "there is no file nothing.npz"),
        (("export", "a.h5", "-o", "a.h5", "--layers", "nought"), "no layer 'nought'"),
    ]
    for command, words in checks:
        assert run_command(*command) in (1, 2)
        assert words in capsys.readouterr().err
