"""Stores are known by what they hold, not by their names."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from driving import run_command
from torch import Tensor, nn

import repsim
from repsim.data import load
from repsim.errors import StoreError
from repsim.networks.weights import network_digest

X = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def quantised(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear})


def recurrent(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(6, 5)), {nn.LSTM})


# --- digests of networks


@pytest.mark.parametrize("make", [quantised, recurrent])
def test_quantised_networks_have_digests_of_their_weights(make) -> None:
    assert network_digest(make(0)) == network_digest(make(0))
    assert network_digest(make(0)) != network_digest(make(1))


def test_digests_of_plain_networks_are_those_of_before() -> None:
    net = nn.Linear(2, 1)
    with torch.no_grad():
        net.weight.fill_(0.5)
        net.bias.fill_(1)
    assert network_digest(net) == (
        "04397a2f700d90ec373fda8df399de9656f4bb90d9109898f7e603662cc27803"
    )


def test_quantised_networks_are_not_taken_for_each_other(tmp_path: Path) -> None:
    given = {"layers": "0", "examples": 32, "allow_batch": True}
    repsim.harvest(quantised(0), X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(quantised(0), X.split(8), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match=f"{tmp_path}/a.h5 .*weights_sha256 differ"):
        repsim.harvest(quantised(1), X.split(8), tmp_path / "a.h5", resume=True, **given)


# --- resuming


class Hidden(nn.Module):
    """A network with a layer that no state dict has."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(6, 5)
        torch.manual_seed(seed)
        self.others = [nn.Linear(5, 5)]

    def forward(self, x: Tensor) -> Tensor:
        return self.a(self.others[0](self.a(x)) @ torch.ones(5, 6))


def test_a_finished_store_runs_its_first_batch_again(tmp_path: Path) -> None:
    given = {"examples": 32, "layers": "a#1"}
    repsim.harvest(Hidden(0), X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(Hidden(0), X.split(8), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match="layer 'a#1' gives other values for the first batch"):
        repsim.harvest(Hidden(1), X.split(8), tmp_path / "a.h5", resume=True, **given)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("pooling", ["none", "avg", "positions", "project:3"])
def test_the_first_batch_is_compared_as_it_is_stored(
    tmp_path: Path, dtype: str, pooling: str
) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    images = torch.randn(12, 3, 6, 6)
    given = {"examples": 12, "pooling": pooling, "dtype": dtype}
    repsim.harvest(net, images.split(4), tmp_path / "a.h5", **given).close()
    repsim.harvest(net, images.split(4), tmp_path / "a.h5", resume=True, **given).close()
    with pytest.raises(StoreError, match="the inputs of the first batch differ"):
        other = (images + 1).split(4)
        repsim.harvest(net, other, tmp_path / "a.h5", resume=True, **given)


def test_a_random_network_is_not_compared(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x + torch.randn_like(x))

    net, given = Noisy(), {"examples": 32, "allow_random": True}
    repsim.harvest(net, X.split(8), tmp_path / "a.h5", **given).close()
    repsim.harvest(net, X.split(8), tmp_path / "a.h5", resume=True, **given).close()


def test_an_unfinished_harvest_continues_on_the_same_inputs_alone(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(6, 5))

    def stopped():
        yield from X.split(8)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repsim.harvest(net, stopped(), tmp_path / "a.h5", examples=32)
    with pytest.raises(StoreError, match="row 0 was harvested from other inputs"):
        other = (X + 1).split(8)
        repsim.harvest(net, other, tmp_path / "a.h5", examples=32, resume=True)
    with repsim.harvest(net, X.split(8), tmp_path / "a.h5", examples=32, resume=True) as store:
        np.testing.assert_allclose(store["0"][:], net(X).detach().numpy(), atol=1e-6)


# --- stores that are opened for an image set


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders of one name with other pictures, and a run that was harvested on the first."""
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 12, 32, 32), np.uint8)
    for site, classes in zip(("siteA", "siteB"), pixels, strict=True):
        for name, images in zip("ab", classes, strict=True):
            Path(f"{site}/photos/{name}").mkdir(parents=True)
            for k, image in enumerate(images):
                Image.fromarray(image).save(f"{site}/photos/{name}/{k:02}.bmp")  # of one size
    tiny = ("--preset", "tiny", "--width", 4, "--epochs", 0, "--split", "train[:50]")
    assert run_command("train", "supervised", *tiny) == 0
    shown = ("--data", "siteA/photos", "--split", "all")
    assert run_command("harvest", "supervised", *shown) == 0
    model = ("--model", "repsim.networks:ResNet", "--model-args", "channels=1,depth=10,width=4")
    assert run_command("harvest", *model, *shown, "--name", "fresh") == 0
    return tmp_path


def test_a_store_is_not_opened_for_other_images_of_its_name(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cka(site: str, *more: str) -> int:
        network = ("--a", "supervised", "--data", f"{site}/photos", "--split", "all")
        return run_command("cka", *network, "--overwrite", "--json", *more)

    assert cka("siteA") == 0
    assert cka("siteA", "--verify") == 0
    capsys.readouterr()
    assert cka("siteB") == 1
    said = capsys.readouterr().err
    assert f"{photos}/runs/supervised/activations/photos-all.h5" in said
    assert f"those of {photos}/siteB/photos all: 24 of 24 have other inputs" in said


def test_the_first_id_that_differs_is_named(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = ("--a", "supervised", "--data", "siteA/photos", "--split", "all", "--json")
    (photos / "siteA/photos/a").rename(photos / "siteA/photos/z")
    assert run_command("cka", *network) == 1
    said = capsys.readouterr().err
    assert "24 of 24 example ids differ, first 'a/00.bmp' in the store against 'b/" in said
    (photos / "siteA/photos/z/00.bmp").unlink()
    assert run_command("cka", *network) == 1
    assert "it has 24 rows, and these are 23" in capsys.readouterr().err


def test_the_store_of_a_network_is_compared_by_files_and_when_asked_by_digests(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cka(site: str, *more: str) -> int:
        network = ("--a", "fresh", "--data", f"{site}/photos", "--split", "all")
        return run_command("cka", *network, "--overwrite", "--json", *more)

    assert cka("siteA") == cka("siteA", "--verify") == 0
    assert cka("siteB", "--verify") == 1
    assert "24 of 24 have other inputs, first 'a/00.bmp'" in capsys.readouterr().err
    (photos / "siteB/photos/a/00.bmp").write_bytes(
        (photos / "siteB/photos/a/00.bmp").read_bytes() + b"\0"
    )
    assert cka("siteB") == 1  # its list of files has another size
    file = ("--a", "activations/fresh.photos-all.h5", "--split", "all", "--overwrite", "--verify")
    assert run_command("cka", *file, "--data", "siteA/photos") == 0
    assert run_command("cka", *file, "--data", "siteB/photos") == 1
    assert run_command("cka", *file) == 2
    assert "say --data" in capsys.readouterr().err


def test_images_that_are_not_there_are_said_not_to_be_compared(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the terminal and in the result, of every command that opens a store by its name."""
    network = ("--data", "siteA/photos", "--split", "all", "--overwrite")
    assert run_command("cka", "--a", "fresh", *network, "-o", "r.json") == 0
    assert "not compared" not in capsys.readouterr().err
    assert "uncompared" not in json.loads(Path("r.json").read_text())["provenance"]
    (photos / "siteA").rename(photos / "away")
    assert run_command("cka", "--a", "fresh", *network, "-o", "r.json") == 0
    (said,) = (line for line in capsys.readouterr().err.splitlines() if "compared" in line)
    assert said == (
        f"note: {photos}/siteA/photos all was not compared with "
        f"{photos}/activations/fresh.photos-all.h5, found by its name: it is not there; put it "
        "back, or say where it is (--data, --data-dir), with --verify"
    )
    (recorded,) = json.loads(Path("r.json").read_text())["provenance"]["uncompared"]
    assert said == f"note: {recorded}"
    there = ("--data", "away/photos", "--split", "all", "--overwrite", "-o", "r.json")
    assert run_command("cka", "--a", "fresh", *there, "--verify") == 0
    assert "compared" not in capsys.readouterr().err
    assert run_command("export", "fresh", *network, "-o", "exported") == 0
    assert said in capsys.readouterr().err.splitlines()
    assert run_command("cka", "--a", "supervised", *network, "-o", "s.json") == 1  # reads them


def test_a_store_that_does_not_list_its_files_says_so(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = photos / "activations/fresh.photos-all.h5"
    with h5py.File(path, "r+") as file:
        about = json.loads(file.attrs["provenance"])
        del about["files"]
        file.attrs["provenance"] = json.dumps(about)
    network = ("--a", "fresh", "--data", "siteA/photos", "--split", "all", "--overwrite")
    assert run_command("cka", *network) == 0
    assert f"found by its name: {path} does not list its files; pass --verify" in (
        capsys.readouterr().err
    )
    assert run_command("cka", *network, "--verify") == 0
    assert "compared" not in capsys.readouterr().err


def test_a_whole_split_of_a_named_set_is_compared_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    tiny = ("--preset", "tiny", "--width", 4, "--epochs", 0, "--split", "train[:50]")
    assert run_command("train", "supervised", *tiny) == 0
    assert run_command("harvest", "supervised", "--pooling", "avg") == 0
    given = ("--a", "supervised", "--overwrite", "--verify")
    assert run_command("cka", *given) == 0
    path = Path("runs/supervised/activations/digits-test.h5")
    with h5py.File(path, "r+") as file:
        file["inputs"][3] = 1
    assert run_command("cka", *given) == 1
    assert "digits test: 1 of 360 have other inputs" in capsys.readouterr().err
    assert (
        run_command("cka", "--a", "supervised", "--overwrite", "--augmentation", "none", "--verify")
        == 2
    )


def test_files_of_named_sets_are_compared_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from repsim.cli.examples import Shown

    images = np.zeros((3, 28, 28), np.uint8)
    for name, array in (("images-idx3", images), ("labels-idx1", np.zeros(3, np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (tmp_path / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())
    shown = Shown.find("mnist", "test", tmp_path, "")
    read = load("mnist", "test", data_dir=tmp_path).files
    assert shown.images is None
    assert shown.files() == read
    assert Shown.find("mnist", "test", tmp_path / "none", "").files() is None
