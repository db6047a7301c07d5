"""The row space and null space of a head: algebra, the papers' propositions, probes, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from repsim.errors import DegenerateError, NonFiniteError, ShapeError, UsageError
from repsim.measures import cka
from repsim.nullspace import null_space, row_space

#: (out, d) of heads with a null space of every kind, and their ranks.
HEADS = {"wide": (3, 12, 3), "tall": (20, 6, 6), "square": (8, 8, 8), "one logit": (1, 16, 1)}
HEADS |= {"rank-deficient wide": (6, 12, 2), "rank-deficient tall": (20, 8, 3)}
HEADS |= {"zero": (4, 9, 0)}


def head(kind: str, rng: np.random.Generator) -> Tensor:
    out, d, rank = HEADS[kind]
    return torch.tensor(rng.normal(size=(out, rank)) @ rng.normal(size=(rank, d)))


def features(d: int, rng: np.random.Generator, n: int = 40) -> Tensor:
    return torch.tensor(rng.normal(size=(n, d)) + 3 * rng.normal(size=d))


# --- algebra


@pytest.mark.parametrize("kind", HEADS)
def test_the_split_is_that_of_the_pseudo_inverse(kind: str, rng: np.random.Generator) -> None:
    weight = head(kind, rng)
    f = features(weight.shape[1], rng)
    space = row_space(weight)
    row, null = space.split(f)
    projector = torch.linalg.pinv(weight, rtol=1e-12) @ weight
    assert space.rank == HEADS[kind][2]
    assert torch.allclose(row, f @ projector, atol=1e-10)
    assert torch.allclose(row + null, f, atol=1e-14)
    assert float((null @ weight.T).abs().max()) < 1e-10
    assert float((row * null).sum(1).abs().max()) < 1e-10
    # Split again, each part is all of itself.
    assert torch.allclose(space.split(row)[0], row, atol=1e-10)
    assert torch.allclose(space.split(null)[1], null, atol=1e-10)
    eye = torch.eye(space.rank, dtype=torch.float64)
    assert torch.allclose(space.basis.T @ space.basis, eye, atol=1e-12)


@pytest.mark.parametrize("kind", HEADS)
def test_a_report_agrees_with_the_projector(kind: str, rng: np.random.Generator) -> None:
    weight = head(kind, rng)
    f = features(weight.shape[1], rng)
    report = null_space(f, weight)
    row = f @ (torch.linalg.pinv(weight, rtol=1e-12) @ weight)
    centred = row - row.mean(0), f - f.mean(0)
    for quantity, (part, whole) in {"energy": (row, f), "energy_centred": centred}.items():
        expected = {"row": part, "null": whole - part}
        sizes = {"row": report.rank, "null": report.dim - report.rank}
        found = {name: report.value(quantity, name) for name in expected if sizes[name]}
        for name, value in found.items():
            share = float(expected[name].square().sum() / whole.square().sum())
            assert value == pytest.approx(share, abs=1e-12)
        assert sum(found.values()) == pytest.approx(1, abs=1e-12)
        for name in expected.keys() - found.keys():  # an empty part
            assert report.find(quantity, name) is None
            assert np.isnan(report.value(quantity, name))
    assert (report.n, report.dim, report.rank) == (*f.shape, HEADS[kind][2])
    assert report.chance == report.rank / report.dim
    assert report.residual < 1e-14
    assert report.singular_values == sorted(report.singular_values, reverse=True)
    assert len(report.singular_values) == min(weight.shape)
    if report.rank:
        constancy = float(row.std(0).norm() / row.mean(0).norm())
        assert report.value("constancy", "row") == pytest.approx(constancy, rel=1e-10)
    else:
        assert np.isnan(report.value("constancy", "row"))


def test_isotropic_features_have_the_energy_of_chance(rng: np.random.Generator) -> None:
    f = rng.normal(size=(4000, 10))
    report = null_space(f, rng.normal(size=(3, 10)))
    # A share of k of 10 chi-squares has a standard error of about √(2·.3·.7/10/4000) = 0.003.
    for quantity in ("energy", "energy_centred"):
        found = report.find(quantity, "row")
        assert found.value == pytest.approx(report.chance, abs=0.015)
        assert found.chance == pytest.approx(report.chance, abs=0.015)


def test_a_mean_in_the_row_space_counts_in_the_raw_energy_only(rng: np.random.Generator) -> None:
    weight = np.eye(1, 8)
    f = rng.normal(size=(500, 8)) + 100 * np.eye(1, 8)
    report = null_space(f, weight)
    assert report.value("energy", "row") > 0.99
    assert report.value("energy_centred", "row") == pytest.approx(1 / 8, abs=0.03)
    assert report.value("constancy", "row") == pytest.approx(0.01, rel=0.1)


def test_held_out_features_decide_every_number_but_the_probes_training(
    rng: np.random.Generator,
) -> None:
    weight, train, held = head("wide", rng), features(12, rng), features(12, rng, n=25)
    found, alone = null_space(train, weight, test_features=held), null_space(held, weight)
    assert found.to_dict() == alone.to_dict()


# --- numerical rank


def test_a_rank_is_judged_by_the_precision_of_the_heads_own_dtype(
    rng: np.random.Generator,
) -> None:
    weight = head("rank-deficient wide", rng)
    single = weight.float()
    assert row_space(weight).rank == row_space(single).rank == 2
    assert row_space(single.double()).rank > 2  # rounding to float32, read as if it were exact
    assert row_space(single.double(), rank_tolerance=1e-5).rank == 2
    expected = 12 * torch.finfo(torch.float32).eps * float(torch.linalg.svdvals(weight)[0])
    assert row_space(single).tolerance == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_wide_head_in_half_precision_keeps_its_rank(
    dtype: torch.dtype, rng: np.random.Generator
) -> None:
    weight = torch.tensor(rng.normal(size=(10, 2048))).to(dtype)
    assert row_space(weight).rank == 10
    assert row_space(weight[:1]).rank == 1


def test_an_integer_head_has_its_rank() -> None:
    assert row_space(torch.tensor([[1, 2, 3], [2, 4, 6], [1, 1, 1]])).rank == 2


def test_the_tolerance_can_be_set(rng: np.random.Generator) -> None:
    weight = np.diag([1.0, 1e-2, 1e-4])
    f = rng.normal(size=(20, 3))
    assert [null_space(f, weight, rank_tolerance=t).rank for t in (1e-6, 1e-3, 1e-1)] == [3, 2, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_a_head_cannot_see_is_rounding(dtype: Any, rng: np.random.Generator) -> None:
    weight = rng.normal(size=(10, 512)).astype(dtype)
    report = null_space(features(512, rng).numpy().astype(dtype), weight)
    assert report.residual < 1e-14  # the arithmetic is float64 whatever arrives
    assert report.rank == 10


# --- what the papers say of it


def test_null_space_noise_moves_cka_and_leaves_the_logits(rng: np.random.Generator) -> None:
    weight = torch.tensor(rng.normal(size=(4, 32)))
    f = torch.tensor(rng.normal(size=(200, 32)))
    _, noise = row_space(weight).split(torch.tensor(5 * rng.normal(size=f.shape)))
    assert float(((f + noise) @ weight.T - f @ weight.T).abs().max()) < 1e-10
    assert cka(f, f + noise) < 0.8


def test_softmax_is_blind_to_one_direction_of_the_row_space_only(
    rng: np.random.Generator,
) -> None:
    weight = torch.tensor(rng.normal(size=(10, 64)))
    f = torch.tensor(rng.normal(size=(50, 64)))
    blind = torch.linalg.pinv(weight) @ torch.ones(10, dtype=torch.float64)  # f_r1 = A⁺1
    other, _ = row_space(weight).split(torch.tensor(rng.normal(size=(1, 64))))
    other = other[0] - (other[0] @ blind) / blind.square().sum() * blind
    other *= blind.norm() / other.norm()

    def moved(shift: Tensor) -> float:
        before, after = (((g @ weight.T).softmax(1)) for g in (f, f + shift))
        return float((after - before).abs().max())

    assert moved(3 * blind) < 1e-12
    assert moved(3 * other) > 1e-3
    # softmax(z + c) = softmax(z) for constant c alone: its Jacobian has rank classes - 1
    z = f[0] @ weight.T
    jacobian = torch.func.jacrev(lambda z: z.softmax(0))(z)
    assert int(torch.linalg.matrix_rank(jacobian, rtol=1e-12)) == 9
    assert float((jacobian @ torch.ones(10, dtype=torch.float64)).abs().max()) < 1e-15


# --- probes


def labelled(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes that differ in the null space of the head alone: features, labels, head."""
    labels = np.arange(300) % 3
    f = rng.normal(size=(300, 8))
    f[:, 5] += 8 * labels
    weight = rng.normal(size=(2, 8))
    weight[:, 5] = 0
    return f, labels, weight


def test_probes_find_what_only_the_null_space_knows(rng: np.random.Generator) -> None:
    f, labels, weight = labelled(rng)
    report = null_space(f, weight, labels=labels)
    assert list(report.probes) == ["full", "row", "null"]
    assert report.probes["full"] > 0.95
    assert report.probes["null"] > 0.95
    assert report.probes["row"] < 0.5  # a third by chance


@pytest.mark.parametrize(("kind", "parts"), [("tall", ["full", "row"]), ("zero", ["full", "null"])])
def test_an_empty_part_has_no_probe(kind: str, parts: list[str], rng: np.random.Generator) -> None:
    weight = head(kind, rng)
    f = features(weight.shape[1], rng)
    report = null_space(f, weight, labels=torch.arange(40) % 2)
    assert list(report.probes) == parts
    assert report.probes["full"] == report.probes[parts[1]]


def test_probes_are_scored_on_held_out_features(rng: np.random.Generator) -> None:
    f, labels, weight = labelled(rng)
    shuffled = rng.permutation(labels[200:])
    report = null_space(
        f[:200], weight, labels=labels[:200], test_features=f[200:], test_labels=shuffled
    )
    assert report.n == 100
    assert report.probes["full"] < 0.6
    with pytest.raises(ShapeError, match="test_features came without test_labels"):
        null_space(f[:200], weight, labels=labels[:200], test_features=f[200:])


def test_without_labels_there_are_no_probes(rng: np.random.Generator) -> None:
    report = null_space(features(12, rng), head("wide", rng), name="d:head", provenance={"a": 1})
    assert report.probes == {}
    assert (report.name, report.provenance) == ("d:head", {"a": 1})


# --- errors

Y = np.arange(9) % 2
F, A = np.random.default_rng(0).normal(size=(9, 4)), np.random.default_rng(1).normal(size=(2, 4))


@pytest.mark.parametrize(
    ("f", "weight", "options", "error", "message"),
    [
        (F, A[:, :3], {}, ShapeError, r"features have shape \(9, 4\), the head \(2, 3\)"),
        (F, A[0], {}, ShapeError, r"weight has shape \(4,\), .*; expected \(out, d\) and \(out,\)"),
        (F, A, {"bias": A[0]}, ShapeError, r"bias \(4,\); expected \(out, d\) and \(out,\)"),
        (F[None], A, {}, ShapeError, r"features have shape \(1, 9, 4\)"),
        (F, A, {"test_features": F[:, :3]}, ShapeError, r"test_features have shape \(9, 3\)"),
        (F, A, {"labels": Y[:3]}, ShapeError, r"labels have shape \(3,\) .*, features 9 rows"),
        (F, A, {"labels": F[:, 0]}, ShapeError, "labels have .* expected an integer for each"),
        (F, A, {"test_labels": Y}, ShapeError, "test_labels came without test_features"),
        (
            F,
            A,
            {"labels": Y, "test_features": F, "test_labels": Y[:3]},
            ShapeError,
            r"test_labels have shape \(3,\) .*, test_features 9 rows",
        ),
        (F, A, {"generated": F[:, :3]}, ShapeError, r"generated have shape \(9, 3\)"),
        (F, A, {"generated_labels": Y}, ShapeError, "generated_labels came without generated"),
        (F, A, {"noisy": {"g": F[:3]}}, ShapeError, r"noisy\['g'\] has shape \(3, 4\)"),
        (F, A, {"noisy": {"all": F}}, UsageError, "a noise is named 'all', as is another group"),
        (F, A, {"noisy": {"clean": F}}, UsageError, "a noise is named 'clean'"),
        (F, A[:0], {}, ShapeError, r"weight has shape \(0, 4\)"),
        (1e160 * F, A, {}, NonFiniteError, "features are of the order of .*; scale them"),
        (1e-170 * F, A, {}, NonFiniteError, "features are of the order of .*; scale them"),
        (F, 1j * A, {}, UsageError, "weight: it holds complex numbers"),
        (F, "A", {}, UsageError, "weight: it holds text"),
        (F, A, {"labels": list("abcdefghi")}, UsageError, "labels: it holds text"),
        (F, A, {"rank_tolerance": np.nan}, UsageError, "rank_tolerance is nan; expected from 0"),
        (F, A, {"rank_tolerance": 1.0}, UsageError, "rank_tolerance is 1.0"),
        (F, A, {"seed": -1}, UsageError, "seed is -1; expected a whole number from 0"),
        (F[:0], A, {}, DegenerateError, "features hold no examples"),
        (F, A, {"draws": 0}, UsageError, "0 draws and 400 resamples"),
        (F * np.nan, A, {}, NonFiniteError, "NaN or infinity in features"),
        (F, A * np.inf, {}, NonFiniteError, "NaN or infinity in weight"),
        (F, A, {"test_features": F * np.nan}, NonFiniteError, "NaN or infinity in test_features"),
        (0 * F, A, {}, DegenerateError, "features: it is the same for every example"),
        (F[:1], A, {}, DegenerateError, "the same for every example"),
    ],
)
def test_errors_say_which_array_and_why(
    f: Any, weight: Any, options: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        null_space(f, weight, **options)


@pytest.mark.parametrize("n", [3, 9, 33])
def test_rounding_does_not_make_equal_features_vary(n: int) -> None:
    with pytest.raises(DegenerateError, match="the same for every example"):
        null_space(np.full((n, 4), 0.1), A)


def test_labels_of_one_class_train_no_probe() -> None:
    report = null_space(F, A, labels=0 * Y)
    assert report.probes == {}
    assert report.find("energy", "row")
