"""Reductions of a layer, each against its own description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import repsim
from repsim.activations.capture.pooling import STEPS, Pooling, PoolingRules, project
from repsim.errors import ShapeError, UsageError

MAPS = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(1))
#: One text without padding, one padded behind, one padded in front.
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])


def reduce(text: str, x: torch.Tensor, **keywords: object) -> torch.Tensor:
    return Pooling.parse(text)(x, **keywords)  # type: ignore[arg-type]


def test_none_keeps_everything() -> None:
    assert reduce("none", MAPS) is MAPS


def test_avg_is_the_mean_over_positions_or_tokens() -> None:
    torch.testing.assert_close(reduce("avg", MAPS), MAPS.mean((2, 3)))
    torch.testing.assert_close(reduce("avg", TOKENS), TOKENS.mean(1))
    volumes = torch.randn(2, 3, 2, 2, 2)
    torch.testing.assert_close(reduce("avg", volumes), volumes.mean((2, 3, 4)))
    vectors = torch.randn(2, 3)
    assert reduce("avg", vectors) is vectors


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("text", ["avg", "grid:2", "project:4", "avg+project:2"])
@pytest.mark.parametrize("like", [MAPS, TOKENS])
def test_sums_of_halves_are_float32(kind: torch.dtype, text: str, like: torch.Tensor) -> None:
    if "grid" in text and like is TOKENS:
        return
    halves = like.to(kind)
    found = reduce(text, halves, seed="a", layer="b")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, reduce(text, halves.float(), seed="a", layer="b"))
    if like is TOKENS:
        masked = reduce("avg", halves, mask=MASK)
        torch.testing.assert_close(masked, reduce("avg", halves.float(), mask=MASK))


def test_one_number_each_is_its_average_and_its_projection(tmp_path: Path) -> None:
    numbers = MAPS[:, 0, 0, 0]
    for text in ("avg", "last", "token:2", "channels_last+avg", "channels_first+avg", "cls"):
        assert torch.equal(reduce(text, numbers), numbers)
    assert torch.equal(reduce("avg+project:3", numbers), numbers[:, None])
    with pytest.raises(ShapeError, match="but positions needs"):
        reduce("avg+positions", numbers)
    net, x = torch.nn.Sequential(torch.nn.Linear(6, 1), torch.nn.Flatten(0)), torch.randn(16, 6)
    for text in ("avg", "project:3", "channels_last+avg", "none"):
        given = {"pooling": text, "examples": 16, "overwrite": True}
        with repsim.harvest(net, [x], tmp_path / "a.h5", **given) as store:
            np.testing.assert_allclose(store["1"][:], net(x).detach()[:, None], rtol=1e-5)


def test_padding_is_no_token() -> None:
    kept = [TOKENS[0], TOKENS[1, :2], TOKENS[2, 2:]]
    torch.testing.assert_close(
        reduce("avg", TOKENS, mask=MASK), torch.stack([each.mean(0) for each in kept])
    )
    torch.testing.assert_close(
        reduce("last", TOKENS, mask=MASK), torch.stack([each[-1] for each in kept])
    )
    torch.testing.assert_close(reduce("last", TOKENS), TOKENS[:, -1])
    torch.testing.assert_close(reduce("positions", TOKENS, mask=MASK), torch.cat(kept))


def test_a_mask_of_other_tokens_is_not_applied() -> None:
    patches = torch.randn(3, 7, 4)
    with pytest.raises(ShapeError, match=r"gives \(3, 7, 4\), and its mask is \(3, 5\)"):
        reduce("avg", patches, mask=MASK)


def test_a_text_of_padding_alone_is_refused_and_no_average_of_zeros() -> None:
    mask = torch.ones(3, 5)
    mask[1] = 0
    with pytest.raises(ShapeError, match="all tokens of example 1 of a batch are padding"):
        reduce("avg", TOKENS, mask=mask)


@pytest.mark.parametrize(
    ("shape", "most", "square"),
    [
        ((64, 32, 32), 9000, (10, 10)),  # squares of 3 x 3, and two lines that are left over
        ((64, 32, 32), 64 * 256, (16, 16)),
        ((512, 4, 4), 9000, (4, 4)),
        ((4000, 8, 8), 100, (1, 1)),  # a number for each channel at least
        ((8, 6, 20), 8 * 30, (3, 10)),
        ((8, 2, 30), 24, (1, 3)),
        ((8, 2, 30), 23, (1, 2)),
    ],
)
def test_maxima_leave_a_map_as_many_features_as_are_asked_for(
    shape: tuple[int, int, int], most: int, square: tuple[int, int]
) -> None:
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    found = reduce(f"max:{most}", x)
    assert found.shape == (2, shape[0], *square)
    if square == shape[1:]:
        assert found is x
    side = min(length // cells for length, cells in zip(shape[1:], square, strict=True))
    if len({*shape[1:]}) == 1:
        for i, j in ((0, 0), (square[0] - 1, square[1] - 1)):
            cell = x[:, :, i * side : (i + 1) * side, j * side : (j + 1) * side]
            assert torch.equal(found[:, :, i, j], cell.amax((2, 3)))


def test_maxima_are_of_maps_alone() -> None:
    features = torch.rand(6, 20)
    assert reduce("max:5", features) is features
    with pytest.raises(ShapeError, match="'x' gives .3, 5, 4., but max needs a map"):
        reduce("max:2", TOKENS, layer="x")


def test_a_grid_has_the_means_of_its_cells() -> None:
    found = reduce("grid:2", MAPS)
    assert found.shape == (6, 3, 2, 2)
    torch.testing.assert_close(found[:, :, 0, 1], MAPS[:, :, :2, 2:].mean((2, 3)))
    assert reduce("grid:8", MAPS) is MAPS  # never finer than the map


def test_cls_is_the_first_token() -> None:
    torch.testing.assert_close(reduce("cls", TOKENS), TOKENS[:, 0])
    with pytest.raises(ShapeError, match="'stem' gives .6, 3, 4, 4., but cls needs tokens"):
        reduce("cls", MAPS, layer="stem")
    with pytest.raises(ShapeError, match="'x' gives .3, 5, 4., but grid needs a map"):
        reduce("grid:2", TOKENS, layer="x")


def test_positions_are_examples_one_after_the_other() -> None:
    found = reduce("positions", MAPS)
    assert found.shape == (6 * 16, 3)
    torch.testing.assert_close(found[16 * 2 + 4 * 1 + 3], MAPS[2, :, 1, 3])
    assert reduce("grid:2+positions", MAPS).shape == (6 * 4, 3)
    torch.testing.assert_close(reduce("positions", TOKENS), TOKENS.flatten(0, 1))


def test_where_the_channels_are_can_be_said() -> None:
    last = MAPS.permute(0, 2, 3, 1)
    torch.testing.assert_close(reduce("channels_last+avg", last), MAPS.mean((2, 3)))
    series = TOKENS.transpose(1, 2)
    torch.testing.assert_close(reduce("channels_first+avg", series), TOKENS.mean(1))


def test_a_layer_that_is_small_enough_is_not_projected() -> None:
    x = torch.randn(4, 10)
    assert project(x, 10, "seed") is x


@given(
    p=st.integers(2, 40),
    size=st.integers(1, 40),
    seed=st.text(max_size=4),
)
def test_a_projection_keeps_norms_bin_by_bin(p: int, size: int, seed: str) -> None:
    basis = project(torch.eye(p), size, seed)
    assert basis.shape == (p, min(p, size))
    np.testing.assert_array_equal(basis.abs().sum(1), 1)  # a feature goes to one bin, with a sign
    if p > size:
        assert int(basis.abs().sum(0).max()) <= -(-p // size)  # dealt out evenly


def test_projections_are_seeded() -> None:
    x = torch.randn(4, 64)
    torch.testing.assert_close(project(x, 8, "a"), project(x, 8, "a"), rtol=0, atol=0)
    assert not torch.equal(project(x, 8, "a"), project(x, 8, "b"))
    maps = torch.randn(4, 4, 4, 4)
    one = reduce("project:8", maps, layer="stem", seed="0")
    assert not torch.equal(one, reduce("project:8", maps, layer="head", seed="0"))


@pytest.mark.slow
def test_what_a_projection_does_to_cka_is_what_its_docstring_says() -> None:
    rng = np.random.default_rng(0)
    n, size, draws = 100, 64, 200
    z = rng.normal(size=(n, 6))
    x, y = (
        torch.from_numpy(z @ rng.normal(size=(6, 400)) + rng.normal(size=(n, 400)))
        for _ in range(2)
    )
    factors, ckas, crosses = [], [], []
    for layer in (x, y):
        K = repsim_centred(layer)
        effective = np.trace(K) ** 2 / (K * K).sum()
        factors.append(1 + (1 + effective) / size)
    for k in range(draws):
        px, py = project(x, size, f"x{k}"), project(y, size, f"y{k}")
        ckas.append(repsim.cka(px, py))
        crosses.append((repsim_centred(px) * repsim_centred(py)).sum())
    whole = repsim.cka(x, y)
    inner = (repsim_centred(x) * repsim_centred(y)).sum()
    assert np.mean(crosses) == pytest.approx(inner, rel=4 * np.std(crosses) / draws**0.5 / inner)
    assert whole - np.mean(ckas) > 0.02  # it does shrink
    assert np.mean(ckas) == pytest.approx(whole / np.sqrt(np.prod(factors)), abs=0.02)


def repsim_centred(x: torch.Tensor) -> np.ndarray:
    centred = x.double().numpy() - x.double().numpy().mean(0)
    return centred @ centred.T


def test_each_layer_gets_the_first_rule_that_matches() -> None:
    pooling = PoolingRules("bg1.*=grid:4,*.odd=none,*=avg")
    assert pooling.of("bg1.b0.odd").text == "grid:4"
    assert pooling.of("bg2.b0.odd").text == "none"
    assert pooling.of("pooled").text == "avg"
    assert str(pooling) == "bg1.*=grid:4,*.odd=none,*=avg"
    assert str(PoolingRules("avg")) == "avg"
    assert str(PoolingRules({"*": "avg"})) == "avg"
    assert PoolingRules({"stem": "avg"}).of("head").text == "none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mean", "unknown pooling 'mean'; there is: avg"),
        ("", "unknown pooling ''"),
        ("grid", "'grid' is not understood; expected grid:K"),
        ("grid:0", "'grid:0' is not understood"),
        ("max", "'max' is not understood; expected max:K"),
        ("avg:2", "'avg:2' is not understood; expected avg"),
        ("project:1.5", "'project:1.5' is not understood"),
        ("positions+avg", "nothing but project:K can follow positions"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PoolingRules(text)


def test_a_rule_that_is_never_used_is_refused() -> None:
    layers = ["stem", "bg1.b0.odd"]
    PoolingRules("bg1.*=grid:4,*=avg").check(layers)
    with pytest.raises(UsageError, match="'bg2.\\*' is never used: it matches none of stem, bg1"):
        PoolingRules("bg2.*=grid:4,*=avg").check(layers)
    with pytest.raises(UsageError, match="'stem' is never used: the rules before it take all"):
        PoolingRules("*=avg,stem=none").check(layers)
    with pytest.raises(UsageError, match="never used"):
        PoolingRules("avg,none").check(layers)


def test_every_step_is_explained() -> None:
    for step in STEPS:
        Pooling.parse(step.replace("K", "3") + "+avg" * step.startswith("mask:"))
