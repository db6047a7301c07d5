"""The task of someone who brings networks: a CNN of an own module and a ViT, on a folder of JPEGs.

By the commands that a user types: at most six for heatmap, curves, probes, CSV and a PDF as wide as
a column, and no path of a store among them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from libraries import working_transformers
from PIL import Image
from torch import nn

import repsim
from repsim.data import load
from repsim.data.sets import find_kind
from repsim.networks.external import load_network
from repsim.results import ProbeCurve, SimilarityMap

pytestmark = pytest.mark.slow

DATA = Path(os.environ.get("REPSIM_DATA") or "data")

#: Photographs of each of the ten classes; a fifth of all is held out.
EACH = 62

MODULE = """
from torch import nn


def block(inputs, outputs, stride=1):
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class SmallCNN(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.stem = block(3, 16)
        self.stage1 = nn.Sequential(block(16, 16), block(16, 32, 2))
        self.stage2 = nn.Sequential(block(32, 32), block(32, 64, 2))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.out = nn.Linear(64, classes)

    def forward(self, x):
        x = self.stage2(self.stage1(self.stem(x)))
        return self.out(self.pool(x).flatten(1))


def make_cnn(classes=10):
    return SmallCNN(classes)
"""

VIT = {
    "hidden_size": 48,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 10,
}

#: All that is typed, a command a line.
COMMANDS = r"""
repsim harvest --model mynets:make_cnn --weights cnn.pt --data photos --split train --split test
repsim harvest --model transformers.ViTForImageClassification:./vit \
    --data photos --split train --split test
repsim cka cnn vit
repsim probe cnn vit
repsim nullspace cnn vit --noise none --no-layers
"""
LINES = COMMANDS.replace("\\\n", "").strip().splitlines()


class Done(NamedTuple):
    """The folder of the task, and the output of each command by its first word."""

    folder: Path
    said: dict[str, str]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    absent = [each for each in find_kind("cifar10")().missing(DATA) if "test_batch" not in each]
    if absent:
        pytest.skip(f"cifar10 is not in {DATA}; set REPSIM_DATA to a folder that has it")
    transformers = working_transformers()
    data, folder = DATA.absolute(), tmp_path_factory.mktemp("task")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        _photographs(data)
        Path("mynets.py").write_text(MODULE)
        _trained()
        torch.manual_seed(1)
        config = transformers.ViTConfig(**VIT)
        transformers.ViTForImageClassification(config).save_pretrained("vit")
        yield Done(folder, dict(map(_typed, LINES)))
        sys.modules.pop("mynets", None)


def _photographs(data: Path) -> None:
    """A folder of JPEGs for each class of CIFAR-10."""
    images = load("cifar10", "train[:2000]", data_dir=data)
    assert images.labels is not None
    for label, name in enumerate(images.classes):
        folder = Path("photos", name)
        folder.mkdir(parents=True)
        for k in torch.where(images.labels == label)[0][:EACH].tolist():
            pixels = np.moveaxis(np.asarray(images.images[k]), 0, -1)
            Image.fromarray(pixels).save(folder / f"{k:04}.jpg", quality=95)


def _trained() -> None:
    """Train the CNN on the training part, for a moment."""
    photos = load("photos", "train")
    x, y = photos.inputs(), photos.labels
    assert y is not None
    network = load_network("mynets:make_cnn").train()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    torch.manual_seed(0)
    for _ in range(5):
        for rows in torch.randperm(len(x)).split(62):
            loss = nn.functional.cross_entropy(network(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.save(network.state_dict(), "cnn.pt")


def _typed(line: str) -> tuple[str, str]:
    """Run a line as it is typed; its command and its output."""
    words = line.split()
    environment = {key: each for key, each in os.environ.items() if key != "REPSIM_DATA"}
    command = [sys.executable, "-m", "repsim", *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return words[1], done.stdout


def test_at_most_six_commands_and_no_path_of_a_store(task: Done) -> None:
    assert len(list(task.folder.glob("photos/*/*.jpg"))) == 10 * EACH >= 600
    assert len(LINES) <= 6
    assert ".h5" not in COMMANDS
    assert "activations" not in COMMANDS
    assert "n = 496 of 620, train part" in task.said["harvest"]


def test_the_map_is_what_the_networks_give(task: Done) -> None:
    """One cell against the layers of both networks, taken without a store."""
    found = SimilarityMap.load(task.folder / "results/cka-cnn-vit.json")
    assert (len(found.layers_a), found.n) == (17, 124)
    blocks = {layer.split(".")[2] for layer in found.layers_b if layer.startswith("vit.layers.")}
    assert blocks == set(map(str, range(12)))
    photos = load("photos", "test")
    pair = ("mynets:make_cnn", "transformers.ViTForImageClassification:./vit")
    cnn, vit = (
        load_network(each, weights=weights)
        for each, weights in zip(pair, ("cnn.pt", None), strict=True)
    )
    x, y = _output(cnn, "pool", photos.inputs()), _output(vit, "classifier", photos.inputs())
    cell = found.values()[found.layers_a.index("pool"), found.layers_b.index("classifier")]
    assert cell == pytest.approx(repsim.cka(x, y), abs=1e-5)


def _output(network: nn.Module, layer: str, images: torch.Tensor) -> torch.Tensor:
    """The output of a layer, flattened."""
    seen: list[torch.Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(
        lambda module, given, output: seen.append(output)
    )
    with torch.no_grad():
        network(images)
    handle.remove()
    return seen[0].flatten(1)


def test_the_table_has_every_pair_of_layers(task: Done) -> None:
    with (task.folder / "results/cka-cnn-vit.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = SimilarityMap.load(task.folder / "results/cka-cnn-vit.json")
    assert len(rows) == len(found.layers_a) * len(found.layers_b)


def test_the_trained_network_is_probed_above_chance(task: Done) -> None:
    found = ProbeCurve.load(task.folder / "results/probe-cnn-vit.json")
    assert (found.n_train, found.n_test, found.classes) == (496, 124, 10)
    best = max(each.low for each in found.entries if each.network == "cnn")
    assert best > 0.1
    assert {each.network for each in found.entries} == {"cnn", "vit"}


@pytest.mark.parametrize(
    "stem", ["cka-cnn-vit-heatmap", "cka-cnn-vit-curves", "probe-cnn-vit-curves"]
)
def test_figures_are_as_wide_as_a_column(task: Done, stem: str) -> None:
    content = (task.folder / f"results/{stem}.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", content)
    assert box is not None
    assert float(box[1]) == pytest.approx(72 * 3.3, abs=0.5)
    caption = (task.folder / f"results/{stem}.txt").read_text().splitlines()[0]
    assert "photos test" in caption
    assert "of 620" in caption


def test_the_heads_of_both_are_found(task: Done) -> None:
    for name, width in (("cnn", 64), ("vit", 48)):
        (path,) = (task.folder / "results").glob(f"nullspace-{name}-*.json")
        found: dict[str, Any] = json.loads(path.read_text())
        assert (found["rank"], found["dim"]) == (10, width)
