"""Tokens are known by what a network does with them: it looks up rows of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import repsim
from repsim.errors import RepsimWarning, UsageError

N, T = 16, 8
LENGTHS = torch.tensor([3, 5, 2, 8, 4, 7, 8, 5] * 2)
REAL = torch.arange(T) < LENGTHS[:, None]
TOKENS = torch.randint(1, 20, (N, T), generator=torch.Generator().manual_seed(0))
PADDED = TOKENS * REAL


class Reader(nn.Module):
    """A network that reads tokens in one of several ways."""

    def __init__(self, read: Callable[[Any, Tensor], Tensor], padding: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.out = read, nn.Linear(6, 4)
        self.table = nn.Parameter(torch.randn(21, 6))
        self.register_buffer("vectors", torch.randn(21, 6))
        if padding is not None:
            self.embed = nn.Embedding(21, 6, padding_idx=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.read(self, x))


def harvested(network: nn.Module, x: Tensor, path: Path, **more: Any) -> np.ndarray:
    given: dict[str, Any] = {"layers": "out", "pooling": "avg", "overwrite": True, **more}
    with repsim.harvest(network, list(x.split(8)), path / "a.h5", examples=N, **given) as store:
        return np.asarray(store[given["layers"]][:])


#: Ways to read tokens whose padding is known, and the tokens as they come.
KNOWN: dict[str, tuple[Callable[[Any, Tensor], Tensor], int | None, Tensor]] = {
    "a function": (lambda self, x: F.embedding(x, self.table, padding_idx=0), None, PADDED),
    "a function from the end": (
        lambda self, x: F.embedding(x, self.table, padding_idx=-1),
        None,
        PADDED.masked_fill(~REAL, 20),
    ),
    "the function below": (lambda self, x: torch.embedding(self.table, x, 0), None, PADDED),
    "floats": (lambda self, x: self.embed(x.long()), 0, PADDED.float()),
    "columns": (
        lambda self, x: self.embed(x[..., 0]) + self.table[x[..., 1]],
        0,
        torch.stack([PADDED, TOKENS], -1),
    ),
    "channels": (lambda self, x: self.embed(x[:, 0]), 0, torch.stack([PADDED, TOKENS], 1)),
    "a column beside values": (
        lambda self, x: self.embed(x[..., 0].long()) * x[..., 1:],
        0,
        torch.stack([PADDED, torch.randn(N, T)], -1),
    ),
    "shifted": (lambda self, x: self.embed(x + 1), 0, PADDED - 1),
    "clamped": (
        lambda self, x: F.embedding(x.clamp(min=0), self.table),
        None,
        PADDED.masked_fill(~REAL, -1),
    ),
}


@pytest.mark.parametrize("way", KNOWN)
def test_a_token_of_padding_is_known_by_the_lookup(way: str, tmp_path: Path) -> None:
    read, padding, x = KNOWN[way]
    network = Reader(read, padding)
    with pytest.raises(UsageError, match="of inputs with padding .x., and nothing says") as error:
        harvested(network, x, tmp_path)
    assert "\n" not in str(error.value)
    right = network(x).mean(1).detach()
    np.testing.assert_allclose(harvested(network, x, tmp_path, masks="none"), right, atol=1e-6)


#: Ways in which no token is padding alone.
UNKNOWN: dict[str, tuple[Callable[[Any, Tensor], Tensor], Tensor]] = {
    "a function": (lambda self, x: F.embedding(x, self.table), PADDED),
    "a parameter": (lambda self, x: self.table[x], PADDED),
    "a buffer": (lambda self, x: self.vectors[x], PADDED),
    "a selection": (
        lambda self, x: self.table.index_select(0, x.flatten()).unflatten(0, x.shape),
        PADDED,
    ),
    "what is made of a parameter": (lambda self, x: F.normalize(self.table, dim=1)[x], PADDED),
    "one of several": (lambda self, x: F.one_hot(x, 21).float() @ self.table, PADDED),
    "floats": (lambda self, x: self.table[x.long()], PADDED.float()),
    "sentences": (lambda self, x: self.table[x], PADDED.unflatten(1, (2, 4))),
    "positions first": (lambda self, x: self.table[x.long().t()].transpose(0, 1), PADDED.float()),
}


@pytest.mark.parametrize("way", UNKNOWN)
def test_tokens_that_may_be_padded_get_one_warning(way: str, tmp_path: Path) -> None:
    read, x = UNKNOWN[way]
    with pytest.warns(RepsimWarning, match="nothing says if 'x' has padding") as caught:
        harvested(Reader(read), x, tmp_path)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        harvested(Reader(read), x, tmp_path, masks="*=none")


class Documents(nn.Module):
    """Words, sentences of them and documents, as hierarchical networks of attention read them."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.word = nn.Embedding(20, 6, padding_idx=0), nn.Linear(6, 4)
        self.sentence = nn.Linear(4, 3)

    def forward(self, docs: Tensor) -> Tensor:
        real = (docs > 0).unsqueeze(-1)
        words = self.word(self.embed(docs))
        return self.sentence((words * real).sum(2) / real.sum(2).clamp(min=1))


def test_words_of_sentences_are_tokens(tmp_path: Path) -> None:
    docs = TOKENS[:, None, :6].repeat(1, 4, 1).clamp(max=19)
    docs[::2, :, 4:] = 0  # of words, and of no sentence
    with pytest.raises(UsageError, match="'word' gives .* with padding .docs."):
        harvested(Documents(), docs, tmp_path, layers="word")
    sentences = harvested(Documents(), docs, tmp_path, layers="sentence")
    np.testing.assert_allclose(sentences, Documents()(docs).mean(1).detach(), atol=1e-6)
    docs[::4, 3] = 0
    with pytest.raises(UsageError, match="'sentence' gives .* with padding .docs."):
        harvested(Documents(), docs, tmp_path, layers="sentence")


#: Whole numbers that are no tokens, and networks of them.
OTHERS: dict[str, tuple[Callable[[Any, Tensor], Tensor], Tensor]] = {
    "pixels": (
        lambda self, x: F.pad(x.flatten(2).transpose(1, 2).float() / 255, (0, 5)),
        torch.randint(0, 256, (N, 1, 4, 4), dtype=torch.uint8),
    ),
    "pixels as floats": (
        lambda self, x: F.pad(x.flatten(2).transpose(1, 2), (0, 5)),
        torch.randint(0, 256, (N, 1, 4, 4)).float(),
    ),
    "counts": (lambda self, x: F.pad(x.unsqueeze(2).float(), (0, 5)), PADDED),
    "places of the network's own": (
        lambda self, x: x + self.table[torch.arange(x.shape[1])],
        torch.randint(0, 5, (N, T, 6)).float(),
    ),
    "an hour beside values": (
        lambda self, x: self.table[x[..., 0].long()] + x[..., 1:],
        torch.cat([TOKENS[..., None], torch.randn(N, T, 6)], -1),
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_whole_numbers_that_are_no_tokens_have_no_padding(kind: str, tmp_path: Path) -> None:
    read, x = OTHERS[kind]
    network = Reader(read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = harvested(network, x, tmp_path)
    np.testing.assert_allclose(found, network(x).mean(1).detach(), atol=1e-5)


def test_a_configuration_of_ones_own_hides_no_tokens(tmp_path: Path) -> None:
    network = Reader(lambda self, x: self.embed(x), padding=0)
    network.config = {"width": 6}
    with pytest.raises(UsageError, match="with padding .x."):
        harvested(network, PADDED, tmp_path)
