"""Statistics of a head's split: references, closed forms, intervals, chance, entries, verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from checked_shapes import WrongShapeError
from sample_results import blank, number
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.measures import cka
from repsim.nullspace import (
    all_ones,
    chance,
    measure,
    random_subspaces,
    resampling,
    row_space,
    scatter,
    subspace,
)
from repsim.nullspace import statistics as of
from repsim.nullspace.chance import affordable, by_chance, cost_of
from repsim.nullspace.population import Population
from repsim.nullspace.resampling import Moments, resampled, weights
from repsim.nullspace.scatter import Forms, on_subspaces
from repsim.nullspace.sides import split
from repsim.nullspace.verdicts import verdicts
from repsim.results import NullSpaceEntry, Verdict
from repsim.training.mode_collapse import alpha

NUMBERS = ("value", "low", "high", "chance", "chance_low", "chance_high")


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def classes(n: int, count: int) -> Tensor:
    return torch.arange(n) % count


def found(
    entries: list[NullSpaceEntry], quantity: str, part: str = "row", group: str = "all"
) -> NullSpaceEntry:
    (entry,) = [e for e in entries if (e.quantity, e.part, e.group) == (quantity, part, group)]
    return entry


def names(entries: list[NullSpaceEntry]) -> set[tuple[str, str, str]]:
    return {(e.quantity, e.part, e.group) for e in entries}


# --- subspaces


def test_random_subspaces_are_orthonormal_and_uniform() -> None:
    bases = torch.cat([*random_subspaces(6, 2, 2000, 0)])
    assert bases.shape == (2000, 6, 2)
    assert torch.allclose(bases.mT @ bases, torch.eye(2, dtype=torch.float64).expand(2000, 2, 2))
    # E BBᵀ = r/d I; an entry has a standard deviation of at most 0.3, its mean of 0.3/√2000.
    expected = torch.eye(6, dtype=torch.float64) / 3
    assert torch.allclose((bases @ bases.mT).mean(0), expected, atol=5 * 0.3 / 2000**0.5)
    # Uniform among the bases of a subspace too: no entry has a preferred sign.
    assert float(bases.mean(0).abs().max()) < 5 * 0.41 / 2000**0.5


def test_random_subspaces_lie_inside_another() -> None:
    space = row_space(normal(4, 9))
    for inside, other in (
        (space.basis, space.complement()),
        (space.complement(), space.basis),
    ):
        bases = torch.cat([*random_subspaces(9, 3, 50, 1, inside)])
        assert float((other.T @ bases).abs().max()) < 1e-12
        gram = bases.mT @ bases
        assert torch.allclose(gram, torch.eye(3, dtype=torch.float64).expand(50, 3, 3))


def test_random_subspaces_come_in_bounded_blocks_that_do_not_change_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at_once = torch.cat([*random_subspaces(8, 2, 30, 3)])
    monkeypatch.setattr(subspace, "BLOCK", 7 * 16)
    blocks = [*random_subspaces(8, 2, 30, 3)]
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 2]
    assert torch.equal(torch.cat(blocks), at_once)
    assert [len(block) for block in random_subspaces(8, 8, 2, 3)] == [1, 1]
    assert not torch.equal(next(iter(random_subspaces(8, 2, 30, 4))), at_once[:7])


def test_draws_are_as_many_as_they_may_cost() -> None:
    assert affordable(1000, 1e6) == 1000
    assert affordable(1000, chance.BUDGET / 100) == 100
    assert affordable(1000, 1e15) == chance.FEWEST_DRAWS
    assert affordable(5, 1e15) == 5
    wide = [Population.of(normal(40, 30), classes(40, 2))]
    assert cost_of(wide, 10) > cost_of(wide, 1) > 0


@pytest.mark.parametrize(("out", "d", "rank"), [(3, 12, 3), (20, 6, 6), (8, 8, 8), (6, 12, 2)])
def test_the_all_ones_direction_is_that_of_the_pseudo_inverse(out: int, d: int, rank: int) -> None:
    weight = normal(out, rank, seed=1) @ normal(rank, d, seed=2)
    ones = all_ones(weight, row_space(weight))
    expected = torch.linalg.pinv(weight, rtol=1e-10) @ torch.ones(out, dtype=torch.float64)
    assert torch.allclose(ones.direction, expected, atol=1e-10)
    residual = float((weight @ expected - 1).norm()) / out**0.5
    assert ones.residual == pytest.approx(residual, abs=1e-10)
    if rank == out:
        assert ones.residual < 1e-10


@pytest.mark.parametrize("weight", [torch.zeros(3, 5), torch.tensor([[1.0, 2.0], [-1.0, -2.0]])])
def test_no_direction_gives_ones_where_their_sum_never_moves(weight: Tensor) -> None:
    ones = all_ones(weight, row_space(weight))
    assert (float(ones.direction.norm()), ones.residual) == (0.0, 1.0)
    assert not {"ones_share", "lambda"} & {
        e.quantity for e in measure(normal(20, weight.shape[1]), weight, labels=classes(20, 2))
    }


def test_shapes_are_checked_in_every_module_of_the_package() -> None:
    for call in (
        lambda: all_ones(normal(3), row_space(normal(3, 4))),
        lambda: Population.of(normal(3)),
        lambda: of.interval(normal(3, 2)),
        lambda: chance.over([], 3),  # type: ignore[arg-type]
    ):
        with pytest.raises(WrongShapeError):
            call()


# --- every form and statistic, from loops over examples and projectors


def reference(f: Tensor, labels: Tensor, projector: Tensor) -> dict[str, Tensor]:
    """Each statistic as it is written, on the part of the space that a projector leaves."""
    part, mean = f @ projector, (f @ projector).mean(0)
    whole_mean = f.mean(0)
    within = between = whole_within = whole_between = torch.tensor(0.0, dtype=torch.float64)
    for label in labels.unique():
        rows = f[labels == label]
        centre = rows.mean(0)
        for row in rows:
            outer = torch.outer(row - centre, row - centre)
            within = within + torch.trace(projector @ outer @ projector)
            whole_within = whole_within + torch.trace(outer)
        outer = len(rows) * torch.outer(centre - whole_mean, centre - whole_mean)
        between = between + torch.trace(projector @ outer @ projector)
        whole_between = whole_between + torch.trace(outer)
    spread = sum(float((row - mean).square().sum()) for row in part)
    whole_spread = sum(float((row - whole_mean).square().sum()) for row in f)
    return {
        "energy": part.square().sum() / f.square().sum(),
        "energy_centred": torch.tensor(spread / whole_spread, dtype=torch.float64),
        "constancy": part.std(0).norm() / mean.norm(),
        "scatter_ratio": within / between,
        "displacement_share": between / whole_between,
        "within_scatter": within / len(f),
    }


STATISTICS: dict[str, Callable[..., Tensor]] = {
    "energy": of.energy,
    "energy_centred": of.energy_centred,
    "constancy": of.constancy,
    "scatter_ratio": of.scatter_ratio,
    "displacement_share": of.displacement_share,
    "within_scatter": of.within_scatter,
}

N, D, R = 37, 6, 2
F = normal(N, D) * torch.tensor([3.0, 1, 1, 0.5, 2, 1]) + normal(3, D, seed=1)[classes(N, 3)] + 2
LABELS = classes(N, 3)
SPACE = row_space(normal(R, D, seed=2))
EYE = torch.eye(D, dtype=torch.float64)
PROJECTORS = {
    "row": SPACE.basis @ SPACE.basis.T,
    "null": EYE - SPACE.basis @ SPACE.basis.T,
    "full": EYE,
}


@pytest.mark.parametrize("part", PROJECTORS)
def test_statistics_are_what_loops_over_examples_give(part: str) -> None:
    parts, _ = split(Population.of(F, LABELS), SPACE, 0, [0])
    for name, expected in reference(F, LABELS, PROJECTORS[part]).items():
        (value,) = STATISTICS[name](parts, part)
        assert float(value) == pytest.approx(float(expected), rel=1e-10), name


@pytest.mark.parametrize("part", PROJECTORS)
def test_a_resample_is_the_statistic_of_the_examples_drawn(part: str) -> None:
    population = Population.of(F, LABELS)
    parts, _ = split(population, SPACE, 4, [5])
    drawn = [torch.cat([*weights(n, 4, [5, i])]) for i, n in enumerate(population.counts)]
    times = torch.cat(drawn, 1).long()  # (5, N), in the order of the strata
    assert times.shape == (5, N)
    assert bool((times[0] == 1).all())
    for case, times_of in enumerate(times):
        chosen = population.order.repeat_interleave(times_of)
        assert LABELS[chosen].bincount().tolist() == LABELS.bincount().tolist()
        for name, expected in reference(F[chosen], LABELS[chosen], PROJECTORS[part]).items():
            value = float(STATISTICS[name](parts, part)[case])
            assert value == pytest.approx(float(expected), rel=1e-10), name


@pytest.mark.parametrize("part", PROJECTORS)
def test_random_subspaces_have_the_statistics_of_their_projectors(part: str) -> None:
    population = Population.of(F, LABELS)
    (bases,) = random_subspaces(D, R, 3, 0)
    drawn, _ = on_subspaces(population.condensed(), bases)
    parts = by_chance(resampled(population, 0, [0])[0], drawn)
    for case, basis in enumerate(bases):
        row = basis @ basis.T
        projector = {"row": row, "null": EYE - row, "full": EYE}[part]
        for name, expected in reference(F, LABELS, projector).items():
            values = STATISTICS[name](parts, part)
            value = float(values[case if len(values) > 1 else 0])
            assert value == pytest.approx(float(expected), rel=1e-10), name


def test_blocks_of_subspaces_and_of_resamples_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    population = Population.of(F, LABELS)
    (bases,) = random_subspaces(D, R, 20, 0)
    wanted = on_subspaces(population.condensed(), bases), resampled(population, 20, [1])
    for module in (resampling, scatter):
        monkeypatch.setattr(module, "BLOCK", 60)
    for (one, one_mean), (other, other_mean) in zip(
        wanted,
        (on_subspaces(population.condensed(), bases), resampled(population, 20, [1])),
        strict=True,
    ):
        assert torch.allclose(one_mean, other_mean)
        for name in ("within", "means", "between", "mean"):
            assert torch.allclose(getattr(one, name), getattr(other, name)), name


def test_a_condensed_population_has_the_scatter_of_the_whole_one() -> None:
    population = Population.of(F, torch.tensor([0] * 30 + [1] * 7).roll(3))
    short = population.condensed()
    assert len(short.residuals) == 12
    parts = zip(
        population.residuals.split(population.counts), short.residuals.split(6), strict=True
    )
    for rows, few in parts:
        assert torch.allclose(rows.T @ rows, few.T @ few)


@pytest.mark.parametrize("part", PROJECTORS)
def test_the_gap_and_the_energy_of_differences_are_those_of_loops(part: str) -> None:
    generated = normal(21, D, seed=7) + 1
    entries = measure(F, normal(R, D, seed=2), generated=generated, draws=20, resamples=5)
    projector = PROJECTORS[part]
    moved = projector @ (F.mean(0) - generated.mean(0))
    spread = sum(
        float((projector @ (row - rows.mean(0))).square().sum())
        for rows in (F, generated)
        for row in rows
    )
    expected = float(moved.norm()) / math.sqrt(spread / (N + 21 - 2))
    assert found(entries, "gap", part).value == pytest.approx(expected, rel=1e-10)
    if part != "full":
        differences = torch.stack([g - f for g in generated for f in F])
        share = (differences @ projector).square().sum() / differences.square().sum()
        value = found(entries, "noise_share", part, "real-fake").value
        assert value == pytest.approx(float(share), rel=1e-10)


def test_along_f_r1_statistics_are_those_of_loops() -> None:
    weight = normal(4, D, seed=3)
    entries = measure(F, weight, labels=LABELS, draws=20, resamples=5)
    ones = torch.linalg.pinv(weight) @ torch.ones(4, dtype=torch.float64)
    row = torch.linalg.pinv(weight) @ weight
    along = torch.outer(ones, ones) / ones.square().sum()
    share, rest = reference(F, LABELS, along), reference(F, LABELS, row - along)
    whole = reference(F, LABELS, row)
    expected = float(share["within_scatter"] / whole["within_scatter"])
    assert found(entries, "ones_share").value == pytest.approx(expected, rel=1e-10)
    for name in ("within_scatter", "scatter_ratio"):
        for part, values in (("row", whole), ("row without ones", rest)):
            value = found(entries, name, part).value
            assert value == pytest.approx(float(values[name]), rel=1e-9), (name, part)
    for group, chosen in (("all", F), ("class 2", F[LABELS == 2])):
        coefficients = chosen @ ones / ones.square().sum()
        assert torch.allclose(of.coefficients(chosen.float(), ones).float(), coefficients.float())
        value = found(entries, "lambda", "row", group).value
        assert value == pytest.approx(float(coefficients.mean()), rel=1e-10)
        deviation = found(entries, "lambda_sd", "row", group).value
        assert deviation == pytest.approx(float(coefficients.std(correction=0)), rel=1e-10)
    assert found(entries, "ones_residual").value < 1e-10


@pytest.mark.parametrize("group", ["class 0", "generated", "generated class 1"])
def test_a_group_has_the_entries_of_its_examples_alone(group: str) -> None:
    weight, generated, kinds = normal(2, D, seed=2), normal(30, D, seed=9) + 1, classes(30, 2)
    entries = measure(
        F, weight, labels=LABELS, generated=generated, generated_labels=kinds, draws=200
    )
    chosen = {
        "class 0": F[LABELS == 0],
        "generated": generated,
        "generated class 1": generated[kinds == 1],
    }[group]
    alone = measure(chosen, weight, draws=200)
    for quantity, part in (("energy", "null"), ("energy_centred", "row"), ("constancy", "row")):
        mine, its = found(entries, quantity, part, group), found(alone, quantity, part)
        for end in ("value", "chance", "chance_low", "chance_high"):  # the same subspaces
            assert getattr(mine, end) == pytest.approx(getattr(its, end), rel=1e-9), (
                quantity,
                number,
            )
        assert mine.low < mine.value < mine.high


# --- closed forms


def test_isotropic_features_have_the_values_of_chance() -> None:
    f, y = normal(4000, 16, seed=3), classes(4000, 4)
    f = f + 0.5 * normal(4, 16, seed=4)[y] + 3 * normal(1, 16, seed=5)
    noisy = {"gaussian": f + normal(4000, 16, seed=6)}
    weight = normal(4, 16, seed=8)
    entries = measure(f, weight, labels=y, generated=f, noisy=noisy, draws=300)
    for e in entries:  # of a random head, none is far outside: 2 of 100 would be anyway
        if math.isfinite(e.chance) and e.quantity != "gap":
            width = e.chance_high - e.chance_low + e.high - e.low
            assert e.chance_low - width < e.value < e.chance_high + width, e
    assert found(entries, "noise_share", "row", "gaussian").value == pytest.approx(1 / 4, abs=0.01)
    assert found(entries, "noise_share", "null", "gaussian").chance == pytest.approx(
        3 / 4, abs=0.01
    )
    assert found(entries, "ones_share").chance == pytest.approx(1 / 4, abs=0.01)
    for group in ("all", "class 0"):
        both = [found(entries, "energy", part, group).value for part in ("row", "null")]
        assert sum(both) == pytest.approx(1, abs=1e-12)


def test_a_constant_row_part_is_constant() -> None:
    weight = normal(1, 20)
    row, null = row_space(weight).split(normal(1000, 20, seed=1))
    f = null + 5 * row_space(weight).basis[:, 0] + 0.01 * row
    constancy = found(measure(f, weight), "constancy")
    assert constancy.value == pytest.approx(0.01 / 5, rel=0.1)
    assert constancy.low < constancy.value < constancy.high < constancy.chance_low
    lines = [v for v in verdicts(measure(f, weight)) if v.claim == "constant ratio"]
    assert [v.quantity for v in lines] == ["energy_centred", "constancy", "alpha_cv"]
    assert {v.verdict for v in lines} == {
        "reported"
    }  # it holds at an optimum, which is not reached


def test_a_planted_gap_is_found_in_its_part() -> None:
    weight = normal(1, 20)
    basis = row_space(weight).basis[:, 0]
    other = row_space(weight).complement()[:, 0]
    for direction, part in ((basis, "row"), (other, "null")):
        generated = normal(900, 20, seed=2) + 1.5 * direction
        entries = measure(normal(1100, 20, seed=1), weight, generated=generated)
        gap = found(entries, "gap", part)
        scale = 1 if part == "row" else 19**0.5
        assert gap.value == pytest.approx(1.5 / scale, abs=0.15)
        (verdict,) = [v for v in verdicts(entries) if v.claim == "gap in row space"]
        assert (verdict.value > verdict.against) == (part == "row")
        if part == "row":  # random directions of the whole space would have some of that gap
            assert gap.chance_high < 0.15
    # Cohen's d of the projections
    entries = measure(normal(50, 4), normal(1, 4), generated=normal(60, 4, seed=1) + 1)
    a, b = ((f @ normal(1, 4)[0]).numpy() for f in (normal(50, 4), normal(60, 4, seed=1) + 1))
    pooled = math.sqrt((49 * a.var(ddof=1) + 59 * b.var(ddof=1)) / 108)
    assert found(entries, "gap").value == pytest.approx(abs(a.mean() - b.mean()) / pooled)


def test_planted_noise_is_found_in_its_part() -> None:
    weight, y = normal(1, 20), classes(500, 5)
    f = normal(500, 20, seed=1) + 2 * normal(5, 20, seed=2)[y]
    row, null = row_space(weight).split(normal(500, 20, seed=3))
    noisy = {"row": f + 3 * row, "null": f + null, "both": f + row + null, "none": f}
    entries = measure(f, weight, labels=y, noisy=noisy)
    shares = {name: found(entries, "noise_share", "row", name) for name in ("row", "null", "both")}
    assert shares["row"].value == pytest.approx(1, abs=1e-10)
    assert shares["null"].value == pytest.approx(0, abs=1e-10)
    assert shares["both"].low < 1 / 20 < shares["both"].high
    assert ("noise_share", "row", "none") not in names(entries)  # nothing moved: 0 / 0
    said = {v.group: v for v in verdicts(entries) if v.claim == "noise"}
    assert said["row"].value > said["row"].against > said["null"].value


def test_lambda_is_recovered_exactly() -> None:
    weight, y = normal(5, 24), classes(300, 5)
    ones = all_ones(weight, row_space(weight)).direction
    coefficients, means = normal(300, seed=1) + 2, normal(5, 24, seed=2)
    _, null = row_space(weight).split(normal(300, 24, seed=3))
    f = means[y] + coefficients[:, None] * ones + null
    offsets = of.coefficients(means, ones)
    assert torch.allclose(of.coefficients(f, ones) - offsets[y], coefficients, atol=1e-10)
    entries = measure(f, weight, labels=y)
    share = found(entries, "ones_share")
    assert share.value == pytest.approx(1, abs=1e-12)
    assert share.chance < 0.5
    # Nothing is left of the scatter within classes, so that its ratio to anything is 0.
    assert found(entries, "within_scatter", "row without ones").value == 0.0
    deviation = float(coefficients[y == 2].std(correction=0))
    assert found(entries, "lambda_sd", "row", "class 2").value == pytest.approx(deviation)
    assert found(entries, "scatter_quotient", "row without ones / null").value == 0.0
    said = [v.verdict for v in verdicts(entries) if v.claim == "Theorems 2-3"]
    assert said == ["supported", "reported"]


def test_softmax_ignores_f_r1_and_no_other_direction_of_the_row_space() -> None:
    weight, f = normal(10, 64), normal(50, 64, seed=1)
    ones = all_ones(weight, row_space(weight)).direction
    other = row_space(weight).split(normal(1, 64, seed=2))[0][0]
    other = other - (other @ ones) / ones.square().sum() * ones
    other *= ones.norm() / other.norm()

    def moved(shift: Tensor) -> float:
        before, after = ((g @ weight.T).softmax(1) for g in (f, f + shift))
        return float((after - before).abs().max())

    assert moved(3 * ones) < 1e-12
    assert moved(3 * other) > 1e-3


def test_what_the_null_space_holds_moves_cka_and_no_logit() -> None:
    weight, f = normal(3, 32), normal(200, 32, seed=1)
    _, noise = row_space(weight).split(5 * normal(200, 32, seed=2))
    assert float((noise @ weight.T).abs().max()) < 1e-10
    assert cka(f, f + noise) < 0.8


# --- one logit


def test_alpha_is_that_of_training() -> None:
    weight, bias = normal(1, 12) / 4, torch.tensor([0.7])
    f = normal(400, 12, seed=1)
    entries = measure(f, weight, bias, generated=f + 1)
    for group, rows in (("all", f), ("generated", f + 1)):
        logits = rows @ weight.T + bias
        mean, cv = alpha(logits)
        assert found(entries, "alpha", "row", group).value == pytest.approx(mean)
        assert found(entries, "alpha_cv", "row", group).value == pytest.approx(cv)
        deviation = float(logits.std(correction=0))
        assert found(entries, "logit_sd", "row", group).value == pytest.approx(deviation)
    # A bias scales α and nothing else.
    plain = found(measure(f, weight), "alpha_cv")
    for end in NUMBERS:
        expected = pytest.approx(getattr(plain, end), rel=1e-9)
        assert getattr(found(entries, "alpha_cv"), end) == expected
    # Along random directions of the head's length, logits of white features spread like its own.
    spread = found(entries, "logit_sd")
    assert spread.chance == pytest.approx(float(weight.norm()), rel=0.05)
    assert spread.chance_low < spread.value < spread.chance_high


def test_logits_beyond_the_exponential_leave_out_what_is_beyond_float64() -> None:
    entries = measure(normal(60, 3), 2000 * normal(1, 3), labels=classes(60, 2))
    assert ("alpha", "row", "all") not in names(entries)
    assert math.isfinite(found(entries, "alpha_cv").value)
    assert found(entries, "logit_sd").value > 500


def test_moments_of_resamples_are_those_of_the_numbers_drawn() -> None:
    values, counts = normal(20), (12, 8)
    moments = Moments.resampled(values, counts, 3, [2])
    times = torch.cat([torch.cat([*weights(n, 3, [2, i])]) for i, n in enumerate(counts)], 1).long()
    for case, times_of in enumerate(times):
        drawn = values.repeat_interleave(times_of)
        mean, deviation = moments.overall
        assert float(mean[case]) == pytest.approx(float(drawn.mean()))
        assert float(deviation[case]) == pytest.approx(float(drawn.std(correction=0)))
        part = drawn[12:]
        assert float(moments.only(1).overall[1][case]) == pytest.approx(
            float(part.std(correction=0))
        )


# --- intervals


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Share of variance, and log scatter ratio, of normal features, n = 200."""
    weight = torch.eye(1, 3, dtype=torch.float64)
    space, y = row_space(weight), classes(200, 2)
    scale, apart = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 0.0])
    rng = np.random.default_rng(0)
    trials, covered = 300, np.zeros(2)
    for trial in range(trials):
        f = torch.from_numpy(rng.normal(size=(200, 3))) * scale
        parts, _ = split(Population.of(f + y[:, None] * apart, y), space, 200, [trial])
        # Σ n_g |m_g - m|² is n/4 of the squared distance, and grows by its noise, here 1/50 of it.
        truths = (1.25 / (1.25 + 4 + 1 + 1), math.log((1 / 0.25) / (5 / 1)))
        for k, cases in enumerate((of.energy_centred(parts, "row"), of.scatter_log_ratio(parts))):
            _, low, high = of.interval(cases)
            covered[k] += low <= truths[k] <= high
    # 0.95 ± 3 standard errors of 300 trials, and 0.01 for n being finite.
    assert (np.abs(covered / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials) + 0.01).all()


def test_an_interval_of_a_gap_reaches_zero_where_there_is_none() -> None:
    """One direction, no difference: the percentiles themselves never reach 0."""
    reached, trials, rng = 0, 300, np.random.default_rng(1)
    for trial in range(trials):
        sides = [
            resampled(Population.of(torch.from_numpy(rng.normal(size=(80, 1)))), 200, [trial, k])
            for k in range(2)
        ]
        (a, mean_a), (b, mean_b) = sides
        _, low, _ = of.interval(of.gap(a, b, (mean_a - mean_b).square().sum(1)), "square")
        reached += low == 0
    assert abs(reached / trials - 0.95) < 3 * math.sqrt(0.95 * 0.05 / trials) + 0.02


def test_an_interval_agrees_with_scipys() -> None:
    f, space = normal(300, 4) * torch.tensor([2.0, 1, 1, 3]) + 1, row_space(normal(2, 4, seed=1))
    parts, _ = split(Population.of(f), space, 4000, [0])
    _, low, high = of.interval(of.energy(parts, "row"))
    row = space.split(f)[0].square().sum(1).numpy()
    result = scipy.stats.bootstrap(
        (row, f.square().sum(1).numpy()),
        lambda x, y, axis: x.sum(axis) / y.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    # An end of 4000 resamples has a standard error of about 0.011 of the width.
    for mine, its in ((low, result.low), (high, result.high)):
        assert mine == pytest.approx(its, abs=0.05 * (high - low))


def test_resampling_keeps_classes_as_large_as_they_are() -> None:
    """Class means far apart add nothing to the spread of the mean of all."""
    f = torch.cat([torch.zeros(50, 1), 1000 * torch.ones(50, 1)]).double() + normal(100, 1)
    _, mean = resampled(Population.of(f, torch.arange(100) // 50), 300, [0])
    assert float(mean.std()) == pytest.approx(0.1, rel=0.3)
    _, mean = resampled(Population.of(f), 300, [0])
    assert float(mean.std()) == pytest.approx(50, rel=0.3)


@pytest.mark.parametrize(
    ("cases", "scale", "expected"),
    [
        ([1, 2, 2, 3, 3], "plain", (1.0, 0.5, 1.5)),  # moved down by 1.5, the mean's distance
        ([0, 1, 1, 2, 2], "log", (0.0, -0.5, 0.5)),  # no logarithm: as it is
        ([1, math.nan, 2, 2, 2], "plain", (1.0, 1.0, 1.0)),
        ([0.1, 1, 1, 1, 1.1], "square", (0.1, 0.0, None)),
    ],
)
def test_an_interval_is_moved_onto_its_value(cases: Any, scale: str, expected: Any) -> None:
    value, low, high = of.interval(torch.tensor(cases, dtype=torch.float64), scale)
    assert value == expected[0]
    assert low == pytest.approx(expected[1], abs=0.03)
    assert expected[2] is None or high == pytest.approx(expected[2], abs=0.03)


def test_resamples_far_from_all_others_leave_no_interval() -> None:
    """Moved by their mean, an interval would not hold its value."""
    rest = torch.cat([torch.full((99,), 1e-13), torch.full((1,), -5.0)]).double()
    cases = torch.cat([torch.zeros(1, dtype=torch.float64), rest])
    assert all(map(math.isnan, of.interval(cases)[1:]))
    same = torch.full((101,), 1 / 3, dtype=torch.float64)
    assert of.interval(same)[1:] == pytest.approx((1 / 3, 1 / 3))


def test_an_interval_needs_half_the_resamples() -> None:
    cases = torch.tensor([1, math.nan, math.nan, math.nan, 2, math.nan], dtype=torch.float64)
    assert of.interval(cases)[0] == 1
    assert all(map(math.isnan, of.interval(cases)[1:]))


# --- what leaves the entries as they are


def example(out: int = 4, d: int = 12, n: int = 90) -> dict[str, Any]:
    y = classes(n, 3)
    f = normal(n, d, seed=1) + normal(3, d, seed=2)[y] + 1
    return {
        "features": f,
        "weight": normal(out, d, seed=3),
        "labels": y,
        "generated": normal(70, d, seed=4) + 2,
        "generated_labels": classes(70, 2),
        "noisy": {"gaussian 0.25": f + 0.25 * normal(n, d, seed=5)},
        "draws": 40,
        "resamples": 40,
    }


@pytest.mark.parametrize("out", [1, 4])
def test_a_rotation_of_the_features_changes_no_value_and_no_interval(out: int) -> None:
    given = example(out)
    q = torch.linalg.qr(normal(12, 12, seed=6)).Q
    turned = dict(given, noisy={"gaussian 0.25": given["noisy"]["gaussian 0.25"] @ q})
    turned |= {key: given[key] @ q for key in ("features", "weight", "generated")}
    for one, other in zip(measure(**given), measure(**turned), strict=True):
        assert (one.quantity, one.part, one.group, one.note) == (
            other.quantity,
            other.part,
            other.group,
            other.note,
        )
        for end in ("value", "low", "high"):
            expected = pytest.approx(getattr(other, end), rel=1e-8, abs=1e-10)
            assert getattr(one, end) == expected, one


@pytest.mark.parametrize("out", [1, 4])
def test_the_order_of_examples_changes_no_value_and_no_chance(out: int) -> None:
    given = example(out)
    order = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    shuffled = given | {key: given[key][order] for key in ("features", "labels")}
    shuffled["noisy"] = {"gaussian 0.25": given["noisy"]["gaussian 0.25"][order]}
    for one, other in zip(measure(**given), measure(**shuffled), strict=True):
        for end in ("value", "chance", "chance_low", "chance_high"):
            expected = pytest.approx(getattr(other, end), rel=1e-8, nan_ok=True)
            assert getattr(one, end) == expected, one


def test_the_scale_of_features_and_head_moves_what_has_a_unit() -> None:
    given = example(4)
    scaled = given | {key: 3 * given[key] for key in ("features", "generated")}
    scaled["noisy"] = {"gaussian 0.25": 3 * given["noisy"]["gaussian 0.25"]}
    units = {"within_scatter": 9, "lambda": 3, "lambda_sd": 3}
    for one, other in zip(measure(**given), measure(**scaled), strict=True):
        by = units.get(one.quantity, 1)
        for end in NUMBERS:
            assert by * getattr(one, end) == pytest.approx(
                getattr(other, end), rel=1e-8, abs=1e-12, nan_ok=True
            )


def test_a_seed_decides_intervals_and_chance() -> None:
    given = example()
    one, same, other = measure(**given), measure(**given), measure(**given, seed=1)
    assert blank(one) == blank(same)
    assert [e.value for e in one] == [e.value for e in other]
    for end in ("low", "chance_low"):
        ends = [getattr(found(each, "energy"), end) for each in (one, other)]
        assert ends[0] != ends[1]


def test_real_and_generated_images_are_drawn_apart() -> None:
    f = normal(60, 8)
    entries = measure(f, normal(2, 8, seed=1), generated=f, draws=30, resamples=40)
    real, generated = (found(entries, "energy", "row", group) for group in ("all", "generated"))
    assert real.value == generated.value
    assert real.low != generated.low


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arrays_and_single_precision_will_do(dtype: Any) -> None:
    given = {key: example()[key] for key in ("features", "weight", "labels")}
    arrays = {key: np.asarray(value) for key, value in given.items()}
    arrays |= {key: arrays[key].astype(dtype) for key in ("features", "weight")}
    sizes: dict[str, Any] = {"draws": 40, "resamples": 40}
    for one, other in zip(measure(**given, **sizes), measure(**arrays, **sizes), strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-4, abs=1e-6)


# --- heads and classes at the edge


@pytest.mark.parametrize(
    ("out", "d", "rank", "parts"),
    [
        (3, 12, 3, {"row", "null"}),
        (20, 6, 6, {"row"}),
        (6, 12, 2, {"row", "null"}),
        (4, 9, 0, {"null"}),
        (1, 16, 1, {"row", "null"}),
        (1, 1, 1, {"row"}),
        (3, 1, 1, {"row"}),
        (2, 3, 2, {"row", "null"}),
    ],
)
def test_heads_of_every_kind(out: int, d: int, rank: int, parts: set[str]) -> None:
    given = example(out, d)
    given["weight"] = normal(out, rank, seed=1) @ normal(rank, d, seed=2)
    entries = measure(**given)
    assert {e.part for e in entries if e.quantity == "energy"} == parts
    assert {e.part for e in entries if e.quantity == "noise_share"} == parts
    assert len(names(entries)) == len(entries)
    for e in entries:
        numbers = [getattr(e, end) for end in NUMBERS]
        assert all(isinstance(each, float) for each in numbers)
        assert math.isfinite(e.value)
        assert (not e.note) == all(map(math.isfinite, numbers)), e
        if "interval" not in e.note:
            assert e.low <= e.value + 1e-12, e
            assert e.value <= e.high + 1e-12, e
    assert (("logit_sd", "row", "all") in names(entries)) == (out == 1)
    assert (("ones_share", "row", "all") in names(entries)) == (rank > 1)
    assert (("scatter_log_ratio", "row - null", "all") in names(entries)) == (len(parts) == 2)
    if rank == 2 and d == 3:
        note = found(entries, "gap").note
        assert note == "no chance: the null space has fewer dimensions than the row space"
    if len(parts) == 1:
        where = "the whole space" if rank else "empty"
        (part,) = parts
        assert found(entries, "energy", part).note == f"no chance: the row space is {where}"
        assert found(entries, "energy", part).value == pytest.approx(1)
    assert verdicts(entries) or rank != out


def test_a_class_of_one_counts_among_all_and_has_no_entries_of_its_own() -> None:
    f, y = normal(61, 8), torch.tensor([0] * 30 + [1] * 26 + [7] * 4 + [9])
    entries = measure(f, normal(3, 8, seed=1), labels=y, draws=30, resamples=30)
    groups = {e.group for e in entries}
    assert groups == {"all", "class 0", "class 1"}
    expected = reference(f, y, torch.eye(8, dtype=torch.float64))["scatter_ratio"]
    assert found(entries, "scatter_ratio", "full").value == pytest.approx(float(expected))


def test_classes_of_one_example_each_leave_no_scatter() -> None:
    entries = measure(normal(9, 6), normal(2, 6, seed=1), labels=torch.arange(9), draws=30)
    assert found(entries, "scatter_ratio", "row").value == 0
    assert ("scatter_log_ratio", "row - null", "all") not in names(entries)
    assert ("ones_share", "row", "all") not in names(entries)


def test_without_classes_nothing_is_said_of_them() -> None:
    for labels in (None, torch.zeros(40, dtype=torch.int64)):
        entries = measure(normal(40, 6), normal(2, 6, seed=1), labels=labels, draws=30)
        assert {e.quantity for e in entries} == {
            "energy",
            "energy_centred",
            "constancy",
            "ones_residual",
            "lambda",
            "lambda_sd",
        }
        assert {e.group for e in entries} == {"all"}


def test_what_rounding_leaves_of_a_part_is_nothing() -> None:
    weight = normal(2, 8)
    row, null = row_space(weight).split(normal(50, 8, seed=1))
    for f, empty in ((row, "null"), (null, "row")):
        entries = measure(f, weight, labels=classes(50, 2), draws=30)
        assert found(entries, "energy", empty).value == 0
        assert not {("constancy", empty, "all"), ("scatter_ratio", empty, "all")} & names(entries)


def test_forms_of_a_complement_are_those_of_the_rest() -> None:
    population = Population.of(F, LABELS)
    whole, row = (resampled(part, 3, [0])[0] for part in (population, population.onto(SPACE.basis)))
    direct, _ = resampled(population.onto(SPACE.complement()), 3, [0])
    rest = whole.without(row)
    for name in ("within", "means", "between", "mean"):
        assert torch.allclose(getattr(rest, name), getattr(direct, name)), name
    assert isinstance(Forms.join([rest, direct]), Forms)


# --- verdicts


def made(
    quantity: str, part: str, group: str, value: float, half: float, **more: float
) -> NullSpaceEntry:
    return number(quantity, part, value, group, half, **more)


CHANCE = {"chance": 0.5, "chance_low": 0.4, "chance_high": 0.6}
LOGIT = made("logit_sd", "row", "all", 1, 0.1, **CHANCE)
CLASSES = made("displacement_share", "row", "all", 0.7, 0.05, **CHANCE)
LOST = ("probe_difference", "full - null", "clean")
QUOTIENT = ("scatter_quotient", "row without ones / null", "generated")
#: Which group has the generators, whose classes are the classifier's own.
OWN = made("ones_share", "row", "generated", 0.1, 0.01, **CHANCE)

#: Claim, its entry, others, and the values at which it is supported, not supported and undecided.
OUTCOMES: dict[
    str, tuple[str, tuple[str, str, str], list[NullSpaceEntry], tuple[float, float, float]]
] = {
    "contrast": (
        "classes in null space",
        ("probe_difference", "row - random", "clean"),
        [LOGIT],
        (-0.3, 0.3, 0.05),
    ),
    "null tells": ("Theorem 1", ("real_fake_probe", "null", "all"), [LOGIT], (0.44, 0.8, 0.6)),
    "row loses": (
        "Theorem 1",
        ("real_fake_difference", "full - row", "all"),
        [LOGIT],
        (-0.1, 0.2, 0.1),
    ),
    "scatter": (
        "scatter in row space",
        ("scatter_log_ratio", "row - null", "all"),
        [],
        (-1, 1, 0.05),
    ),
    "compact": ("Theorems 2-3", QUOTIENT, [OWN], (0.2, 0.7, 0.45)),
}

#: Entries that decide nothing, what they stand beside, and others.
REPORTED: dict[str, tuple[str, tuple[str, str, str], list[NullSpaceEntry], float]] = {
    "null loses": ("classes in null space", LOST, [LOGIT], 0.01),
    "row reads": ("classes in null space", ("probe", "row", "clean"), [LOGIT], 0.5 + 0.25 / 1.8),
    "gap": ("gap in row space", ("gap", "row", "all"), [LOGIT], 0.6),
    "constancy": ("constant ratio", ("constancy", "row", "all"), [LOGIT], 0.4),
    "alpha": ("constant ratio", ("alpha_cv", "row", "all"), [LOGIT], 0.4),
    "share": ("constant ratio", ("energy_centred", "row", "all"), [LOGIT], 0.125),
    "noise": ("noise", ("noise_share", "row", "real-fake"), [LOGIT], 0.6),
    "noise beside classes": ("noise", ("noise_share", "row", "gaussian 1"), [LOGIT, CLASSES], 0.6),
    "ones": ("Theorems 2-3", ("ones_share", "row", "all"), [], 0.6),
}


@pytest.mark.parametrize("name", REPORTED)
@pytest.mark.parametrize("value", [-9, 0.5, 9])
def test_what_decides_nothing_stands_beside_a_number(name: str, value: float) -> None:
    claim, key, others, beside = REPORTED[name]
    (line,) = verdicts([*others, made(*key, value, 0.1, **CHANCE)], isotropic=0.125)
    assert (line.claim, line.quantity, line.part, line.group) == (claim, *key)
    assert (line.verdict, line.side) == ("reported", "beside")
    assert line.against == pytest.approx(beside)
    assert ", beside " in line.statement


@pytest.mark.parametrize("name", OUTCOMES)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_verdict_follows_from_the_whole_interval(name: str, which: int) -> None:
    claim, (quantity, part, group), others, values = OUTCOMES[name]
    entry = made(quantity, part, group, values[which], 0.1, **CHANCE)
    (verdict,) = [v for v in verdicts([*others, entry]) if v.verdict != "reported"]
    assert verdict.verdict == ("supported", "not supported", "undecided")[which]
    assert (verdict.claim, verdict.part, verdict.group) == (claim, part, group)
    assert (verdict.value, verdict.low, verdict.high) == (
        entry.value,
        entry.low,
        entry.high,
    )
    assert "untrained" not in verdict.statement
    assert isinstance(verdict, Verdict)


def test_a_verdict_states_its_numbers_and_those_of_the_untrained_network() -> None:
    entry = made("gap", "row", "all", 1.25, 0.05, **CHANCE)
    control = [made("gap", "row", "all", 0.42, 0.1, **CHANCE)]
    (verdict,) = verdicts([LOGIT, entry], control=control)
    assert verdict.against == 0.6
    assert verdict.statement == (
        "real and generated images are 1.25 (1.2 to 1.3) standard deviations apart along the row "
        "space, beside 0.6, the 95th percentile of random null directions (untrained: 0.42)"
    )
    probes = [
        made("probe_difference", "full - null", "clean", 0.004, 0.003),
        made("probe", "row", "clean", 0.312, 0.01, chance=0.1),
        made("real_fake_probe", "null", "all", 0.52, 0.01),
        made("real_fake_probe", "full", "all", 0.9, 0.01),
    ]
    row, lost, null = verdicts([LOGIT], probes=probes, control=probes)
    assert lost.statement == (
        "a probe on the null space alone loses 0.4 points (0.1 to 0.7) of accuracy against all "
        "features, beside 1 point (untrained: 0.4 points)"
    )
    assert (lost.verdict, lost.against) == ("reported", 0.01)
    assert row.statement == (
        "a probe on the row space alone reaches 31.2% (30.2% to 32.2%), to be below the untrained "
        "network's 31.2% (30.2% to 32.2%)"
    )
    assert row.verdict == "undecided"
    assert null.statement == (
        "a probe on the null space tells real from generated images in 52.0% (51.0% to 53.0%) of "
        "cases (90.0% (89.0% to 91.0%) on all features), to be below 55% (untrained: 52.0%)"
    )
    assert (null.verdict, null.against) == ("supported", 0.55)


def test_claims_are_of_discriminators_or_of_classifiers() -> None:
    entries = measure(**example(1))
    claims = {verdict.claim for verdict in verdicts(entries)}
    assert claims == {"gap in row space", "constant ratio", "noise", "Theorem 1"}
    assert {v.claim for v in verdicts(measure(**example(4)))} == {
        "scatter in row space",
        "Theorems 2-3",
    }
    assert {v.group for v in verdicts(measure(**example(4)))} == {"generated"}
    assert verdicts([]) == []


def test_an_entry_without_an_interval_leaves_its_claim_undecided() -> None:
    entry = made("scatter_log_ratio", "row - null", "all", -1, math.nan, **CHANCE)
    assert [verdict.verdict for verdict in verdicts([entry])] == ["undecided"]


# --- errors

X, A = normal(9, 4).numpy(), normal(2, 4, seed=1).numpy()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": A[:, :3]}, ShapeError, r"features have shape \(9, 4\), the head \(2, 3\)"),
        ({"weight": A[0]}, ShapeError, r"weight has shape \(4,\)"),
        ({"bias": np.ones(3)}, ShapeError, r"weight has shape \(2, 4\), bias \(3,\)"),
        ({"generated": X[:, :3]}, ShapeError, r"generated have shape \(9, 3\)"),
        ({"labels": np.zeros(8, int)}, ShapeError, r"labels have shape \(8,\)"),
        ({"labels": np.zeros(9)}, ShapeError, "type torch.float64, features 9 rows"),
        ({"generated_labels": np.zeros(9, int)}, ShapeError, "came without generated"),
        ({"noisy": {"g": X[:5]}}, ShapeError, r"noisy\['g'\] has shape \(5, 4\)"),
        ({"noisy": {"real-fake": X}}, UsageError, "a noise is named 'real-fake'"),
        ({"noisy": {"g": X * np.nan}}, NonFiniteError, r"infinity in noisy\['g'\]"),
        ({"features": X * np.nan}, NonFiniteError, "NaN or infinity in features"),
        ({"weight": A * np.inf}, NonFiniteError, "NaN or infinity in weight"),
        ({"generated": X[:0]}, DegenerateError, "generated hold no examples"),
        ({"features": 0 * X}, DegenerateError, "the same for every example"),
        ({"draws": 0}, UsageError, "0 draws and 400 resamples"),
    ],
)
def test_errors_say_which_array_and_why(change: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        measure(**({"features": X, "weight": A} | change))
