"""Adversarial feature learning reproduced: its declarations, and all of it at scale tiny."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from driving import run_command

from repsim.activations.analyses.base import Context, Inputs
from repsim.data import load
from repsim.errors import UsageError
from repsim.figures.panels.images import Images
from repsim.figures.papers import find_paper
from repsim.figures.papers.donahue2017.analyses import SEVERAL, SEVERAL_CONV
from repsim.figures.papers.donahue2017.claims import OURS, THEIRS, of_converged, of_trained
from repsim.figures.papers.donahue2017.filters import filters_of
from repsim.figures.papers.donahue2017.numbers import TRAINED
from repsim.figures.papers.donahue2017.published import (
    FROZEN,
    FROZEN_AFTER,
    NEAREST,
    VOC,
    VOC_COLUMNS,
)
from repsim.figures.papers.donahue2017.runs import (
    BIGAN,
    COMPLEX,
    CONVOLVED,
    FLAT,
    GAN,
    GAN_CONV,
    LR_CONV,
    METHODS,
    SCENES,
)
from repsim.figures.papers.donahue2017.sheets import Sheet
from repsim.figures.papers.donahue2017.strips import pictures
from repsim.figures.papers.engine import Folder, Number, Reproduction, only
from repsim.figures.papers.engine.findings import mean_decides
from repsim.figures.papers.engine.only import is_of
from repsim.figures.papers.engine.page import write_page
from repsim.figures.papers.engine.report import collect
from repsim.networks.families import find_family
from repsim.networks.image_spec import ImageSpec
from repsim.results import Result

PAPER = find_paper("donahue2017")


def reproduction(folder: Path, scale: str, data: str) -> Reproduction:
    return Reproduction(PAPER, Folder(folder, device="cpu"), scale, data)


def test_published_numbers_are_where_they_belong() -> None:
    assert list(NEAREST) == list(METHODS)
    assert (NEAREST["BiGAN"], NEAREST["AE (l1)"]) == (97.39, 97.63)
    assert all(len(values) == len(FROZEN_AFTER) for values in FROZEN.values())
    assert (FROZEN["BiGAN"][-1], FROZEN["random"][-1]) == (31.1, 12.0)
    assert all(len(values) == len(VOC_COLUMNS) == len(TRAINED) for values in VOC.values())
    assert (VOC["BiGAN"], VOC["supervised"][0]) == ((37.5, 48.7, 58.9), 77.0)


def test_every_network_is_judged_on_scenes_of_its_own_images(tmp_path: Path) -> None:
    """The untrained and the supervised one too, at the size of the images that they learn from."""
    assert set(SEVERAL) == {*METHODS, "untrained", "supervised"}
    assert set(SEVERAL_CONV) == {*COMPLEX, "untrained", "supervised"}
    for scale, data in PAPER.splits:
        made = reproduction(tmp_path, scale, data)
        steps = [step for each in made.computations.values() for step in each if step.elsewhere]
        per_seed = len(SEVERAL) * (data in FLAT) + len(SEVERAL_CONV) * (data in CONVOLVED)
        assert len(steps) == per_seed * len(made.seeds)
        assert {step.data for step in steps} == {SCENES[data]}
        assert all(step.splits["validation"] == "validation" for step in steps)


def test_a_latent_regressor_begins_from_the_gan_of_its_seed(tmp_path: Path) -> None:
    """By the name of its folder, which has the key of the GAN's settings; and is made after it."""
    made = reproduction(tmp_path, "tiny", "digits")
    for regressor, gan in ((METHODS["LR"], GAN), (LR_CONV, GAN_CONV)):
        for ours, theirs in zip(made.trainings[regressor], made.trainings[gan], strict=True):
            assert ours.config.seed == theirs.config.seed
            assert ours.config.gan == theirs.path.name
            assert ours.needs == (theirs,)
            assert made.steps.index(theirs) < made.steps.index(ours)
    keys = {step.key for step in made.trainings[METHODS["LR"]]}
    assert len(keys) == len(made.seeds)


@pytest.mark.parametrize(("scale", "data"), list(PAPER.splits))
def test_all_methods_have_the_same_networks_and_updates(
    scale: str, data: str, tmp_path: Path
) -> None:
    trainings = reproduction(tmp_path, scale, data).trainings
    assert any(run in trainings for run in METHODS.values()) == (data in FLAT)
    assert (LR_CONV in trainings) == (data in CONVOLVED)
    configs = {run: steps[0].config for run, steps in trainings.items() if run in METHODS.values()}
    for run, config in configs.items():
        halves = 2 if run is BIGAN else 1  # a batch of two minibatches
        assert config.network == "mlp"
        assert config.width == configs[BIGAN].width
        assert config.batch_size == halves * configs[GAN].batch_size
        assert config.epochs == halves * configs[GAN].epochs
        code = config.code if run.method == "autoencoder" else config.latent
        assert code == configs[BIGAN].latent
        assert (config.lr, config.beta1, config.weight_decay) == (2e-4, 0.5, 2.5e-5)
        assert run.method in ("autoencoder", "latent_regressor") or not config.alternate


@pytest.mark.parametrize(
    ("scale", "met", "missed"),
    [
        ("tiny", "undecided", "undecided"),
        ("small", "supported", "undecided"),
        ("long", "supported", "not supported"),
    ],
)
def test_shorter_training_refutes_no_claim_about_longer(scale: str, met: str, missed: str) -> None:
    at = SimpleNamespace(scale=scale)
    for values, verdict in (([96.0, 96.1, 96.2], met), ([90.0, 90.1, 90.2], missed)):
        number = of_trained(at, Number(values, note="as logged"))  # type: ignore[arg-type]
        assert mean_decides(number, "above", 95.5).verdict == verdict
        assert number.note.startswith("as logged")
        assert (number.note == "as logged") == (scale == "long")
        early = of_converged(at, Number(values)).settles  # type: ignore[arg-type]
        assert early == (scale == "long")


def test_lengths_of_training_are_those_that_notes_tell(tmp_path: Path) -> None:
    for scale, data in PAPER.splits:
        trainings = reproduction(tmp_path, scale, data).trainings
        for run in {GAN, GAN_CONV} & set(trainings):
            if scale != "tiny":
                assert trainings[run][0].config.epochs == OURS.get(scale, THEIRS)


def test_figures_and_tables_are_of_their_image_sets() -> None:
    make = only("digits", "mnist")(len)
    assert make([1, 2]) == 2
    assert is_of(make, "mnist")
    assert not is_of(make, "cifar10")
    assert is_of(len, "cifar10")


def test_filters_are_the_weights_beside_the_images() -> None:
    """A unit's weights of a perceptron as an image; what a unit of its generator adds to one."""
    spec, kind = ImageSpec(1, 10, 8, 8, flips=False), find_family("mlp")
    family = kind(kind.settings(width=6))
    encoder, generator = family.encoder(spec), family.generator(spec, 3)
    first, last = encoder.hidden1[0].weight, generator.image[0].weight
    found = filters_of(encoder, spec.shape)
    assert torch.equal(found[2].flatten(), first[2].detach())
    found = filters_of(generator, spec.shape, last=True)
    assert found.shape == (6 + 3, 1, 8, 8)
    assert torch.equal(found[4].flatten(), last[:, 4].detach())
    kind = find_family("alexnet")
    convolved = kind(kind.settings(width=2, beside=4))
    spec = ImageSpec(3, 10, 32, 32, flips=True)
    kernels = {
        "encoder": filters_of(convolved.encoder(spec), spec.shape),
        "discriminator": filters_of(convolved.joint_critic(spec, 5), spec.shape),
        "generator": filters_of(convolved.generator(spec, 5), spec.shape, last=True),
    }
    assert {name: tuple(each.shape) for name, each in kernels.items()} == {
        "encoder": (6, 3, 5, 5),
        "discriminator": (4, 3, 4, 4),
        "generator": (4, 3, 4, 4),
    }
    with pytest.raises(UsageError, match=r"weights of \(6, 64\) are not beside"):
        filters_of(encoder, spec.shape)


def test_sheets_show_the_nearest_images_in_feature_space() -> None:
    """Of a network whose features are the pixels, against distances in float64."""

    class Pixels:
        def load(self) -> torch.nn.Module:
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity())

    images = {part: load("digits", split) for part, split in PARTS.items()}
    inputs = Inputs(names=("pixels",), extractors=(Pixels(),), images=images)  # type: ignore[arg-type]
    found = Sheet(Sheet.config_class(layers="1", k=3)).compute(inputs, Context(device="cpu"))
    asked, among = (images[part].inputs() for part in PARTS)
    near = torch.cdist(asked.flatten(1).double(), among.flatten(1).double()).argsort(dim=1)
    rows = [asked, *(among[near[:, place]] for place in range(3))]
    expected = Images.of("pixels", list(map(pictures, rows)), rows=("x", "1", "2", "3"))
    assert found.panels == [expected]


PARTS = {"shown": "test[:5]", "among": "train[:60]"}


@pytest.mark.slow
def test_donahue2017_has_every_panel_and_makes_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    command = ("reproduce", "donahue2017", "--scale", "tiny", "--device", "cpu", "-o", folder)
    assert run_command(*command) == 0
    capsys.readouterr()
    assert run_command(*command, "--dry-run") == 0
    assert "nothing is missing" in capsys.readouterr().out
    figures = {path.stem: Result.load(path) for path in (folder / "figures").glob("*.json")}
    panels = {name: [panel.type for panel in data.panels] for name, data in figures.items()}
    assert panels == {
        "figure-1": ["lines"],
        "figure-2": ["images"],
        "figure-3": ["images"] * 3,
        "filters": ["images"] * 3,
        "figure-4": ["images"],
        "table-1": ["bars"],
        "table-2": ["lines"] * 2,
        "inversion": ["bars"],
        "figure-5": ["images"] * 2,
        "neighbours": ["images"] * 2,
        "similarity": ["matrix"] * 5,
        "similarity-photographs": ["matrix"] * 5,
        "photographs": ["bars"],
        "table-3": ["bars"] * 2,
        "table-3-convolutions": ["bars"] * 2,
    }
    with (folder / "claims.csv").open() as stream:
        claims = list(csv.DictReader(stream))
    assert {each["claim"][:2] for each in claims} == {f"3{letter}" for letter in "abcdef"}
    for each in claims:
        assert each["verdict"] in ("undecided: needs three", "reported")
        assert math.isfinite(float(each["value"])), each
    untrained = [each for each in claims if "before training" in each["claim"]]
    assert len(untrained) == 3
    assert all(float(each["value"]) < 0.05 for each in untrained)
    check_regressors(folder)
    page = tmp_path / "docs" / "donahue2017.md"
    write_page(collect(reproduction(folder, "tiny", "digits")), page)
    text = page.read_text()
    assert "{{" not in text
    for name, several in (("scenes", SEVERAL), ("scenes-photographs", SEVERAL_CONV)):
        with (folder / "tables" / f"{name}.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        assert [row["network"] for row in rows] == list(several)
        assert all(0 < float(row[trained]) <= 100 for row in rows for trained in TRAINED)
        assert rows[0]["VOC: fc8"] == "37.5"


def check_regressors(folder: Path) -> None:
    """Each has the generator of a GAN that lies beside it."""
    for path in (folder / "runs").glob("latent_regressor*/config.json"):
        begun = json.loads(path.read_text())["begun_with"]
        assert (folder / "runs" / begun["gan"] / "checkpoint.pt").is_file()
