"""The images that results are about, in words: which part of how many."""

from __future__ import annotations

from typing import Any

import pytest

from repsim.results.images import counted, numbered, told, told_apart


def shown(split: str, examples: int = 0, whole: int = 0, data: str = "sets/photos") -> Any:
    part = {"part": {"examples": examples, "whole": whole}} if whole else {}
    return {"data": data, "split": split, **part}


TEST, TRAIN = shown("test", 12, 60), shown("train", 48, 60)


@pytest.mark.parametrize(
    ("provenance", "n", "words"),
    [
        ({"a": TEST, "b": TEST}, 12, "photos test, n = 12 of 60"),
        ({"a": TEST, "b": shown("all", 60, 60)}, 12, "photos test, photos all, n = 12 of 60"),
        ({"a": TEST}, 2700, "photos test, n = 2,700 (12 of 60)"),
        ({"a": shown("test")}, 12, "photos test, n = 12"),
        ({"a": TEST, "b": shown("test")}, 12, "photos test, n = 12"),
        ({"a": TEST, "b": shown("test", 5, 9, "others")}, 5, "photos test, others test, n = 5"),
        ({"a": {"data": "x.npy"}}, 7, "n = 7"),
        ({}, 7, "n = 7"),
    ],
)
def test_the_part_is_said_with_the_number(provenance: Any, n: int, words: str) -> None:
    assert counted(provenance, n) == words


def test_tables_say_the_number_first() -> None:
    assert told({"a": TEST}, 12) == "n = 12 of 60, photos test"
    assert told({}, 12) == numbered({}, 12) == "n = 12"


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({"train": TRAIN, "test": TEST}, "n = 48 + 12 of 60, photos train and photos test"),
        (
            {"cnn": {"train": TRAIN, "test": TEST}},
            "n = 48 + 12 of 60, photos train and photos test",
        ),
        (
            {"train": shown("train"), "test": shown("test")},
            "n = 48 + 12, photos train and photos test",
        ),
        (
            {"train": shown("train", 9, 60), "test": TEST},
            "n = 48 + 12, photos train and photos test",
        ),
        ({"config": {"test": "test[:9]", "train": {"lr": 1}}}, "n = 48 + 12"),
    ],
)
def test_both_parts_of_probes_are_said(provenance: Any, words: str) -> None:
    assert told_apart(provenance, 48, 12) == words
