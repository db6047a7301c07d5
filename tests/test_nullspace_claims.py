"""Synthetic discriminators and classifiers, of which it is known if a claim holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sample_results import number
from torch import Tensor

from repsim.activations.analyses.base import TextTable
from repsim.activations.analyses.nullspace import Config, Nullspace
from repsim.nullspace import all_ones, null_space, row_space
from repsim.nullspace.probing import Known, Labelled, of_classes, of_real_and_fake, part_of
from repsim.nullspace.report import judged
from repsim.nullspace.verdicts import verdicts
from repsim.results import NullSpaceEntry, NullSpaceReport, Verdict

FEW = {"draws": 20, "resamples": 40}
D, N = 128, 2000


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def discriminator(real: Tensor, generated: Tensor, **more: Any) -> NullSpaceReport:
    """The report on a head whose one direction is the first."""
    weight = torch.eye(1, real.shape[1], dtype=torch.float64)
    return null_space(real, weight, generated=generated, **FEW, **more)


def said(report: NullSpaceReport, claim: str) -> dict[tuple[str, str], Verdict]:
    return {(each.quantity, each.part): each for each in report.claims if each.claim == claim}


NULL, LOST = ("real_fake_probe", "null"), ("real_fake_difference", "full - row")

# --- Theorem 1


def test_a_difference_in_every_direction_is_not_excluded_from_the_null_space() -> None:
    """The trained direction differs far more than random ones, as of any working discriminator."""
    shift = torch.full((D,), 0.5, dtype=torch.float64)
    shift[0] = 2
    report = discriminator(normal(N, D, seed=1), normal(N, D, seed=2) + shift)
    gap = report.find("gap", "row")
    assert gap is not None
    assert gap.low > gap.chance_high
    found = said(report, "Theorem 1")
    assert [found[key].verdict for key in (NULL, LOST)] == ["not supported"] * 2
    assert found[NULL].against == 0.55
    assert found[LOST].against == 0.02


def test_a_difference_along_the_head_alone_is_excluded_from_the_null_space() -> None:
    shift = torch.zeros(D, dtype=torch.float64)
    shift[0] = 3
    report = discriminator(normal(6 * N, D, seed=1), normal(6 * N, D, seed=2) + shift)
    found = said(report, "Theorem 1")
    assert {key: each.verdict for key, each in found.items()} == dict.fromkeys(
        (NULL, LOST), "supported"
    )
    # Two normal distributions 3 deviations apart are told apart at half the way: Φ(1.5).
    full, row = (report.find("real_fake_probe", part) for part in ("full", "row"))
    assert full is not None
    assert row is not None
    assert row.low < 0.9332 < row.high
    assert full.value == pytest.approx(0.9332, abs=0.01)
    assert "tells real from generated images in" in found[NULL].statement


def test_what_decides_nothing_is_reported() -> None:
    f = normal(200, 8, seed=1)
    noisy = {"gaussian 1": f + normal(200, 8, seed=3)}
    report = discriminator(f, normal(200, 8, seed=2) + 1, noisy=noisy)
    reported = {each.claim for each in report.claims if each.verdict == "reported"}
    assert reported == {"gap in row space", "noise", "constant ratio"}
    for each in report.claims:
        assert (each.verdict == "reported") == (each.side == "beside")
        assert (each.verdict == "reported") == (each.claim != "Theorem 1")


def test_probes_of_real_and_fake_see_equally_many_and_are_judged_on_others() -> None:
    """Held-out images alone are judged: what is only learned by heart reads chance."""
    space = row_space(normal(1, 60, seed=3))
    found = [
        of_real_and_fake(space, normal(300, 60, seed=k), normal(90, 60, seed=k + 50), seed=k)
        for k in range(12)
    ]
    for part, entries in zip(("full", "row", "null"), zip(*found, strict=True), strict=False):
        assert {each.part for each in entries} == {part}
        assert {(each.chance, each.chance_low, each.chance_high) for each in entries} == {
            (0.5,) * 3
        }
        counts = [each.value * 90 for each in entries]  # 45 of either kind
        assert counts == pytest.approx([round(count) for count in counts])
        mean = sum(each.value for each in entries) / len(entries)
        assert mean == pytest.approx(0.5, abs=3 * (0.25 / 90 / 12) ** 0.5)


def test_the_draw_of_real_and_fake_follows_the_seed() -> None:
    space = row_space(normal(1, 6, seed=3))
    kinds = normal(60, 6, seed=1), normal(50, 6, seed=2)
    one, two, other = (
        of_real_and_fake(space, *kinds, seed=seed, group=group)
        for seed, group in ((0, "all"), (0, "other"), (1, "all"))
    )
    assert [each.value for each in one] == [each.value for each in two]
    assert [each.value for each in one] != [each.value for each in other]
    assert {each.group for each in two} == {"other"}
    assert of_real_and_fake(space, kinds[0], kinds[1][:9], seed=0) == []


def test_a_part_that_rounding_leaves_is_read_by_no_probe() -> None:
    """Standardised, the rounding of f - f_r would tell real from generated images."""
    weight = normal(3, 40, seed=3)
    space = row_space(weight)
    real, generated = (
        space.split(normal(400, 40, seed=k) + shift)[0] for k, shift in ((1, 0.0), (2, 5.0))
    )
    assert float(part_of(space, real, "null").abs().max()) == 0
    entries = {each.part: each for each in of_real_and_fake(space, real, generated, seed=0)[:3]}
    assert entries["row"].value > 0.9
    assert entries["null"].value == 0.5


def test_a_report_of_before_says_that_real_and_fake_were_not_probed() -> None:
    report = discriminator(normal(60, 8, seed=1), normal(60, 8, seed=2) + 1)
    old = [each for each in report.entries if not each.quantity.startswith("real_fake")]
    (line,) = [each for each in verdicts(old) if each.claim == "Theorem 1"]
    assert line.verdict == "undecided"
    assert "not measured" in line.statement


# --- noise


def test_noise_shares_are_raw_and_about_their_mean() -> None:
    """A shift along the head with scatter elsewhere: nearly all of it raw, nothing centred."""
    f = normal(N, 20, seed=1)
    rest = 0.5 * normal(N, 20, seed=2)
    rest[:, 0] = 0
    shift = torch.zeros(20, dtype=torch.float64)
    shift[0] = 5
    report = discriminator(f, f + 1, noisy={"gaussian 1": f + shift + rest, "shift": f + shift})
    energy = 25 + 0.25 * 19
    raw, centred, moved = (
        report.value(quantity, part, "gaussian 1")
        for quantity, part in (
            ("noise_share", "row"),
            ("noise_share_centred", "row"),
            ("noise_shift", "full"),
        )
    )
    assert raw == pytest.approx(25 / energy, abs=0.01)
    assert centred == pytest.approx(0, abs=1e-12)
    assert moved == pytest.approx(25 / energy, abs=0.01)
    statement = next(each.statement for each in report.claims if each.group == "gaussian 1")
    assert "; 84% of it moves all images alike, of the rest 0 (0 to 0) of it does" in statement
    # A pure shift has nothing about its mean but rounding.
    assert report.value("noise_share", "row", "shift") == pytest.approx(1)
    assert report.find("noise_share_centred", "row", "shift") is None
    assert report.value("noise_shift", "full", "shift") == pytest.approx(1)


def test_noise_of_real_and_fake_is_raw_and_about_its_mean() -> None:
    real, generated = normal(700, 6, seed=1), 2 * normal(500, 6, seed=2) + 3
    report = discriminator(real, generated)
    apart = (real.mean(0) - generated.mean(0)).square()
    spread = real.var(0, correction=0) + generated.var(0, correction=0)
    for quantity, energies in (("noise_share", spread + apart), ("noise_share_centred", spread)):
        entry = report.find(quantity, "row", "real-fake")
        assert entry is not None
        assert entry.value == pytest.approx(float(energies[0] / energies.sum()))
        assert entry.low < entry.value < entry.high
        assert entry.chance_low < 1 / 6 < entry.chance_high
    shift = report.value("noise_shift", "full", "real-fake")
    assert shift == pytest.approx(float(apart.sum() / (apart + spread).sum()))


def test_the_terminal_has_noise_raw_beside_centred_and_what_is_reported() -> None:
    f = normal(300, 8, seed=1)
    shift = torch.full((8,), 3.0, dtype=torch.float64)
    noisy = {"gaussian 1": f + shift + normal(300, 8, seed=3)}
    report = discriminator(f, normal(300, 8, seed=2) + 1, noisy=noisy)
    _, noise, claims = Nullspace(Config()).report_all([report])
    assert isinstance(noise, TextTable)
    assert isinstance(claims, TextTable)
    assert noise.columns == ("noise", "share", "chance", "centred", "chance", "shift of all")
    rows = {str(row[0]): row for row in noise.rows}
    assert list(rows) == ["real-fake", "gaussian 1"]
    for cell, quantity in ((1, "noise_share"), (3, "noise_share_centred")):
        value = report.value(quantity, "row", "gaussian 1")
        assert str(rows["gaussian 1"][cell]).startswith(f"{value:.3f} (")
    assert rows["gaussian 1"][5] == f"{report.value('noise_shift', 'full', 'gaussian 1'):.3f}"
    said = {(row[0], row[1]): row[3:] for row in claims.rows}
    assert "noise" not in {claim for claim, _ in said}  # has a table of its own
    assert said["Theorem 1", "real fake probe, null"][0] == "below 0.550"
    bound, _, verdict = said["gap in row space", "gap, row"]
    assert str(bound).startswith("beside ")
    assert verdict == "reported"


# --- Corollary 4


def test_the_contrast_is_with_random_directions() -> None:
    """A head that avoids the classes reads less than random directions, one along them more."""
    n, d = 300, 16
    labels = torch.arange(n) % 10
    centres = normal(10, d, seed=4)
    centres[:, 0], centres[:, 1] = 0, 3 * torch.arange(10)
    f, held = (normal(n, d, seed=k) + centres[labels] for k in (1, 2))
    for place, outcome in ((0, "supported"), (1, "not supported")):
        weight = torch.eye(d, dtype=torch.float64)[place : place + 1]
        arrays = {"test_features": held, "test_labels": labels, "generated": f + 1}
        report = null_space(f, weight, labels=labels, **arrays, **FEW)
        found = said(report, "classes in null space")
        assert found["probe_difference", "row - random"].verdict == outcome
        assert found["probe", "row"].verdict == "reported"  # without a network before training
        assert found["probe_difference", "full - null"].verdict == "reported"
        contrast = report.find("probe_difference", "row - random", "clean")
        assert contrast is not None
        assert contrast.low < contrast.value < contrast.high


def test_a_random_head_reads_as_much_as_random_directions() -> None:
    labels = torch.arange(300) % 5
    centres = 2 * normal(5, 30, seed=4)
    known = Known(*(Labelled(normal(300, 30, seed=k) + centres[labels], labels) for k in (1, 2)))
    leads = []
    for seed in range(2):
        entries = of_classes(row_space(normal(1, 30, seed=seed)), known, {}, seed=0)
        (contrast,) = [each for each in entries if each.part == "row - random"]
        leads.append(contrast.value)
        assert contrast.low < 0 < contrast.high
    assert leads[0] != leads[1]


def test_the_row_space_is_held_against_the_untrained_network() -> None:
    labels = torch.arange(500) % 4
    centres = torch.zeros(4, 12, dtype=torch.float64)
    centres[:, 1:] = 2 * normal(4, 11, seed=4)
    f, held = (normal(500, 12, seed=k) + centres[labels] for k in (1, 2))
    arrays = {"labels": labels, "test_features": held, "test_labels": labels, **FEW}
    blind, seeing = (
        null_space(f, torch.eye(12, dtype=torch.float64)[k : k + 1], **arrays) for k in (0, 1)
    )
    for one, before, outcome in ((blind, seeing, "supported"), (seeing, blind, "not supported")):
        line = said(judged(one, before), "classes in null space")["probe", "row"]
        assert (line.verdict, line.side) == (outcome, "below")
        assert "the untrained network's" in line.statement


def test_the_row_share_stands_beside_that_of_features_without_direction() -> None:
    report = discriminator(normal(500, 16, seed=1), normal(500, 16, seed=2))
    line = said(report, "constant ratio")["energy_centred", "row"]
    assert (line.against, line.verdict) == (1 / 16, "reported")
    assert "beside 0.0625 of features without direction" in line.statement


# --- Theorems 2 and 3


def classifier(along_ones: float, across: float) -> NullSpaceReport:
    """Ten classes apart in the row space; scatter within them along f_r1, and across it."""
    weight, labels = normal(10, 64, seed=5), torch.arange(N) % 10
    space = row_space(weight)
    ones = all_ones(weight, space).direction
    ones = ones / ones.norm()
    row, null = space.split(normal(N, 64, seed=1))
    centre_row, centre_null = space.split(3 * normal(10, 64, seed=2))
    rest = row - (row @ ones)[:, None] * ones
    f = (centre_row + centre_null)[labels] + null
    f = f + along_ones * normal(N, 1, seed=6) * ones + across * rest
    return null_space(f, weight, test_features=f, generated=f, generated_labels=labels, **FEW)


@pytest.mark.parametrize(
    ("along_ones", "across", "outcome"),
    [(9.0, 0.1, "supported"), (0.1, 0.1, "supported"), (0.0, 2.0, "not supported")],
)
def test_classes_are_compact_but_for_the_all_ones_direction(
    along_ones: float, across: float, outcome: str
) -> None:
    """The theorems bound the scatter across f_r1, and say nothing of the scatter along it."""
    report = classifier(along_ones, across)
    found = said(report, "Theorems 2-3")
    line = found["scatter_quotient", "row without ones / null"]
    assert (line.verdict, line.against, line.group) == (outcome, 0.5, "generated")
    ratios = [
        report.value("scatter_ratio", part, "generated") for part in ("row without ones", "null")
    ]
    assert line.value == pytest.approx(ratios[0] / ratios[1])
    assert found["ones_share", "row"].verdict == "reported"


@pytest.mark.parametrize("varied", [True, False])
def test_a_classifier_is_judged_on_its_generators_or_not_at_all(varied: bool) -> None:
    """Digits do not stand in for the classes of generators that all make one image."""
    y = torch.arange(200) % 4
    real, weight = normal(200, 12, seed=1) + 5 * torch.eye(12)[y], torch.eye(4, 12).double()
    made = normal(80, 12, seed=2) if varied else torch.ones(80, 12, dtype=torch.float64)
    kinds = {"generated": made, "generated_labels": torch.arange(80) % 4}
    report = null_space(real, weight, labels=y, **kinds, **FEW)
    decided = ("scatter_log_ratio", "scatter_quotient")
    lines = [each for each in report.claims if each.quantity in decided]
    assert {each.group for each in lines} == {"generated"}
    assert len(lines) == 2
    if not varied:
        assert [each.verdict for each in lines] == ["undecided"] * 2
        assert "do not differ" in lines[0].statement


# --- the discriminator that was trained


def called(real: float, generated: float) -> list[NullSpaceEntry]:
    """Entries of a discriminator whose calls are so far from those of training."""
    return [
        number(quantity, "full", value, group, low=value - 0.01, high=value + 0.01)
        for group, difference in (("all", real), ("generated", generated))
        for quantity, value in (
            ("called_real", 0.5 + difference),
            ("called_real_by_batch", 0.5),
            ("called_real_difference", difference),
        )
    ]


@pytest.mark.parametrize(
    ("apart", "outcomes"),
    [
        ((0.03, -0.03), ("supported", "supported")),
        ((0.0, -0.1), ("supported", "not supported")),
        ((-0.045, 0.0), ("undecided", "supported")),
    ],
)
def test_what_hangs_on_another_discriminator_than_the_trained_is_undecided(
    apart: tuple[float, float], outcomes: tuple[str, str]
) -> None:
    entries = [
        number("logit_sd", "row", 1.0),
        number("real_fake_probe", "null", 0.51, low=0.5, high=0.52),
        number("alpha_cv", "row", 1.0),
    ]
    before = verdicts(entries)
    found = verdicts([*entries, *called(*apart)])
    assert [each.verdict for each in found if each.claim == "as trained"] == [*outcomes]
    rest = [each for each in found if each.claim != "as trained"]
    if set(outcomes) == {"supported"}:
        assert rest == before
        return
    assert [each.verdict for each in before] == ["supported", "reported"]
    assert [each.verdict for each in rest] == ["undecided", "reported"]
    assert all("not the discriminator that was trained" in each.statement for each in rest)
