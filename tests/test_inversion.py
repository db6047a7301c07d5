"""Reconstruction both ways, beside shuffled examples."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from driving import run_command

from repsim.activations.analyses.inversion import inversion_of, inversions_of_run
from repsim.batch_statistics import by_batch, kept, put
from repsim.data import load
from repsim.errors import UsageError
from repsim.results import Table
from repsim.training.adversarial import noise_for
from repsim.training.compose import configure
from repsim.training.loop import train
from repsim.training.run import Run
from repsim.training.sides import measure_generator

SMALL = {"width": 32, "latent": 8, "image_size": "own", "sheet": 0, "coverage": 0}


def trained(folder: Path, method: str = "bigan", **settings: Any) -> Run:
    values = {"split": "train[:400]", "test": "test[:50]", "statistics_batches": 10}
    own = {} if method == "autoencoder" else {**SMALL, **values}
    small = {"width": 4, "code": 8, "split": "train[:150]", "test": "test[:20]"}
    return train(method, configure(method, {**(own or small), "epochs": 1, **settings}), folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(tmp_path_factory.mktemp("runs") / "bigan", epochs=3, batch_size=100)


# --- laws


def test_perfect_reconstructions_have_no_error_and_none_at_all_have_a_ratio_of_one() -> None:
    x = torch.rand(40, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    found = inversion_of("images", x, x)
    assert (found.error, found.ratio, found.n) == (0.0, 0.0, 40)
    assert found.shuffled > 0
    mean = x.mean(0, keepdim=True).expand_as(x)
    assert inversion_of("images", x, mean).ratio == pytest.approx(1.0)


def test_no_example_is_beside_its_own_when_shuffled() -> None:
    x = torch.eye(7)
    for seed in range(20):
        assert inversion_of("codes", x, x, seed).shuffled == pytest.approx(math.sqrt(2))
    with pytest.raises(UsageError, match="codes are 1; expected two at least"):
        inversion_of("codes", x[:1], x[:1])


def test_distances_are_those_written_out() -> None:
    x, y = torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    found = inversion_of("codes", x, y)
    assert found.error == pytest.approx(0.5)
    assert found.shuffled == pytest.approx((5 + math.hypot(2, 4)) / 2)
    assert found.ratio == found.error / found.shuffled


# --- runs


def test_each_network_has_the_statistics_of_what_it_is_shown(run: Run) -> None:
    """Written out: E of real images, G of noise, then E of generated images."""
    images = load("digits", "test[:60]", image_size="own")
    found = inversions_of_run(run.extractor(), images, seed=3)
    method = run.load_method()
    generator = method.networks["generator"]
    put(generator, measure_generator(method))
    encoders = {side: run.load_extractor(statistics=side) for side in ("real", "generated")}
    z = noise_for(method.config, 60, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        x = images.inputs()
        again = generator(2 * encoders["real"](x).sigmoid() - 1)
        made = generator(z)
        codes = 2 * encoders["generated"](made).sigmoid() - 1
        last = generator(codes)
    expected = [("images", x, again), ("generated", made, last), ("codes", z, codes)]
    for each, (of, own, made_again) in zip(found, expected, strict=True):
        assert each.of == of
        assert each.error == pytest.approx(
            float((own - made_again).flatten(1).norm(dim=1).mean()), rel=1e-5
        )


def test_statistics_of_a_generator_are_those_of_its_batches(run: Run) -> None:
    method = run.load_method()
    generator = method.networks["generator"]
    before = kept(generator)
    found = measure_generator(method)
    assert all(torch.equal(value, before[name]) for name, value in kept(generator).items())
    with torch.no_grad():
        z = noise_for(method.config, 5000)
        with by_batch(generator):
            expected = generator(z)
        put(generator, found)
        assert float((generator(z) - expected).abs().mean()) < 0.02


def test_an_untrained_pair_reconstructs_nothing(tmp_path: Path) -> None:
    untrained = trained(tmp_path / "bigan", epochs=0)
    images = load("digits", "test[:200]", image_size="own")
    for each in inversions_of_run(untrained.extractor(), images):
        assert each.ratio == pytest.approx(1.0, abs=0.03), each


def test_an_autoencoder_has_images_alone(tmp_path: Path) -> None:
    found = inversions_of_run(
        trained(tmp_path / "ae", "autoencoder").extractor(), load("digits", "test[:20]")
    )
    assert [each.of for each in found] == ["images"]


def test_the_command_prints_networks_beside_each_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    trained(run.path.parent / "ae", "autoencoder")
    monkeypatch.chdir(tmp_path)
    where = ("--runs", run.path.parent, "--split", "test[:50]")
    assert run_command("inversion", "bigan", "ae", *where, "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "distance of examples to their reconstructions" in out
    (path,) = (tmp_path / "results").glob("*bigan*.json")
    table = Table.load(path)
    assert table.column("of") == ["images", "generated", "codes"]


def test_runs_without_an_inverse_are_refused_in_one_line(tmp_path: Path) -> None:
    run = trained(tmp_path / "gan", "gan", image_size="", width=4, epochs=0)
    with pytest.raises(UsageError, match="gan makes no images of codes again; expected a run of"):
        inversions_of_run(run.extractor(), load("digits", "test[:20]"))
