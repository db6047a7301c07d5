"""Texts from a file, and their tokens in batches, for language models."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from repsim.data.filelist import FileList
from repsim.data.imageset import slug
from repsim.data.locate import unreadable
from repsim.data.splits import Split, holdout
from repsim.data.table import class_names
from repsim.data.targets import Labelled, Labels, Target, label_target
from repsim.errors import DataError, ShapeError, UsageError
from repsim.optional import optional, reason
from repsim.quiet import quietly

SUFFIXES = (".txt", ".tsv", ".csv")
HEADER = ("text", "label")

Row = tuple[int, str, str | None]  # line, counted from 1; text; label


@dataclass(frozen=True, eq=False)
class TextSet(Labelled):
    """Texts of one split, with their targets and names.

    Attributes:
        name: of the set: that of its file, without the suffix.
        split: canonical text, such as ``all`` or ``test[0:100]``.
        texts: n texts.
        targets: the label, where there are any.
        ids: n distinct names, the same in every split: ``NAME/LINE``, counted from 1.
        chosen: name of the chosen target; empty for the first.
        files: name and size of the file.
        whole: texts of all splits together; 0 where that is not known.

    Raises:
        ShapeError: targets or ids of another length.
    """

    name: str
    split: str
    texts: tuple[str, ...] = field(repr=False)
    targets: tuple[Target, ...]
    ids: tuple[str, ...] = field(repr=False)
    chosen: str = ""
    files: FileList | None = field(default=None, repr=False)
    whole: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if len(self.ids) != len(self):
            raise ShapeError(f"{self.name} has {len(self)} texts but {len(self.ids)} ids")
        self.check_targets(len(self), "texts")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def slug(self) -> str:
        """Name and split as a file name: ``reviews-test``, ``reviews-test.0-100``."""
        return slug(self.name, self.split)


def load_texts(path: str | os.PathLike[str], split: str = "all") -> TextSet:
    """Read a file of texts, in UTF-8.

    A ``.txt`` file has a text on each line. A ``.tsv`` or ``.csv`` file has a text and a label on
    each line, and may begin with the line ``text, label``; in ``.csv``, quotes enclose texts with
    commas or line breaks. Empty lines are left out. The splits are ``all`` and the ``train`` and
    ``test`` that ``holdout`` draws by the ids.

    Args:
        path: of the file.
        split: such as ``test`` or ``all[:100]``.

    Raises:
        UsageError: another suffix, no such split, or a slice beyond it.
        DataError: a file that is absent or damaged, holds no text, or has other columns.
    """
    path = Path(path).expanduser()
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: expected a file of texts, {', '.join(SUFFIXES)}")
    wanted = Split.parse(split).among(path.stem, ("all", "train", "test"))
    rows = _read(path)
    classes = class_names({label for _, _, label in rows if label is not None})
    labels = np.array([0 if label is None else classes.index(label) for _, _, label in rows])
    ids = [f"{path.stem}/{line}" for line, _, _ in rows]
    members = np.arange(len(rows))
    if wanted.base != "all":
        members = np.flatnonzero(holdout(ids, labels) == (wanted.base == "test"))
    wanted = wanted.within(len(members))
    members = members[wanted.rows]
    return TextSet(
        name=path.stem,
        split=str(wanted),
        texts=tuple(rows[member][1] for member in members),
        targets=label_target(torch.from_numpy(labels[members]) if classes else None, classes),
        ids=tuple(ids[member] for member in members),
        files=FileList.of([path], path.parent),
        whole=len(rows),
    )


def _read(path: Path) -> list[Row]:
    """Every row of a file that holds a text."""
    try:
        # utf-8-sig: a byte order mark is no part of the first text
        with path.open(
            encoding="utf-8-sig", newline="" if path.suffix == ".csv" else None
        ) as stream:
            rows = list(_plain(stream) if path.suffix == ".txt" else _labelled(path, stream))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file of texts") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, f"a {path.suffix} file in UTF-8", error) from None
    if not rows:
        raise DataError(f"{path}: no texts; expected one on each line")
    return rows


def _plain(stream: Iterator[str]) -> Iterator[Row]:
    for line, text in enumerate(stream, start=1):
        if text.strip():
            yield line, text.rstrip("\n"), None


def _labelled(path: Path, stream: Iterator[str]) -> Iterator[Row]:
    if path.suffix == ".csv":
        reader = csv.reader(stream, strict=True)
    else:  # has no quotes: a text may well begin with one
        reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
    line = 1
    for row in reader:
        header = line == 1 and tuple(cell.strip().lower() for cell in row) == HEADER
        if any(cell.strip() for cell in row) and not header:
            if len(row) != 2 or not all(cell.strip() for cell in row):
                raise DataError(
                    f"{path}, line {line}: expected a text and a label, got {len(row)} columns, "
                    f"{sum(not cell.strip() for cell in row)} of them empty"
                )
            yield line, row[0], row[1].strip()
        line = reader.line_num + 1


class Tokenizer(Protocol):
    """The part of a tokenizer of transformers that is used."""

    pad_token: Any
    eos_token: Any
    model_max_length: int
    padding_side: str

    def __call__(
        self,
        text: list[str],
        *,
        padding: str,
        truncation: bool,
        max_length: int,
        return_attention_mask: bool,
        return_tensors: str,
    ) -> Mapping[str, Tensor]: ...


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a folder, such as that of a pretrained model, or of the hub by its name.

    One without a padding token, as those of generative models, pads with its end token; the
    attention mask leaves both out. All pad behind a text, where padding moves no position.

    Raises:
        UsageError: transformers is not installed, no tokenizer is found, or it has neither token.
    """
    tokenizers = optional("transformers").AutoTokenizer
    folder = Path(path).expanduser()
    try:
        with quietly():
            if folder.is_dir():
                tokenizer = tokenizers.from_pretrained(str(folder), local_files_only=True)
            else:
                tokenizer = tokenizers.from_pretrained(str(path))
    except Exception as error:  # as many kinds as there are tokenizers
        raise UsageError(
            f"{path}: no tokenizer can be loaded ({reason(error)}); expected a folder that "
            "save_pretrained wrote, or the name of one on the hub"
        ) from error
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise UsageError(f"{path}: the tokenizer has no token to pad with; give it a pad_token")
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def tokenise(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int = 128
) -> dict[str, Tensor]:
    """The tokens of n texts, cut or padded to ``max_length``, so that all batches have one shape.

    Returns:
        ``input_ids`` and ``attention_mask`` (1 where there is a token, 0 where padding), both int64
        of shape (n, max_length).

    Raises:
        UsageError: a length below 1, or above what the tokenizer's model takes.
    """
    if not 1 <= max_length <= tokenizer.model_max_length:
        raise UsageError(
            f"max_length is {max_length}; expected from 1 to {tokenizer.model_max_length:,} tokens"
        )
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=max_length,
        return_attention_mask=True,
        return_tensors="pt",
    )
    return {key: tokens[key] for key in ("input_ids", "attention_mask")}


@dataclass(frozen=True, eq=False)
class TextLoader:
    """Batches (tokens, labels, ids) of a text set, in order; tokens are those of ``tokenise``.

    Attributes:
        dataset: the texts.
        tokenizer: of the network.
        batch_size: texts at a time.
        max_length: tokens of each.
        start: first batch.
        stop: end of the batches; None for all.
    """

    dataset: TextSet
    tokenizer: Tokenizer
    batch_size: int = 32
    max_length: int = 128
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size is {self.batch_size}; expected at least 1")

    def __len__(self) -> int:
        return len(range(-(-len(self.dataset) // self.batch_size))[self.start : self.stop])

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Labels, list[str]]]:
        texts, ids = self.dataset.texts, self.dataset.ids
        for k in range(self.start, self.start + len(self)):
            rows = slice(k * self.batch_size, (k + 1) * self.batch_size)
            tokens = tokenise(self.tokenizer, texts[rows], self.max_length)
            yield tokens, self.dataset.labels_at(rows), list(ids[rows])

    @property
    def slug(self) -> str:
        """The name of the texts in files."""
        return self.dataset.slug

    def part(self, start: int, stop: int) -> TextLoader:
        """The batches from ``start`` to ``stop`` only."""
        return replace(self, start=start, stop=stop)
