"""Texts from files, their splits and their tokens."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from libraries import TINY_BERT, library, working_transformers

from repsim.data.targets import label_target
from repsim.data.text import TextLoader, TextSet, load_texts, load_tokenizer, tokenise
from repsim.errors import DataError, ShapeError, UsageError
from repsim.networks.external import load_network

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "dog")


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


# --- files


def test_a_text_on_each_line(tmp_path: Path) -> None:
    texts = load_texts(write(tmp_path / "pets.txt", "\ufeffthe cat\n\n the dog \r\nça\u2028va\n"))
    assert texts.texts == ("the cat", " the dog ", "ça\u2028va")
    assert texts.ids == ("pets/1", "pets/3", "pets/4")
    assert texts.labels is None
    assert (texts.name, texts.split, texts.slug, texts.classes) == ("pets", "all", "pets-all", ())


def test_a_table_of_texts_and_labels(tmp_path: Path) -> None:
    content = 'Text,Label\n"the cat, asleep",cat\n"two\nlines",dog\n\nthe cat,cat\n'
    texts = load_texts(write(tmp_path / "pets.csv", content))
    assert texts.texts == ("the cat, asleep", "two\nlines", "the cat")
    assert texts.ids == ("pets/2", "pets/3", "pets/6")
    assert texts.classes == ("cat", "dog")
    assert texts.labels is not None
    assert texts.labels.tolist() == [0, 1, 0]
    assert texts.labels.dtype == torch.int64


def test_tabs_need_no_quotes(tmp_path: Path) -> None:
    texts = load_texts(write(tmp_path / "pets.tsv", '"the cat\t10\nthe, dog"\t9\n'))
    assert texts.texts == ('"the cat', 'the, dog"')
    assert texts.classes == ("9", "10")
    assert texts.labels is not None
    assert texts.labels.tolist() == [1, 0]


def test_slices_and_the_part_that_is_held_out(tmp_path: Path) -> None:
    lines = "".join(f"text {row}\t{row % 2}\n" for row in range(50))
    path = write(tmp_path / "many.tsv", lines)
    train, test = load_texts(path, "train"), load_texts(path, "test")
    assert (len(train), len(test)) == (40, 10)
    assert sorted(train.ids + test.ids) == sorted(load_texts(path).ids)
    assert test.labels is not None
    assert test.labels.sum() == 5
    first = load_texts(path, "test[:3]")
    assert first.ids == test.ids[:3]
    assert (first.split, first.slug) == ("test[0:3]", "many-test.0-3")
    assert torch.equal(load_texts(path, "test[3:]").labels, test.labels[3:])


@pytest.mark.parametrize(
    ("name", "content", "split", "error", "message"),
    [
        ("a.json", "{}", "all", UsageError, r"expected a file of texts, \.txt, \.tsv, \.csv"),
        ("a.txt", "one\n", "dev", UsageError, "a has no split 'dev'"),
        ("a.txt", "one\n", "all[:2]", UsageError, "goes beyond 'all'"),
        ("a.txt", " \n\n", "all", DataError, "no texts"),
        ("a.tsv", "text\tlabel\n", "all", DataError, "no texts"),
        ("a.tsv", "one\t1\ntwo\n", "all", DataError, r"a\.tsv, line 2: .* got 1 columns"),
        ("a.csv", "one,1\ntwo,2,3\n", "all", DataError, "line 2: .* got 3 columns"),
        ("a.csv", "one,1\ntwo,\n", "all", DataError, "line 2: .* 1 of them empty"),
        ("a.csv", 'one,1\n"two,2\n', "all", DataError, r"cannot be read as a \.csv file"),
    ],
)
def test_other_files_are_refused_in_one_line(
    name: str, content: str, split: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(error, match=message) as caught:
        load_texts(path, split)
    assert "\n" not in str(caught.value)


def test_absent_and_undecodable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file of texts"):
        load_texts(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        load_texts(tmp_path / "a.txt")


def test_lengths_must_agree() -> None:
    with pytest.raises(ShapeError, match="2 texts but 1 ids"):
        TextSet("a", "all", ("x", "y"), (), ("a/1",))


# --- tokens


class Letters:
    """A tokenizer of one token a letter, with the interface of those of transformers."""

    pad_token = " "
    eos_token = None
    model_max_length = 16

    def __call__(self, text: list[str], *, max_length: int, **options: Any) -> dict[str, Any]:
        assert options == {
            "padding": "max_length",
            "truncation": True,
            "return_attention_mask": True,
            "return_tensors": "pt",
        }
        rows = [list(map(ord, each[:max_length].ljust(max_length))) for each in text]
        ids = torch.tensor(rows)
        return {"input_ids": ids, "attention_mask": (ids != 32).long(), "other": ids}


def pets(labels: torch.Tensor | None = None) -> TextSet:
    ids = ("pets/1", "pets/2", "pets/3")
    return TextSet("pets", "all", ("cat", "mouse", "dog"), label_target(labels, ("a", "b")), ids)


def test_batches_have_one_shape() -> None:
    loader = TextLoader(pets(torch.tensor([0, 1, 0])), Letters(), batch_size=2, max_length=4)
    assert (len(loader), len(loader.dataset)) == (2, 3)
    batches = list(loader)
    tokens, labels, ids = batches[0]
    assert set(tokens) == {"input_ids", "attention_mask"}
    assert tokens["input_ids"].tolist() == [[99, 97, 116, 32], [109, 111, 117, 115]]
    assert tokens["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert labels is not None
    assert (labels.tolist(), ids) == ([0, 1], ["pets/1", "pets/2"])
    assert batches[1][0]["input_ids"].shape == (1, 4)
    assert batches[1][2] == ["pets/3"]
    assert [batch[1] for batch in TextLoader(pets(), Letters(), max_length=4)] == [None]


def test_lengths_and_batches_that_cannot_be() -> None:
    for length in (0, 17):
        with pytest.raises(UsageError, match=f"max_length is {length}; expected from 1 to 16"):
            tokenise(Letters(), ["a"], length)
    with pytest.raises(UsageError, match="batch_size is 0"):
        TextLoader(pets(), Letters(), batch_size=0)


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    """A tokenizer of BERT with nine words, as ``save_pretrained`` writes it."""
    transformers = library("transformers")
    vocabulary = write(tmp_path / "vocab.txt", "\n".join(WORDS) + "\n")
    try:
        tokenizer = transformers.BertTokenizer(str(vocabulary), model_max_length=12)
        tokenizer.save_pretrained(tmp_path / "saved")
    except ImportError as error:
        pytest.skip(f"transformers has no tokenizers here: {error}")
    return tmp_path / "saved"


def test_a_tokenizer_in_a_folder(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    tokens = tokenise(tokenizer, ["the cat sat", "dog"], 6)
    assert set(tokens) == {"input_ids", "attention_mask"}
    assert tokens["input_ids"].tolist() == [[2, 5, 6, 7, 3, 0], [2, 8, 3, 0, 0, 0]]
    assert tokens["attention_mask"].tolist() == [[1] * 5 + [0], [1] * 3 + [0] * 3]
    assert tokenise(tokenizer, ["the cat sat"], 4)["input_ids"].tolist() == [[2, 5, 6, 3]]
    with pytest.raises(UsageError, match="expected from 1 to 12"):
        tokenise(tokenizer, ["dog"], 13)


def test_padding_comes_behind_a_text_whatever_the_tokenizer_says(tokenizer_folder: Path) -> None:
    file = tokenizer_folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "padding_side": "left"}))
    assert library("transformers").AutoTokenizer.from_pretrained(tokenizer_folder).padding_side == (
        "left"
    )
    tokens = tokenise(load_tokenizer(tokenizer_folder), ["dog"], 5)
    assert tokens["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]


def test_padding_does_not_move_what_bert_makes_of_a_text(tokenizer_folder: Path) -> None:
    working_transformers()
    network = load_network("transformers:bert", arguments=TINY_BERT)
    tokenizer = load_tokenizer(tokenizer_folder)
    with torch.no_grad():
        short, long = (
            network(**tokenise(tokenizer, ["the dog"], length)).last_hidden_state
            for length in (4, 9)
        )
    torch.testing.assert_close(short, long[:, :4], rtol=1e-4, atol=1e-5)


def test_padding_with_the_end_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = SimpleNamespace(pad_token=None, eos_token="<end>")
    auto = SimpleNamespace(from_pretrained=lambda path, **_: found)
    monkeypatch.setattr("repsim.data.text.optional", lambda _: SimpleNamespace(AutoTokenizer=auto))
    assert load_tokenizer(tmp_path).pad_token == "<end>"
    found.pad_token = found.eos_token = None
    with pytest.raises(UsageError, match="no token to pad with"):
        load_tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer_is_one_line(tmp_path: Path) -> None:
    library("transformers")
    with pytest.raises(UsageError, match="no tokenizer can be loaded") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
