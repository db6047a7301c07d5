"""Language models from the command line: texts to stores to comparisons."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from language_models import language_model
from libraries import library

import repsim
from repsim.cli.main import main

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "dog", "ran", "far")
TEXTS = ("the cat sat", "dog", "the dog ran far", "cat ran", "the cat", "far far") * 3


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two saved networks with tokenizers that would pad in front, and a file of texts."""
    transformers = library("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    try:
        tokenizer = transformers.BertTokenizer(
            str(tmp_path / "vocab.txt"), model_max_length=12, padding_side="left"
        )
        for kind in ("gpt2", "llama"):
            language_model(kind).save_pretrained(tmp_path / kind)
            tokenizer.save_pretrained(tmp_path / kind)
    except ImportError as error:
        pytest.skip(f"transformers has no tokenizers here: {error}")
    (tmp_path / "pets.tsv").write_text("".join(f"{t}\t{k % 2}\n" for k, t in enumerate(TEXTS)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", ["repsim", *arguments])
        main()
    assert not stop.value.code


@pytest.mark.filterwarnings("default:the 18 examples")
def test_harvest_and_compare(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("gpt2", "llama"):
        command(
            *("harvest", "--model", f"transformers:./{kind}", "--data", "pets.tsv"),
            *("--layers", "resid.*,final_norm", "--pooling", "last", "--name", kind),
            *("--max-length", "8", "--batch-size", "8"),
        )
        assert "18 examples of the loader have 6 different inputs" in capsys.readouterr().err
    with repsim.open_store("activations/llama.pets-all.h5") as store:
        assert tuple(store.layers) == ("resid.0", "resid.1", "final_norm")
        assert store.example_ids[2] == b"pets/3"
        ids = [WORDS.index(word) for word in ("[CLS]", "the", "dog", "ran", "far", "[SEP]")]
        with torch.no_grad():
            network = language_model("llama")
            alone = network.model(torch.tensor([ids])).last_hidden_state[0, -1]
        np.testing.assert_allclose(store["final_norm"][2], alone, rtol=1e-4, atol=1e-5)
    stores = [f"activations/{kind}.pets-all.h5" for kind in ("gpt2", "llama")]
    command("similarity", "--a", stores[0], "--b", stores[1], "-o", "found.json")
    found = repsim.SimilarityMap.load("found.json")
    assert tuple(found.layers_a) == tuple(found.layers_b) == ("resid.0", "resid.1", "final_norm")


def test_a_row_for_each_token(folders: Path) -> None:
    command(
        *("harvest", "--model", "transformers:./llama", "--data", "pets.tsv", "--split", "all[:3]"),
        *("--layers", "attn.1", "--pooling", "positions", "-o", "tokens.h5", "--max-length", "8"),
    )
    with repsim.open_store("tokens.h5") as store:
        wanted = [f"pets/{line}#{k}" for line, n in ((1, 5), (2, 3), (3, 6)) for k in range(n)]
        assert [each.decode() for each in store.example_ids] == wanted
