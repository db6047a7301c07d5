"""Bits that a feature adds about labels: the formula, its estimate from probes, and the command."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from repsim import signal
from repsim.activations.analyses.signal import Config
from repsim.cli.main import cli
from repsim.errors import DegenerateError, ShapeError, UsageError
from repsim.figures.papers.song2017.published import PROBABILITIES, SIGNAL
from repsim.probes import measured_signal
from repsim.results import Table

shares = st.floats(0, 1)


@pytest.mark.parametrize(("keep", "copy"), list(product(PROBABILITIES, PROBABILITIES)))
def test_every_published_cell(keep: float, copy: float) -> None:
    """Published to two decimals."""
    assert signal(keep, copy) == pytest.approx(SIGNAL[keep, copy], abs=0.005001)


def entropy(joint: np.ndarray) -> float:
    p = joint[joint > 0]
    return float(-(p * np.log2(p)).sum())


def counted(keep: float, copy: float, classes: int) -> float:
    """I(y; r | l) from the joint distribution: label y, right digit r, left digit l or none."""
    joint = np.zeros((classes, classes, classes + 1))
    for y, r in product(range(classes), repeat=2):
        p = (copy * (y == r) + (1 - copy) / classes) / classes
        joint[y, r, y] += p * keep
        joint[y, r, classes] += p * (1 - keep)
    return (
        entropy(joint.sum(1))
        - entropy(joint.sum((0, 1)))
        - (entropy(joint) - entropy(joint.sum(0)))
    )


@given(shares, shares, st.integers(2, 12))
def test_it_is_the_conditional_mutual_information(keep: float, copy: float, k: int) -> None:
    assert signal(keep, copy, k) == pytest.approx(counted(keep, copy, k), abs=1e-9)


@given(shares, shares, st.integers(2, 100))
def test_its_bounds_and_its_directions(keep: float, copy: float, k: int) -> None:
    value = signal(keep, copy, k)
    assert -1e-12 <= value <= math.log2(k) + 1e-12
    assert signal(1.0, copy, k) == signal(keep, 0.0, k) == 0
    assert signal(0.0, 1.0, k) == pytest.approx(math.log2(k))
    assert signal(keep / 2, copy, k) >= value - 1e-12
    assert signal(keep, (1 + copy) / 2, k) >= value - 1e-12
    assert signal(keep, copy, k) == pytest.approx((1 - keep) * signal(0.0, copy, k), abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.5, 0.0), "keep is 1.5; expected a number from 0 to 1"),
        ((0.0, -0.1), "copy is -0.1; expected a number from 0 to 1"),
        (("x", 0.0), "keep is 'x'; expected a number from 0 to 1"),
        ((0.5, 0.5, 2.5), "classes is 2.5; expected a whole number from 2 to 2.53"),
        ((math.nan, 0.0), "keep is nan; expected a number from 0 to 1"),
        ((0.0, 0.0, 10**400), "expected a whole number from 2"),
        ((0.0, 0.0, 1), "classes is 1; expected a whole number from 2 to 2.53"),
    ],
)
def test_probabilities_are_checked(arguments: tuple[float, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        signal(*arguments)  # type: ignore[arg-type]


# --- measured


def digits(n: int, keep: float, copy: float, seed: int) -> tuple[torch.Tensor, ...]:
    """Labels with a left digit, one-hot or zero, and a right digit, one-hot."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=generator)
    other = torch.randint(0, 10, (n,), generator=generator)
    r = torch.where(torch.rand(n, generator=generator) < copy, y, other)
    kept = torch.rand(n, generator=generator) < keep
    one_hot = torch.eye(10)
    return y, one_hot[y] * kept[:, None], one_hot[r]


@pytest.mark.parametrize(("keep", "copy"), [(0.0, 0.0), (0.0, 0.6), (0.5, 0.9), (0.9, 0.3)])
def test_the_estimate_is_the_formula_where_digits_are_read_without_error(
    keep: float, copy: float
) -> None:
    y, left, right = digits(20_000, keep, copy, 0)
    y_test, left_test, right_test = digits(20_000, keep, copy, 1)
    found = measured_signal(right, y, right_test, y_test, given=left, test_given=left_test)
    assert found.converged
    assert found.labels == pytest.approx(math.log2(10), abs=0.01)
    assert found.before == pytest.approx((1 - keep) * math.log2(10), abs=0.03)
    slack = 1.5 * (found.high - found.low) / 2 + 0.01  # three standard errors, and what is fitted
    assert found.value == pytest.approx(signal(keep, copy), abs=slack)
    assert found.value == pytest.approx(found.before - found.after)
    assert found.low <= found.value <= found.high


def test_of_no_earlier_features_it_is_the_whole_information() -> None:
    y, _, right = digits(5000, 0.0, 0.9, 0)
    y_test, _, right_test = digits(5000, 0.0, 0.9, 1)
    found = measured_signal(right, y, right_test, y_test)
    assert found.before == found.labels
    assert found.value == pytest.approx(signal(0.0, 0.9), abs=0.1)


def test_what_was_there_before_adds_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3000, 5, generator=generator)
    y = (x[:, 0] + torch.randn(3000, generator=generator) > 0).long()
    parts = x[:2000], y[:2000], x[2000:], y[2000:]
    again = measured_signal(*parts, given=parts[0], test_given=parts[2])
    assert again.value == pytest.approx(0, abs=0.005)
    noise = torch.randn(3000, 5, generator=generator)
    less = measured_signal(
        noise[:2000], parts[1], noise[2000:], parts[3], given=parts[0], test_given=parts[2]
    )
    assert less.low <= 0.005
    first = measured_signal(*parts)
    assert first.low > 0.1


def test_examples_that_are_too_few_are_refused() -> None:
    y = torch.arange(10) % 2
    x = torch.randn(10, 3)
    assert measured_signal(x, y, x, y).n_train == 10
    with pytest.raises(DegenerateError, match="9 training examples of 2 classes; expected"):
        measured_signal(x[:9], y[:9], x, y)
    with pytest.raises(DegenerateError, match="a single held-out example has no interval"):
        measured_signal(x, y, x[:1], y[:1])


@pytest.mark.slow
def test_the_interval_covers() -> None:
    """The estimate of infinitely many held-out examples lies in about 95 % of the intervals."""
    y, left, right = digits(1000, 0.5, 0.6, 0)
    inside = 0
    y_test, left_test, right_test = digits(40_000, 0.5, 0.6, 1)
    truth = measured_signal(right, y, right_test, y_test, given=left, test_given=left_test).value
    for k in range(40):
        rows = slice(1000 * k, 1000 * (k + 1))
        found = measured_signal(
            right, y, right_test[rows], y_test[rows], given=left, test_given=left_test[rows]
        )
        inside += found.low <= truth <= found.high
    assert inside >= 34


def test_examples_that_cannot_be_measured_are_refused() -> None:
    x, y = torch.randn(20, 3), torch.arange(20) % 2
    with pytest.raises(ShapeError, match="given and test_given come together"):
        measured_signal(x, y, x, y, given=x)
    with pytest.raises(ShapeError, match="training features have 3 columns, held-out ones 2"):
        measured_signal(x, y, x[:, :2], y)
    with pytest.raises(DegenerateError, match="fewer than two classes"):
        measured_signal(x, y * 0, x, y)
    with pytest.raises(DegenerateError, match="no training example has label 4"):
        measured_signal(x, y, x, y + 4)


# --- of a run


def run(*arguments: str) -> str:
    found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("signal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        few = ("--statistics-batches", "3")
        small = ("--image-size", "8x16", "--device", "cpu", "--batch-size", "50")
        network = ("--network", "halves", "--width", "2", "--features", "4")
        data = ("--data", "two-digits:base=digits,pairs=400", "--target", "left")
        adam = ("--optimizer", "adam", "--lr", "0.01", "--no-augmentation")
        run("train", "supervised", *data, *small, *network, *adam, "--epochs", "3", "--name", "cnn")
        run("train", "gan", *data, *small, *network, "--generator", "4", "--epochs", "1", *few)
    return folder


def test_the_command_measures_labels(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    out = run("signal", "cnn", "--target", "right")
    assert "bits about labels that right adds to left, n = 400 + 400" in out
    (row,) = Table.load(next(Path("results").glob("signal-cnn*.json"))).rows()
    assert (row["layers"], row["given"], row["of"]) == ("right", "left", "labels")
    assert row["value"] == pytest.approx(row["before"] - row["after"])
    assert row["low"] > 0  # the right half tells the right label, and the left half does not


def test_the_command_measures_generated_images(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    out = run("signal", "gan", "--of", "generated", "--given", "none")
    assert "bits about real and generated images that right adds to none, n = 800 + 800" in out
    (row,) = Table.load(next(Path("results").glob("signal-gan*.json"))).rows()
    assert row["labels"] == pytest.approx(1)
    assert row["low"] > 0  # a generator after an epoch is behind


def test_runs_that_generate_nothing_are_refused(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    found = CliRunner().invoke(cli, ["signal", "cnn", "--of", "generated"])
    assert "cnn generates no images; leave out --of generated" in str(found.exception)
    found = CliRunner().invoke(cli, ["signal", "cnn", "--layers", "rihgt"])
    assert "right" in str(found.exception)
    for options in (["--layers", "left"], ["--layers", "right,left", "--given", "left"]):
        found = CliRunner().invoke(cli, ["signal", "cnn", *options])
        assert "left is in layers and in given" in str(found.exception)


def test_bits_are_of_one_distribution(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes of copied labels, scored on independent ones, gave -3.7 bits for 2.6."""
    monkeypatch.chdir(workspace)
    drawn = "two-digits:base=digits,copy=0.9,keep=0,pairs=400"
    found = CliRunner().invoke(cli, ["signal", "cnn", "--data", drawn, "--target", "left"])
    alike = "two-digits:base=digits,clean=false,copy=0.9,keep=0,pairs=400"
    assert "is drawn otherwise in test than in train" in str(found.exception)
    assert str(found.exception).endswith(f"--data {alike}")
    run("signal", "cnn", "--data", alike, "--target", "left", "--split", "validation")
    (row,) = Table.load(next(Path("results").glob("signal-cnn*clean*.json"))).rows()
    assert 0 < row["value"] < signal(0.0, 0.9)
    assert row["low"] > 0.5
    of_train = ["--split", "train[:200]", "--test-split", "train[200:]"]
    assert CliRunner().invoke(cli, ["signal", "cnn", "--data", drawn, *of_train]).exception is None


def test_other_networks_have_no_layers_before_by_default(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    tiny = ("--data", "digits", "--depth", "10", "--width", "4", "--epochs", "0")
    run("train", "supervised", *tiny, "--device", "cpu", "--name", "resnet")
    out = run("signal", "resnet", "--layers", "pooled", "--test-split", "test[:100]")
    assert "bits about labels that pooled adds to none, n = 1,437 + 100" in out
    (row,) = Table.load(next(Path("results").glob("signal-resnet*.json"))).rows()
    assert (row["given"], row["before"]) == ("none", row["labels"])
    found = CliRunner().invoke(cli, ["signal", "resnet"])
    assert "resnet has no layer 'right'; name the layer" in str(found.exception)
    found = CliRunner().invoke(cli, ["signal", "resnet", "--layers", "pooled", "--given", "left"])
    assert "has no layer 'left'" in str(found.exception)


def test_results_of_the_usual_layers_are_found_again() -> None:
    """Their settings were left and right before the layers before depended on the network."""
    assert Config().identity() == {"layers": "right", "given": "left", "of": "labels", "seed": 0}
