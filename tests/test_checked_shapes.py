"""The check of shapes that the tests run under."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from checked_shapes import Shapes, WrongShapeError

from repsim.measures.distances import squared_distances

MODULE = '''
from __future__ import annotations
import functools
from dataclasses import dataclass
from typing import NamedTuple
from jaxtyping import Float, Int
from torch import Tensor

@dataclass(frozen=True)
class Pair:
    x: Float[Tensor, "n p"]
    y: Float[Tensor, "n q"]

    @property
    def total(self) -> Float[Tensor, ""]:
        return self.x

class Plain:
    @classmethod
    def of(cls, x: Float[Tensor, "n n"], *, scale: float = 1) -> Plain:
        return cls()

@functools.cache
def product(x: Float[Tensor, "n p"], y: Float[Tensor, "p q"]) -> Float[Tensor, "n q"]:
    return x @ y if x[0, 0] > 0 else y

def each(xs: list[Float[Tensor, "n p"]] | None, rows: Int[Tensor, " n"] | None) -> None:
    """Do nothing."""

def untouched(x: int) -> int:
    return x
'''


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "made_for_shapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    Shapes(["made_for_shapes"]).install()
    import made_for_shapes  # type: ignore[import-not-found]

    yield made_for_shapes
    del sys.modules["made_for_shapes"]


def test_axes_of_one_name_have_one_size(made: Any) -> None:
    x, y = torch.ones(3, 2), torch.ones(2, 5)
    assert made.product(x, y).shape == (3, 5)
    for wrong in (torch.ones(3, 5), torch.ones(2), torch.ones(2, 5, dtype=torch.int64)):
        with pytest.raises(WrongShapeError, match="product: y is"):
            made.product(x, wrong)
    with pytest.raises(WrongShapeError, match="Plain.of: x is"):
        made.Plain.of(x)
    made.each([x, x], torch.arange(3))
    with pytest.raises(WrongShapeError, match="each: rows is"):
        made.each([x], torch.arange(2))
    with pytest.raises(WrongShapeError, match="each: xs is"):
        made.each([y[0]], None)


def test_results_are_checked_whenever_their_shape_is_new(made: Any) -> None:
    x, y = torch.ones(3, 2), torch.ones(2, 5)
    for _ in range(2):
        assert made.product(x, y).shape == (3, 5)
    with pytest.raises(WrongShapeError, match="product: return is"):
        made.product(-x, y)  # arguments of the same kinds


def test_types_beside_shapes_are_checked_too(made: Any) -> None:
    assert isinstance(made.Plain.of(torch.eye(2), scale=3), made.Plain)  # as for mypy
    with pytest.raises(WrongShapeError, match="scale is 3; expected"):
        made.Plain.of(torch.eye(2), scale="3")
    assert made.untouched("3") == "3"


def test_dataclasses_are_checked_as_they_are_made(made: Any) -> None:
    pair = made.Pair(torch.ones(3, 2), torch.ones(3, 1))
    with pytest.raises(WrongShapeError, match="Pair.__init__: y is"):
        made.Pair(torch.ones(3, 2), torch.ones(2, 2))
    with pytest.raises(WrongShapeError, match="Pair.total: return is"):
        _ = pair.total


def test_repsim_is_under_it() -> None:
    with pytest.raises(WrongShapeError, match="points is"):
        squared_distances(torch.ones(3))
