"""Weights of attention: averages over queries that are no padding, against sums by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import repsim
from repsim.errors import ShapeError, UsageError

N, T = 8, 7
LENGTHS = torch.tensor([7, 3, 4, 7, 5, 3, 6, 4])
PAD = torch.arange(T) >= LENGTHS[:, None]
OTHER = PAD.flip(0)
X, Y = torch.randn(2, N, T, 6, generator=torch.Generator().manual_seed(0))


class Attending(nn.Module):
    """Attention of some inputs to others; the weights leave out padding of the keys alone."""

    def __init__(self, queries: str = "x", keys: str = "y", *, average: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.weights: nn.Module = nn.Identity()
        self.queries, self.keys, self.average = queries, keys, average
        self.eval()

    def forward(
        self,
        x: Tensor,
        y: Tensor | None = None,
        x_key_padding_mask: Tensor | None = None,
        y_key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        if self.queries != self.keys and x_key_padding_mask is not None:
            x = x * ~x_key_padding_mask[..., None]
        query, memory = ({"x": x, "y": y}[name] for name in (self.queries, self.keys))
        masks = {"x": x_key_padding_mask, "y": y_key_padding_mask}
        out, weights = self.attention(
            query, memory, memory, masks[self.keys], average_attn_weights=self.average
        )
        self.weights(weights)
        return out


def weights_of(model: Attending, batch: dict[str, Tensor]) -> Tensor:
    found: list[Tensor] = []
    handle = model.weights.register_forward_hook(lambda *given: found.append(given[2]))
    with torch.no_grad(), handle:
        model(**batch)
    return found[0]


def harvested(model: Attending, batch: dict[str, Tensor], path: Path, **more: Any) -> np.ndarray:
    """Averages of the weights, or of another layer."""
    given = {"layers": "attention:1", "pooling": "avg", **more}
    with repsim.harvest(
        model, [batch], path / "a.h5", examples=N, overwrite=True, **given
    ) as store:
        return np.asarray(store[given["layers"]][:])


def means(values: Tensor, lengths: Sequence[int]) -> np.ndarray:
    """Means over the first rows of each example, as many as it has tokens."""
    each = zip(values, lengths, strict=True)
    return torch.stack([one[:length].mean(0) for one, length in each]).numpy()


def test_padded_keys_do_not_choose_queries(tmp_path: Path) -> None:
    model, batch = Attending(), {"x": X, "y": Y, "y_key_padding_mask": PAD}
    weights = weights_of(model, batch)
    np.testing.assert_allclose(
        harvested(model, batch, tmp_path), means(weights, [T] * N), atol=1e-6
    )
    last = harvested(model, batch, tmp_path, pooling="last")
    np.testing.assert_allclose(last, weights[:, -1], atol=1e-6)
    every = harvested(model, batch, tmp_path, pooling="positions")
    np.testing.assert_allclose(every, weights.flatten(0, 1), atol=1e-6)


def test_queries_have_a_mask_of_their_own(tmp_path: Path) -> None:
    batch = {"x": X, "y": Y, "x_key_padding_mask": OTHER, "y_key_padding_mask": PAD}
    model = Attending()
    expected = means(weights_of(model, batch), LENGTHS.flip(0).tolist())
    np.testing.assert_allclose(harvested(model, batch, tmp_path), expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["avg", "channels_last+avg"])
def test_queries_are_keys_in_self_attention(pooling: str, tmp_path: Path) -> None:
    model, batch = Attending("x", "x"), {"x": X, "x_key_padding_mask": PAD}
    expected = means(weights_of(model, batch), LENGTHS.tolist())
    found = harvested(model, batch, tmp_path, pooling=pooling)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_average_over_keys_leaves_out_their_padding(tmp_path: Path) -> None:
    for model, batch in (
        (Attending(), {"x": X, "y": Y, "y_key_padding_mask": PAD}),
        (Attending("x", "x"), {"x": X, "x_key_padding_mask": PAD}),
    ):
        expected = means(weights_of(model, batch).transpose(1, 2), LENGTHS.tolist())
        found = harvested(model, batch, tmp_path, pooling="channels_first+avg")
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("pooling", ["channels_last+avg", "channels_last+last"])
def test_weights_of_other_modules_ask_for_the_mask_of_their_queries(
    pooling: str, tmp_path: Path
) -> None:
    model, batch = Attending(), {"x": X, "y": Y, "y_key_padding_mask": PAD}
    given = {"layers": "weights", "pooling": pooling}
    with pytest.raises(UsageError, match="nothing says which of its positions") as error:
        harvested(model, batch, tmp_path, **given)
    assert "'weights=none' to take all" in str(error.value)
    found = harvested(model, batch, tmp_path, **given, masks="weights=none")
    weights = weights_of(model, batch)
    whole = weights.mean(1) if pooling.endswith("avg") else weights[:, -1]
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.parametrize("tokens", [5, T])
def test_heads_of_weights_are_channels(tokens: int, tmp_path: Path) -> None:
    model, batch = Attending(average=False), {"x": X[:, :tokens], "y": Y}
    expected = weights_of(model, batch).mean(2).flatten(1)  # (n, heads * keys)
    for layer in ("attention:1", "weights"):
        found = harvested(model, batch, tmp_path, layers=layer)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_queries_of_several_heads_have_the_mask_that_is_told(tmp_path: Path) -> None:
    model = Attending(average=False)
    batch = {"x": X, "y": Y, "x_key_padding_mask": OTHER, "y_key_padding_mask": PAD}
    with pytest.raises(UsageError, match="nothing says which of its positions"):
        harvested(model, batch, tmp_path)
    weights = weights_of(model, batch).transpose(1, 2).flatten(2)  # (n, queries, heads * keys)
    found = harvested(model, batch, tmp_path, masks="attention:1=x_key_padding_mask")
    np.testing.assert_allclose(found, means(weights, LENGTHS.flip(0).tolist()), atol=1e-6)


def test_a_convolution_over_heads_makes_no_positions_of_keys(tmp_path: Path) -> None:
    model = Attending(average=False)
    model.weights = nn.Sequential(nn.Conv2d(2, 3, 1))
    with pytest.raises(ShapeError, match="nothing says which axis holds its channels"):
        harvested(model, {"x": X, "y": Y}, tmp_path)
