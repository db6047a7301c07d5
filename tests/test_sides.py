"""A discriminator is a function of an image and its side: what is reported is what was trained."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from repsim.activations.harvesting.heads import generated_images, head_features
from repsim.batch_statistics import by_batch, kept, normalisations
from repsim.configuration import identity_of
from repsim.data import load
from repsim.errors import NonFiniteError, StoreError, UsageError
from repsim.training import kept_sides
from repsim.training.compose import configure
from repsim.training.loaders import feed, open_images
from repsim.training.loop import train
from repsim.training.run import Run, save_checkpoint
from repsim.training.sides import measure_sides

SMALL = {"width": 4, "split": "train[:400]", "test": "test[:20]", "sheet": 0, "coverage": 0}
MGAN = {**SMALL, "generators": 4, "shared": 0, "sharing": "sum", "batch_size": 40, "lr": 2e-3}
SIDES = ("real", "generated")


def trained(folder: Path, method: str = "mgan", **settings: Any) -> Run:
    values = {"statistics_batches": 10, "epochs": 1, **SMALL, **settings}
    return train(method, configure(method, values, "test"), folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An M-GAN whose discriminator tells real from generated images."""
    folder = tmp_path_factory.mktemp("runs") / "mgan"
    return trained(folder, **MGAN, epochs=6, statistics_batches=100, save_every=(0, 6))


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """The same run without statistics, as earlier versions left it."""
    shutil.copytree(run.path, tmp_path / run.name)
    (tmp_path / run.name / "statistics.pt").unlink()
    kept_sides._IN_MEMORY.clear()
    return Run(tmp_path / run.name)


@pytest.fixture(scope="module")
def images(run: Run) -> dict[str, Tensor]:
    """Held-out and generated images, in an order that mixes generators."""
    held = load("digits", "test[:200]")
    made = generated_images(run, 50)
    assert made is not None
    mixed = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    return {"real": held.inputs(), "generated": made.images[mixed]}


def called_real(network: nn.Module, images: Tensor) -> float:
    """The share of images that a discriminator calls real."""
    with torch.no_grad():
        return float((network(images) > 0).float().mean())


def as_trained(network: nn.Module, images: Tensor) -> float:
    """The same with each batch normalised by its own statistics, as training has it."""
    with by_batch(network):
        return sum(called_real(network, batch) for batch in images.split(40)) / 5


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)


# --- what is reported is what was trained


def test_each_side_is_judged_as_in_training_and_the_running_statistics_do_not(
    run: Run, images: dict[str, Tensor]
) -> None:
    off = {}
    for side in SIDES:
        mixed = run.load_extractor("discriminator", statistics="mixed")
        own = run.load_extractor("discriminator", statistics=side)
        before = as_trained(mixed, images[side])
        assert abs(called_real(own, images[side]) - before) <= 0.05
        off[side] = abs(called_real(mixed, images[side]) - before)
    assert max(off.values()) > 0.1


def test_logits_are_in_the_order_of_training(run: Run, images: dict[str, Tensor]) -> None:
    def logits(statistics: Any, side: str) -> Tensor:
        with torch.no_grad():
            return run.load_extractor("discriminator", statistics=statistics)(images[side])

    apart = logits("real", "real").mean() - logits("generated", "generated").mean()
    mixed = run.load_extractor("discriminator", statistics="mixed")
    with torch.no_grad(), by_batch(mixed):
        trained = [torch.cat([mixed(b) for b in images[s].split(40)]).mean() for s in SIDES]
    torch.testing.assert_close(apart, trained[0] - trained[1], rtol=0.1, atol=0)


def test_the_extractor_takes_the_side_that_its_images_are_of(run: Run) -> None:
    chosen = run.extractor("discriminator")
    assert chosen.label == "mgan:discriminator"
    for side in SIDES:
        assert same(kept(chosen.load(side)), dict(run.sides()["discriminator"][side]))
    for statistics in (*SIDES, "mixed"):
        other = run.extractor("discriminator", statistics=statistics)
        assert other.label == f"mgan:discriminator ({statistics} statistics)"
        a, b = (kept(other.load(side)) for side in SIDES)
        assert same(a, b)
    running = run.load_state(run.checkpoint)["networks"]["discriminator"]
    assert all(torch.equal(value, running[name]) for name, value in a.items())


def test_each_side_is_a_function_of_the_example(run: Run, images: dict[str, Tensor]) -> None:
    """The check of capture accepts both, which it does not of a network that looks at batches."""
    for name in run.extractors:
        for side in SIDES:
            head_features(run.extractor(name).load(side), images[side])


def test_weights_stay_under_their_names(run: Run) -> None:
    state = run.load_state(run.checkpoint)["networks"]["discriminator"]
    loaded = run.load_extractor("discriminator").state_dict()
    assert list(loaded) == list(state)
    moved = {name for name in state if not torch.equal(state[name], loaded[name])}
    assert moved == {name for name in state if "running" in name}


# --- which statistics they are


def test_sides_follow_from_images_generators_and_seed(run: Run) -> None:
    config, method = run.config, run.load_method()
    images = open_images(config.data, config.split, None)
    found = measure_sides(method, feed(images, torch.device("cpu"), 0))
    assert list(found) == ["discriminator", "classifier"]
    assert same({**found}, {**run.sides()})
    for name, norm in normalisations(method.networks["discriminator"]).items():
        sides = [found["discriminator"][side][f"{name}.running_mean"] for side in SIDES]
        assert not torch.allclose(*sides, rtol=0.05)
        assert sides[0].shape == norm.running_mean.shape


def test_what_two_networks_share_has_the_same_statistics(tmp_path: Path) -> None:
    sides = trained(tmp_path / "all", **{**MGAN, "shared": 4}).sides()
    assert same(sides["discriminator"], sides["classifier"])
    sides = trained(tmp_path / "some", **{**MGAN, "shared": 2}).sides()
    d, c = (sides[name]["real"] for name in ("discriminator", "classifier"))
    assert torch.equal(d["conv2.1.running_mean"], c["conv2.1.running_mean"])
    assert not torch.equal(d["conv3.1.running_mean"], c["conv3.1.running_mean"])


@pytest.mark.parametrize(("method", "name"), [("gan", "discriminator"), ("wgan", "critic")])
def test_other_adversarial_methods_have_sides(method: str, name: str, tmp_path: Path) -> None:
    run = trained(tmp_path / method, method, batch_size=40)
    assert run.has_sides
    assert list(run.sides()) == [name]
    assert list(run.sides()[name]) == ["real", "generated"]


def test_a_critic_without_batch_normalisation_has_no_sides(tmp_path: Path) -> None:
    run = trained(tmp_path / "wgan", "wgan", batch_size=40, constraint="penalty")
    assert not run.has_sides
    assert not run.statistics_of().exists()
    assert run.extractor().statistics_for("generated") is None
    with pytest.raises(UsageError, match=r"no statistics of real images to choose.*leave out"):
        run.extractor(statistics="real")


def test_networks_before_training_have_sides_too(run: Run, tmp_path: Path) -> None:
    control = trained(tmp_path / "control", **MGAN, epochs=0, statistics_batches=100)
    assert same(control.sides(), run.sides(epoch=0))
    before = run.extractor("discriminator").untrained
    assert same(kept(before("real")), dict(control.sides()["discriminator"]["real"]))
    # Shown the images of the trained generators, it has statistics of those.
    assert not same(kept(before("generated")), dict(control.sides()["discriminator"]["generated"]))


# --- runs of earlier versions


def test_a_run_without_statistics_gets_them_once(
    run: Run, copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert same(copied.sides(), run.sides())
    assert copied.statistics_of().read_bytes() == run.statistics_of().read_bytes()
    kept_sides._IN_MEMORY.clear()
    monkeypatch.setattr(kept_sides, "measure_sides", None)
    assert same(copied.sides(), run.sides())


def test_runs_that_begin_with_the_same_weights_have_statistics_of_their_own(tmp_path: Path) -> None:
    others: tuple[dict[str, Any], ...] = {"split": "train[400:800]"}, {"statistics_batches": 3}, {}
    runs = [
        trained(tmp_path / str(k), "gan", epochs=0, save_every=(0,), batch_size=40, **each)
        for k, each in enumerate(others)
    ]
    assert len({each.digest(0) for each in runs}) == 1
    kept_sides._IN_MEMORY.clear()
    for each in runs:
        assert same(each.sides(0), each.sides())  # the second are of training


def test_where_nothing_can_be_written_they_stay_in_memory(
    run: Run, copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(kept_sides, "save_sides", refuse)
    assert same(copied.sides(), run.sides())
    assert not copied.statistics_of().exists()
    monkeypatch.setattr(kept_sides, "measure_sides", None)
    assert same(copied.sides(), run.sides())


def test_without_its_images_a_run_says_so_in_one_line(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = open_images("digits", "train[:300]", None)
    monkeypatch.setattr(kept_sides, "open_images", lambda *_, **__: fewer)
    with pytest.raises(
        StoreError, match=r"digits train\[:400\] has other images now.*mixed"
    ) as one:
        copied.load_extractor("discriminator")
    assert "\n" not in str(one.value)
    assert copied.load_extractor("discriminator", statistics="mixed") is not None


def test_statistics_of_another_checkpoint_are_not_taken(run: Run, copied: Run) -> None:
    shutil.copy(run.statistics_of(), copied.statistics_of())
    state = copied.load_state(copied.checkpoint)
    state["networks"]["discriminator"]["conv1.0.weight"] *= 2
    save_checkpoint(copied.checkpoint, state)
    assert not same(copied.sides(), run.sides())


def test_generators_whose_numbers_overflow_are_named(copied: Run) -> None:
    state = copied.load_state(copied.checkpoint)
    first, *_ = state["networks"]["generator"].values()
    first.fill_(3e38)  # finite, as a checkpoint has to be; what it makes is not
    save_checkpoint(copied.checkpoint, state)
    with pytest.raises(NonFiniteError, match=r"generators of run 'mgan' make .* lower lr"):
        generated_images(copied, 3)
    assert copied.load_extractor("discriminator") is not None  # real images need none of them


def test_a_damaged_file_is_refused(copied: Run) -> None:
    copied.statistics_of().write_bytes(b"no statistics")
    with pytest.raises(StoreError, match=r"statistics\.pt is damaged.*remove it"):
        copied.sides()


# --- α after each epoch


def test_alpha_is_of_each_side_s_own_statistics(tmp_path: Path) -> None:
    run = trained(tmp_path / "mgan", **{**MGAN, "sheet": 8}, epochs=3)
    row = run.last_metrics()
    assert row["alpha_batches"] == 10
    assert row["alpha_real"] < 1 < row["alpha_fake"]


# --- both kinds in one pass


@pytest.mark.parametrize("method", ["gan", "mgan", "wgan"])
def test_both_kinds_may_pass_together(method: str, tmp_path: Path) -> None:
    settings = MGAN if method == "mgan" else {"batch_size": 40}
    run = trained(tmp_path / method, method, **{**settings, "passes": "together"})
    for sides in run.sides().values():
        assert same(sides["real"], sides["generated"])
    apart = trained(tmp_path / "apart", method, **settings)
    a, b = (each.load_state(each.checkpoint)["networks"] for each in (run, apart))
    assert not same(a, b)


def test_the_usual_passes_leave_keys_as_they_were() -> None:
    usual = configure("mgan", {}, "test")
    assert not {"passes", "statistics_batches"} & identity_of(usual).keys()
    assert identity_of(configure("mgan", {"passes": "together"}, "test"))["passes"] == "together"
