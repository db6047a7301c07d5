"""Computations that look at numbers on their way, those of many in one transfer.

A number that Python looks at makes it wait for the device. A computation that needs one *asks*: it
is a generator that yields a vector of numbers and gets them back as floats. Several of them go on
side by side, and what they ask for at the same time comes in one transfer.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Asking = Generator[Tensor, list[float], T]


def alone(asking: Asking[T]) -> T:
    """The result of one computation."""
    return together([asking])[0]


def together(askings: Sequence[Asking[T]]) -> list[T]:
    """The results of several computations.

    One on the CPU, where nothing waits, comes to its end before the next begins.
    """
    results: dict[int, T] = {}
    asked: dict[int, Tensor] = {}

    def go_on(k: int, answer: list[float] | None) -> None:
        try:
            question = askings[k].send(answer)  # type: ignore[arg-type] # None begins it
            while question.device.type == "cpu":
                question = askings[k].send(question.tolist())
            asked[k] = question
        except StopIteration as end:
            results[k] = end.value

    for k in range(len(askings)):
        go_on(k, None)
    while asked:
        questions, asked = asked, {}
        for k, answer in _read(questions).items():
            go_on(k, answer)
    return [results[k] for k in range(len(askings))]


def _read(questions: Mapping[int, Tensor]) -> dict[int, list[float]]:
    """The numbers of all questions, in one transfer from each device."""
    answers: dict[int, list[float]] = {}
    for device in {question.device for question in questions.values()}:
        here = {k: question for k, question in questions.items() if question.device == device}
        numbers = torch.cat([question.double() for question in here.values()]).tolist()
        for k, question in here.items():
            answers[k], numbers = numbers[: len(question)], numbers[len(question) :]
    return answers
