"""Habits of the terminal: names that stand alone, short options, bars, and remarks."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from driving import run_command

from repsim import quiet
from repsim.cli import reporting
from repsim.progress import Remaining
from repsim.results import SimilarityMap

N = 12


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two networks of two layers in the folder of stores."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "activations").mkdir()
    for name in ("one", "two"):
        layers = {f"layer.{at}": rng.standard_normal((N, 5)) for at in (1, 2)}
        np.savez(tmp_path / f"{name}.npz", **layers)
        command = ("import", f"{name}.npz", "--name", name, "-o", f"activations/{name}.h5")
        assert run_command(*command) == 0
    return tmp_path


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command; its remarks on stderr."""

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        assert run_command(*arguments) == status
        return capsys.readouterr().err

    return run


# Names


def test_two_networks_stand_alone_or_behind_their_options(
    stores: Path, said: Callable[..., str]
) -> None:
    said("cka", "one", "two", "-o", "alone.json")
    said("cka", "--a", "one", "--b", "two", "-o", "options.json")
    alone, options = (SimilarityMap.load(stores / f"{name}.json") for name in ("alone", "options"))
    assert (alone.name_a, alone.name_b) == ("one", "two")
    assert np.array_equal(alone.unbiased, options.unbiased)
    said("cka", "one", "-o", "self.json")
    assert SimilarityMap.load(stores / "self.json").name_b == "one"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((), "name the networks that are compared: A B, or A alone against itself"),
        (("--b", "two"), "name the networks that are compared"),
        (("one", "--b", "two"), "or behind --a and --b; not both"),
        (("one", "two", "one"), "two networks are compared, got one, two, one"),
        (("one@even@3", "two"), "behind its layers; expected it before them, as in one@3@even"),
        (("one@layer.*@all",), "'one@layer.*@all' has a checkpoint, all, behind its layers"),
    ],
)
def test_names_that_cannot_be_are_one_line(
    names: tuple[str, ...], words: str, stores: Path, said: Callable[..., str]
) -> None:
    error = said("cka", *names, status=2)
    assert words in error
    assert len(error.splitlines()) == 1


def test_one_store_twice_gets_a_note(stores: Path, said: Callable[..., str]) -> None:
    note = "activations/one.h5 are one store"
    assert note in said("cka", "one", "activations/one.h5", "-o", "a.json")
    (stores / "link.h5").symlink_to(stores / "activations" / "one.h5")
    assert "are one store" in said("cka", "activations/one.h5", "link.h5", "-o", "b.json")
    assert "note" not in said("cka", "one", "two", "-o", "c.json")
    assert "note" not in said("cka", "one@layer.1", "one@layer.2", "-o", "d.json")
    assert "are one store" not in said("cka", "one", "-o", "e.json")


def test_an_import_without_ids_says_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("layer.npy", np.random.default_rng(0).standard_normal((N, 3)))
    assert run_command("import", "layer.npy", "-o", "plain.h5") == 0
    told = capsys.readouterr()
    assert told.out == f"plain.h5: 1 layers, n = {N}, ids '0' to '{N - 1}'\n"
    assert "note: the examples are known by the numbers of their rows" in told.err
    Path("ids.txt").write_text("".join(f"image-{at}\n" for at in range(N)))
    assert run_command("import", "layer.npy", "--ids", "ids.txt", "-o", "named.h5") == 0
    told = capsys.readouterr()
    assert f"ids 'image-0' to 'image-{N - 1}'" in told.out
    assert told.err == ""


def test_a_bandwidth_that_cannot_be_is_explained(stores: Path, said: Callable[..., str]) -> None:
    error = said("cka", "one", "two", "--kernel", "rbf:-1", status=2)
    assert "kernel 'rbf:-1': the bandwidth is the fraction -1 of the median distance" in error
    assert "expected 0.001 to 1000, such as 'rbf:0.5'" in error


# Commands


def test_the_version_has_a_short_option(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("-V", "--version"):
        assert run_command(option) == 0
        assert capsys.readouterr().out.startswith("repsim, version ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (("harvst",), "harvest"),
        (("data", "fetsh"), "fetch"),
        (("train", "simcrl"), "simclr"),
        (("networks", "resnt"), "resnet"),
        (("reproduce", "grig2021"), "grigg2021"),
        (("data", "fetch", "mnits"), "mnist"),
    ],
)
def test_a_word_that_is_mistyped_gets_the_nearest(
    typed: tuple[str, ...], meant: str, said: Callable[..., str]
) -> None:
    assert f"did you mean {meant!r}? there is: " in said(*typed, status=2)


# Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--layerz", "there is no option --layerz; did you mean --layers?"),
        ("--qqqqqq", "there is no option --qqqqqq; --help lists those that there are"),
    ],
)
def test_a_mistyped_option_gets_the_nearest_alone(
    capsys: pytest.CaptureFixture[str], typed: str, message: str
) -> None:
    assert run_command("cka", "a", "b", typed, "x") == 2
    assert capsys.readouterr().err.strip() == f"repsim: error: {message}"


def test_no_time_is_left_before_a_twentieth_is_done() -> None:
    clock = Clock()
    left = Remaining(clock)
    assert left.text(0, 1000) == ""
    clock.now = 4.0
    assert left.text(49, 1000) == ""
    clock.now = 5.0
    assert left.text(50, 1000) == "1:35 left"
    clock.now = 50.0
    assert left.text(500, 1000) == "0:50 left"


def test_work_that_goes_on_is_timed_from_where_it_began_again() -> None:
    clock = Clock()
    left = Remaining(clock)
    clock.now = 100.0  # examples loaded before the first report do not count
    assert left.text(800, 1000) == ""
    clock.now = 101.0
    assert left.text(809, 1000) == ""
    clock.now = 110.0
    assert left.text(900, 1000) == "0:10 left"
    assert Remaining(lambda: 0.0).text(3, 3) == ""


def test_a_bar_says_that_something_is_loaded_until_there_is_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name, value in (("TERM", "xterm"), ("COLUMNS", "100"), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    with reporting.bar("train simclr"):
        pass
    waiting = capsys.readouterr().err
    assert "loading" in waiting
    assert "%" not in waiting
    with reporting.bar("train simclr") as progress:
        progress(1, 100, "loss 2.1")
    begun = capsys.readouterr().err
    assert "1 %" in begun
    assert "left" not in begun


@pytest.mark.parametrize("width", [50, 60, 80])
def test_a_narrow_bar_shortens_its_name_and_no_number(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    for name, value in (("TERM", "xterm"), ("COLUMNS", str(width)), ("FORCE_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Remaining, "text", lambda *_: "1:23:45 left")
    with reporting.bar("harvest vit-of-mine on photographs-224x224-test") as progress:
        progress(49, 100, "loss 2.113")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert " 49 % " in shown
    assert "harvest " in shown
    assert "1:23:45 left" in shown
    assert reporting.shorten("harvest one", 11) == "harvest one"
    assert reporting.shorten("harvest one", 7) == "har…one"


# Other libraries


def test_bars_and_retries_of_other_libraries_are_silent_while_they_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = {"transformers.utils.logging": True, "huggingface_hub.utils": True}

    def library(name: str, **functions: Callable[[], object]) -> None:
        module = ModuleType(name)
        vars(module).update(functions)
        monkeypatch.setitem(sys.modules, name, module)

    library(
        "transformers.utils.logging",
        is_progress_bar_enabled=lambda: shown["transformers.utils.logging"],
        disable_progress_bar=lambda: shown.update({"transformers.utils.logging": False}),
        enable_progress_bar=lambda: shown.update({"transformers.utils.logging": True}),
    )
    library(
        "huggingface_hub.utils",
        are_progress_bars_disabled=lambda: not shown["huggingface_hub.utils"],
        disable_progress_bars=lambda: shown.update({"huggingface_hub.utils": False}),
        enable_progress_bars=lambda: shown.update({"huggingface_hub.utils": True}),
    )
    logger = logging.getLogger("huggingface_hub.utils._http")
    heard: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    with quiet.quietly():
        assert not any(shown.values())
        logger.warning("Retrying in 1s [Retry 1/5].")
    assert all(shown.values())
    logger.warning("later")
    logger.removeHandler(handler)
    assert heard == ["later"]


def test_the_switches_of_other_libraries_are_there() -> None:
    """Their names in the installed libraries are the expected ones."""
    for switch in quiet._SWITCHES:
        module = pytest.importorskip(switch.module)
        assert switch.is_off(module) in (True, False)
        assert callable(getattr(module, switch.off))
        assert callable(getattr(module, switch.on))
