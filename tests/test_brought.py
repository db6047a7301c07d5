"""Networks that people bring: their names, their parts, their heads, on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from driving import enter_copy, run_command
from PIL import Image
from torch import nn

import repsim
from repsim.activations.harvesting.brought import Prepared
from repsim.cli.brought import name_of
from repsim.data import load, to_input
from repsim.data.preprocessing import Preprocessing
from repsim.data.splits import Part

MODULE = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 8, 3))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x):
        return self.fc(self.pool(self.body(x)).flatten(1))


def make(classes=3):
    return Net(classes)
"""

MODEL = ("--model", "ournets:make", "--data", "photos")


def network() -> nn.Module:
    """The network of the module, by the same names."""
    space: dict[str, type[nn.Module]] = {}
    exec(MODULE, space)
    return space["Net"]()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A module, two checkpoints of its network, a folder of photographs, three harvests."""
    folder = tmp_path_factory.mktemp("brought")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [])
        Path("ournets.py").write_text(MODULE)
        for name in ("cat", "dog", "owl"):
            Path("photos", name).mkdir(parents=True)
            for k in range(20):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(f"photos/{name}/{k}.jpg")
        Path("elsewhere/bird").mkdir(parents=True)
        for k in range(6):
            pixels = rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"elsewhere/bird/{k}.png")
        for k, name in enumerate(("one", "two")):
            torch.manual_seed(k)
            torch.save(network().state_dict(), f"{name}.pt")
            for split in ("test", "train") if k == 0 else ("test",):
                asked = ("--weights", f"{name}.pt", "--split", split)
                assert run_command("harvest", *MODEL, *asked) == 0
    return folder


@pytest.fixture
def inside(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the workspace that a test may change."""
    return enter_copy(workspace, tmp_path, monkeypatch)


Said = Callable[..., tuple[str, str]]
Refused = Callable[..., str]


@pytest.fixture
def said(inside: Path, capfd: pytest.CaptureFixture[str]) -> Said:
    """Run a command that ends well; its output and its remarks."""

    def run(*arguments: object) -> tuple[str, str]:
        capfd.readouterr()
        assert run_command(*arguments) == 0
        return capfd.readouterr()

    return run


@pytest.fixture
def refused(inside: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that is refused; its last line on stderr."""

    def run(*arguments: object) -> str:
        capfd.readouterr()
        assert run_command(*arguments) in (1, 2)
        return capfd.readouterr().err.splitlines()[-1]

    return run


# --- names and parts


@pytest.mark.parametrize(
    ("reference", "weights", "name"),
    [
        ("nets:make", None, "make"),
        ("torchvision:resnet18", None, "resnet18"),
        ("transformers:./vit-tiny/", None, "vit-tiny"),
        ("nets:make", "runs/a/epoch 3.pt", "epoch-3"),
        ("nets:make", "runs/a/model.safetensors", "a-model"),
        ("nets:make", "weights.pth", "{here}-weights"),
    ],
)
def test_names_are_those_of_weights_or_folders(
    reference: str, weights: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = "-".join(part for part in tmp_path.name.split() if part)
    assert name_of(reference, weights) == name.format(here=here)


def test_two_checkpoints_of_one_factory_do_not_collide(inside: Path, said: Said) -> None:
    assert {path.name for path in Path("activations").iterdir()} == {
        "one.photos-test.h5",
        "one.photos-train.h5",
        "two.photos-test.h5",
    }
    assert "of one against two, n = 12 of 60, photos test" in said("cka", "one", "two")[0]
    for figure in ("heatmap", "curves"):
        caption = Path(f"results/cka-one-two-{figure}.txt").read_text().splitlines()[0]
        assert "photos test, n = 12 of 60" in caption


def test_the_part_that_is_used_is_said(inside: Path, said: Said) -> None:
    out, hint = said("harvest", *MODEL, "--weights", "two.pt", "--split", "train[:10]")
    assert "n = 10 of 60, train[0:10]" in out
    assert "next: repsim cka two RUN|NETWORK|FILE --split 'train[0:10]'" in hint
    assert "n = 60 of 60, all" in said("harvest", *MODEL, "--split", "all")[0]
    rows = said("harvest", *MODEL, "--layers", "body.0", "--pooling", "positions")[0]
    assert "n = 2,700 (12 of 60, test part)" in rows
    for command in ("harvest", "cka"):
        described = said(command, "--help")[0].partition("--split TEXT")[2].partition("--")[0]
        assert "all of a folder" in " ".join(described.split())


def test_parts_of_named_sets_and_arrays_know_the_whole(tmp_path: Path) -> None:
    assert str(Part.of(load("digits", "test"))) == "360 of 1,797, test part"
    images = np.zeros((6, 8, 8), np.uint8)
    np.savez(tmp_path / "parts.npz", x_train=images, x_test=images[:2])
    assert str(Part.of(load(tmp_path / "parts.npz", "test"))) == "2 of 8, test part"
    np.savez(tmp_path / "whole.npz", images=images)
    assert str(Part.of(load(tmp_path / "whole.npz", "all"))) == "6 of 6, all"


def test_the_folder_that_a_network_came_from_is_no_run(said: Said, refused: Refused) -> None:
    Path("one").mkdir()  # as save_pretrained of transformers writes it
    Path("one/config.json").write_text('{"architectures": ["ViTModel"]}')
    assert "of one against two, n = 12" in said("cka", "one", "two")[0]
    assert "photos" in said("info", "one")[0]
    assert "photos test, 5 layers, n = 12 of 60" in " ".join(said("ls")[0].split())
    Path("runs").mkdir()
    Path("one").rename("runs/other")
    assert "other" not in said("ls")[0]
    assert "there is no run 'other'" in refused("cka", "other")


def test_the_next_command_is_about_the_parts_that_were_harvested(said: Said) -> None:
    parts = ("--split", "train", "--split", "test")
    hint = said("harvest", *MODEL, "--weights", "one.pt", *parts, "--layers", "fc", "--name", "n")[
        1
    ]
    assert "next: repsim cka n RUN|NETWORK|FILE; repsim probe n" in hint


# --- probes


@pytest.mark.parametrize("name", ["one", "activations/one.photos-test.h5"])
def test_probes_take_both_parts_of_a_network(inside: Path, said: Said, name: str) -> None:
    out = said("probe", name, "--layers", "pool,fc")[0]
    assert "n = 48 + 12 of 60, photos train and photos test" in out
    (caption,) = Path("results").glob("probe-*-curves.txt")
    assert "n = 48 + 12 of 60" in caption.read_text().splitlines()[0]
    (found,) = Path("results").glob("probe-*.json")
    (about,) = json.loads(found.read_text())["provenance"].values()
    assert [about[part]["split"] for part in ("train", "test")] == ["train", "test"]


def test_a_file_without_its_training_part_is_refused(refused: Refused) -> None:
    error = refused("probe", "activations/two.photos-test.h5")
    assert "is of the part test, and no store of train by the same network is beside it" in error


def test_imported_parts_are_probed_by_name(said: Said, refused: Refused) -> None:
    rng = np.random.default_rng(0)
    for split, n in (("train", 40), ("test", 20)):
        labels = np.arange(n) % 2
        layer = np.eye(2)[labels] + 0.1 * rng.standard_normal((n, 2))
        ids = np.array([f"{split}/{k}" for k in range(n)])
        np.savez(f"{split}.npz", layer=layer, labels=labels, ids=ids)
        out = said("import", f"{split}.npz", "--name", "mine", "--split", split)[0]
        assert f"activations/mine.{split}.h5: 1 layers, n = {n}" in out
    assert "n = 40 + 20" in said("probe", "mine")[0]
    assert "--name" in refused("import", "test.npz")


def test_one_store_for_both_parts_is_refused_with_the_way(refused: Refused) -> None:
    np.savez("all.npz", layer=np.eye(8), labels=np.arange(8) % 2)
    assert run_command("import", "all.npz", "-o", "activations/whole.h5") == 0
    assert "import the training and the test part apart" in refused("probe", "whole")


# --- networks that run again

RUNNING = [
    ("invariance", "one", "--layers", "pool,fc"),
    ("classes", "one", "--augmentation", "simclr", "--layers", "fc"),
    ("signal", "one", "--layers", "fc", "--given", "none"),
    ("layer-nullspace", "one", "--layers", "fc"),
]


@pytest.mark.parametrize("command", RUNNING, ids=lambda each: each[0])
def test_analyses_run_networks_that_were_harvested(said: Said, command: tuple[str, ...]) -> None:
    name = command[0]
    assert "one" in said(*command)[0]
    (path,) = Path("results").glob(f"{name}-one*.json")
    assert '"model": "ournets:make"' in path.read_text()


def test_the_null_space_of_an_own_network_is_that_of_its_head(said: Said) -> None:
    said("nullspace", "one", "--no-layers", "--noise", "none", "-o", "null.json")
    report = json.loads(Path("null.json").read_text())
    assert (report["rank"], report["dim"]) == (3, 8)
    assert any(each["control"] is not None for each in report["entries"])  # the untrained one


UNNAMED = """
from torch import nn


class Unnamed(nn.Module):
    def __init__(self, probabilities=False):
        super().__init__()
        self.pool, self.hidden, self.out = nn.AvgPool2d(8), nn.Linear(48, 6), nn.Linear(6, 3)
        self.probabilities = probabilities

    def forward(self, x):
        y = self.out(self.hidden(self.pool(x).flatten(1)).relu())
        return y.softmax(1) if self.probabilities else y
"""


def test_heads_by_other_names_are_found_or_named(said: Said, refused: Refused) -> None:
    Path("unnamed.py").write_text(UNNAMED)
    model = ("--model", "unnamed:Unnamed", "--data", "photos", "--name")
    asked = ("--no-layers", "--noise", "none")
    said("harvest", *model, "logits")
    shown = said("nullspace", "logits", *asked, "-o", "found.json")
    assert "the head is 'out'" in shown[1]
    assert json.loads(Path("found.json").read_text())["dim"] == 6
    soft = (*model, "soft", "--model-args", "probabilities=true")
    said("harvest", *soft)
    error = refused("nullspace", "soft", *asked)
    assert "of its linear layers hidden, out say which is the head, as in --head out" in error
    assert "there is: hidden, out" in refused("nullspace", "soft", *asked, "--head", "fc")
    said("nullspace", "soft", *asked, "--head", "out", "-o", "named.json")
    said("harvest", *soft, "--head", "out", "--overwrite")
    said("nullspace", "soft", *asked, "-o", "again.json")
    named, again = (json.loads(Path(f"{name}.json").read_text()) for name in ("named", "again"))
    assert named["entries"] == again["entries"]
    assert "--head is about a --model" in refused("harvest", "soft", "--head", "out")


def test_components_are_probed_where_the_input_of_the_head_is_stored(said: Said) -> None:
    for split in ("test", "train"):
        asked = ("--weights", "one.pt", "--split", split, "--name", "fed")
        said("harvest", *MODEL, *asked, "--layers", "pool,fc@input")
    out = said("probe", "fed", "--component", "full,row,null")[0]
    assert "fc@input" in out


def test_a_network_that_changed_or_has_no_run_is_refused(refused: Refused) -> None:
    assert "own is how a run was trained" in refused("invariance", "one", "--augmentation", "own")
    torch.manual_seed(7)
    torch.save(network().state_dict(), "one.pt")
    for command in (("invariance", "one"), ("harvest", "one", "--split", "all")):
        assert "gives other weights than those" in refused(*command)


def test_a_network_is_harvested_again_by_its_name(said: Said, refused: Refused) -> None:
    asked = ("--split", "train[:9]", "--layers", "body,fc")
    prepared = ("--normalise", "imagenet", "--head", "fc")
    said("harvest", *MODEL, "--weights", "two.pt", "--name", "whole", *prepared, *asked)
    said("harvest", *MODEL, "--weights", "two.pt", "--name", "named", *prepared)
    error = refused("probe", "named")
    assert "no activations of train" in error
    assert error.endswith("repsim harvest named --split train")
    out, hint = said("harvest", "named", *asked)
    assert "activations/named.photos-train.0-9.h5: 2 layers, n = 9 of 60" in out
    assert "repsim cka named RUN|NETWORK|FILE" in hint
    stores = [f"activations/{name}.photos-train.0-9.h5" for name in ("whole", "named")]
    with repsim.open_store(stores[0]) as one, repsim.open_store(stores[1]) as other:
        before, now = one.provenance(), other.provenance()
        assert {key for key in before if before[key] != now[key]} == {"network"}
        for layer in ("body", "fc"):
            np.testing.assert_array_equal(one[layer][:], other[layer][:])
    assert "there already" in said("harvest", "named", *asked)[1]


def test_a_network_is_harvested_on_other_images_by_its_name(said: Said, refused: Refused) -> None:
    said("harvest", "one", "two@fc", "--data", "elsewhere", "--split", "all")
    with repsim.open_store("activations/two.elsewhere-all.h5") as store:
        assert (store.layers, store.n) == (("fc",), 6)
        assert store.provenance()["image_size"] == 32
    shown = ("--data", "elsewhere", "--split", "all")
    assert "n = 6 of 6, elsewhere all" in said("cka", "one", "two", *shown)[0]
    assert "--channels is about a --model" in refused("harvest", "one", "--channels", "3")
    assert "--seed is about a --model" in refused("harvest", "one", "--seed", "3")
    assert "is a file of activations" in refused("harvest", "activations/one.photos-test.h5")
    np.savez("mine.npz", layer=np.eye(8))
    said("import", "mine.npz", "--name", "mine")
    assert "mine has stored activations only" in refused("harvest", "mine", "--data", "photos")


@pytest.mark.parametrize("text", ["half", "unit", "imagenet", "0.1,0.2,0.3/0.5,0.6,0.7"])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_prepared_as_in_the_harvest(text: str, channels: int) -> None:
    pixels = torch.randint(0, 256, (4, channels, 5, 6), dtype=torch.uint8)
    chosen = Preprocessing.parse(text, channels=3)
    torch.testing.assert_close(Prepared(chosen).prepared(to_input(pixels)), chosen(pixels))


def test_a_harvest_of_the_library_names_its_network(tmp_path: Path) -> None:
    images = torch.rand(8, 3, 32, 32)
    with repsim.harvest(network(), [images], tmp_path / "a.h5", name="mine", examples=8) as store:
        assert store.name == "mine"


BLOCKS = """
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bias = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(1, 8)

    def forward(self, x):
        once = self.bias(torch.ones(1, 1))  # no row for each example
        return x + self.conv(x) + once[:, :, None, None]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.Sequential(Block(), Block())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.pool(self.blocks(self.stem(x))).flatten(1))
"""


@pytest.mark.filterwarnings("default:left out")
def test_blocks_and_layers_that_are_left_out_are_said(inside: Path, said: Said) -> None:
    Path("residual.py").write_text(BLOCKS)
    asked = ("harvest", "--model", "residual:Residual", "--data", "photos")
    out, remarks = said(*asked)
    assert "left out: no row for each of 3 examples in 'blocks.0.bias'" in remarks
    assert "5 of 7 layers" in out
    assert "of its blocks (2 Block); to have them: --layers all, or --layers type:Block" in remarks
    assert "photos test, 5 of 7 layers" in " ".join(said("ls")[0].split())
    assert "blocks.0.bias, blocks.1.bias" in " ".join(said("info", "Residual")[0].split())
    said("cka", "Residual", "one")
    caption = "Of the 7 layers of Residual, 2 are left out, which do not run or have no row for "
    for kind in ("heatmap", "curves"):
        assert caption in Path(f"results/cka-Residual-one-{kind}.txt").read_text()
    out, remarks = said(*asked, "--layers", "type:Block", "--name", "blocks")
    assert ": 2 layers," in out
    assert "outputs of its blocks" not in remarks
    with repsim.open_store("activations/blocks.photos-test.h5") as store:
        assert tuple(store.layers) == ("blocks.0", "blocks.1")


def test_a_large_store_is_said_before_it_is_written(
    inside: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("harvest", *MODEL, "--weights", "one.pt", "--name")
    assert "note" not in said(*asked, "small")[1]
    monkeypatch.setattr("repsim.cli.harvests._LARGE", 1e5)
    size = "note: activations/whole.photos-test.h5 will take 0.0 GB; averages of maps"
    assert size in said(*asked, "whole")[1]
    assert "will take" not in said(*asked, "whole")[1]  # it is there
    assert "will take" not in said(*asked, "averages", "--pooling", "avg")[1]
