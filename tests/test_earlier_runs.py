"""Run folders of format version 1, among them those of the method ``untrained``, made by 0.1.0."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command

from repsim.activations.harvesting.provenance import extractor_provenance
from repsim.errors import StoreError
from repsim.training.compose import configure
from repsim.training.earlier import instead_of_untrained, updated
from repsim.training.loop import train
from repsim.training.methods import find_method
from repsim.training.run import Run

FOLDER = Path(__file__).parent / "runs"
#: Run to its method, and to the network that was its extractor.
UNTRAINED = {
    "untrained-gan": ("gan", "discriminator"),
    "untrained-mgan-classifier": ("mgan", "classifier"),
}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder, and a command line without arguments in the folder above."""
    shutil.copytree(FOLDER, tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    return tmp_path / "runs"


@pytest.mark.parametrize("name", UNTRAINED)
def test_an_untrained_run_is_its_method_without_epochs(name: str, runs: Path) -> None:
    method, network = UNTRAINED[name]
    run = Run(runs / name)
    assert run.describe()["method"] == method
    assert (run.config.epochs, run.config.seed, run.config.network) == (0, 3, "dcgan")
    assert run.config.width == 1  # the folder's own, whatever the method has by default
    assert run.extractors == ("encoder",)
    assert run.extractor().label == name
    loaded = run.load_extractor(statistics="mixed")
    initial = run.initial_extractor(statistics="mixed")
    kept = torch.load(run.checkpoint, weights_only=True)["networks"]["encoder"]
    for network_state in (loaded.state_dict(), initial.state_dict()):
        assert list(network_state) == list(kept)
        assert all(torch.equal(network_state[key], kept[key]) for key in kept)
    whole = run.load_method()
    assert set(whole.networks) >= {"generator", network}
    assert torch.equal(whole.networks[network].head.weight, kept["head.weight"])


@pytest.mark.parametrize("name", UNTRAINED)
def test_runs_keep_their_network_when_a_default_changes(
    name: str, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_method(UNTRAINED[name][0]), "network", "resnet")
    run = Run(runs / name)
    assert run.config.network == "dcgan"
    assert run.config.width == 1


@pytest.mark.parametrize("name", UNTRAINED)
def test_an_untrained_run_is_the_same_as_one_that_is_made_today(name: str, runs: Path) -> None:
    method, network = UNTRAINED[name]
    old = Run(runs / name)
    values = {key: getattr(old.config, key) for key in ("split", "test", "seed", "width")}
    new = train(method, configure(method, {**values, "epochs": 0}), runs / "new")
    ours, theirs = new.load_extractor(network).state_dict(), old.load_extractor().state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", UNTRAINED)
def test_an_untrained_run_is_harvested_named_and_resumed(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("harvest", name, "--split", "test[:20]", "--layers", "features") == 0
    assert run_command("harvest", f"{name}:encoder", "--split", "test[:20]", "--dry-run") == 0
    assert (runs / name / "activations" / "digits-test.0-20.h5").is_file()
    assert run_command("info", name) == 0
    capsys.readouterr()
    method, _ = UNTRAINED[name]
    before = {path.name: path.read_bytes() for path in (runs / name).glob("*.*")}
    assert run_command("train", method, "--name", name, "--resume") == 0
    assert "was finished already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (runs / name).glob("*.*")} == before
    assert run_command("train", method, "--name", name, "--resume", "--epochs", 3) == 2
    assert "started with epochs = 0, now it is 3" in capsys.readouterr().err


def test_stores_record_the_settings_as_the_run_has_them(runs: Path) -> None:
    """A harvest of 0.1.0 goes on with ``--resume`` only where the record is the same."""
    run = Run(runs / "untrained-gan")
    record = extractor_provenance(run.extractor())
    assert record["method"] == "untrained"
    assert record["config"] == json.loads((run.path / "config.json").read_text())["config"]


def test_runs_of_version_1_have_square_images_and_the_network_of_their_method(runs: Path) -> None:
    run = train(
        "gan", configure("gan", {"epochs": 0, "width": 1, "statistics_batches": 2}), runs / "new"
    )
    now = run.describe()
    facts = {key: now["facts"][key] for key in ("channels", "classes", "flips")} | {"size": 32}
    config = {key: value for key, value in now["config"].items() if key != "network"}
    old = {**now, "format_version": 1, "facts": facts, "config": config}
    (run.path / "config.json").write_text(json.dumps(old))
    assert (run.config.network, run.build().spec.size) == ("dcgan", (32, 32))
    assert {**run.describe(), "format_version": 2, "config": now["config"]} == now
    assert train("gan", run.config, run.path, resume=True).complete


def test_damaged_descriptions_are_one_line(runs: Path) -> None:
    run = Run(runs / "untrained-gan")
    content = json.loads((run.path / "config.json").read_text())
    del content["config"]["of"]
    (run.path / "config.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="config.json is damaged: it has no"):
        run.describe()
    (run.path / "config.json").write_text(json.dumps({**content, "format_version": 9}))
    with pytest.raises(StoreError, match="version 9; this repsim reads versions 1 and 2"):
        run.describe()


def test_settings_that_had_no_meaning_are_left_out() -> None:
    """128 images a step are no multiple of an M-GAN's ten generators, and nothing was trained."""
    config: dict[str, Any] = {"of": "mgan", "batch_size": 128, "width": 4, "depth": 10, "seed": 1}
    content = {"method": "untrained", "config": config, "facts": {"size": 32}}
    found = updated(content)
    assert found["config"] == {"width": 4, "seed": 1, "epochs": 0}
    assert found["extractors"] == {"encoder": "discriminator"}


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ((), "repsim train supervised --epochs 0 --name untrained-supervised"),
        (("--of", "gan"), "repsim train gan --epochs 0 --name untrained-gan"),
        (("--seed", "1", "--of=gan"), "repsim train gan --epochs 0 --name untrained-gan"),
        (("--of", "mgan:classifier"), "repsim train mgan --epochs 0 --name untrained-mgan"),
    ],
)
def test_the_method_untrained_answers_with_the_command_of_today(
    arguments: tuple[str, ...], command: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert instead_of_untrained(arguments).endswith(command)
    assert run_command("train", "untrained", *arguments) == 2
    error = capsys.readouterr().err
    assert error.endswith(f"{command}\n")
    assert len(error.splitlines()) == 1
    offered = command.split()[1:]
    few = () if "supervised" in offered else ("--statistics-batches", "2", "--width", "4")
    assert run_command(*offered, *few, "--split", "train[:50]", "--runs", "others") == 0
    assert Run(runs.with_name("others") / offered[-1]).complete
