"""Arrays of other libraries: those that DLPack alone hands on, and pandas' nullable numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from repsim import MinibatchCKA, cka, cka_map, null_space, probe
from repsim.dense import as_labels
from repsim.errors import UsageError
from repsim.measures import MEASURES


class Shared:
    """An array that only DLPack hands on, as those of CuPy: it has no view for NumPy."""

    def __init__(self, values: Any) -> None:
        self._values = torch.as_tensor(values)

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


class Refusing(Shared):
    """One that also has the methods of an array, and raises where NumPy asks, as CuPy does."""

    shape = property(lambda self: tuple(self._values.shape))

    def __getitem__(self, rows: Any) -> Refusing:
        return Refusing(self._values[rows])

    def __len__(self) -> int:
        return len(self._values)

    def __dlpack_device__(self) -> Any:
        return (3, 0)  # pinned memory of CUDA

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed.")


def nullable(values: Any) -> Any:
    array = np.asarray(values)
    if array.ndim > 1:
        return pd.DataFrame({f"c{k}": nullable(column) for k, column in enumerate(array.T)})
    return pd.Series(array, dtype="Int64" if array.dtype.kind == "i" else "Float64")


KINDS = pytest.mark.parametrize("arrive", [Shared, Refusing, nullable])


@pytest.fixture
def x(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(40, 3))


@pytest.fixture
def y(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return x[:, :2] + rng.normal(size=(40, 2))


@KINDS
@pytest.mark.parametrize("name", MEASURES)
def test_measures(name: str, arrive: Any, x: np.ndarray, y: np.ndarray) -> None:
    measure = MEASURES[name].function
    assert measure(arrive(x), arrive(y)) == pytest.approx(measure(x, y), abs=1e-12)


@KINDS
def test_maps_and_streams(arrive: Any, x: np.ndarray, y: np.ndarray) -> None:
    found = cka_map({"x": arrive(x)}, {"y": arrive(y)})
    assert found.unbiased == pytest.approx(cka_map({"x": x}, {"y": y}).unbiased, abs=1e-12)
    stream = MinibatchCKA(["x"], ["y"])
    stream.update({"x": arrive(x)}, {"y": arrive(y)})
    assert stream.compute().unbiased == pytest.approx(cka(x, y), abs=1e-12)


@KINDS
def test_probes_and_null_spaces(arrive: Any, x: np.ndarray, rng: np.random.Generator) -> None:
    labels = (x[:, 0] > 0).astype(int)
    found, expected = probe(arrive(x), arrive(labels)), probe(x, labels)
    assert found.accuracy == expected.accuracy
    assert torch.equal(found.predict(arrive(x)), expected.predict(x))
    weight = rng.normal(size=(2, 3))
    of = [null_space(f(x), f(weight), draws=20, resamples=20) for f in (arrive, np.asarray)]
    for mine, theirs in zip(of[0].entries, of[1].entries, strict=True):
        assert mine.value == pytest.approx(theirs.value, nan_ok=True)


@pytest.mark.parametrize("dtype", ["Int8", "UInt64", "Float32", "Float64", "boolean"])
def test_nullable_columns_beside_others(dtype: str, x: np.ndarray, y: np.ndarray) -> None:
    plain = pd.DataFrame({"a": (x[:, 0] > 0).astype(float), "b": x[:, 1]})
    mixed = plain.assign(a=pd.array(plain["a"], dtype=dtype))
    assert cka(mixed, y) == pytest.approx(cka(plain, y), abs=1e-7)


def test_nullable_labels_are_whole_numbers() -> None:
    found = as_labels(pd.array([2, 0, 1], dtype="Int64"), "labels")
    assert found.tolist() == [2, 0, 1]
    assert found.dtype == torch.int64


def test_what_cannot_be_taken_is_named(y: np.ndarray) -> None:
    missing = pd.DataFrame({"a": pd.array([1, None] * 20, dtype="Int64")})
    with pytest.raises(UsageError, match=r"x: it has missing entries \(pandas.NA\); .* fill them"):
        cka(missing, y)
    with pytest.raises(UsageError, match="x: it holds Python objects"):
        cka(pd.DataFrame({"a": [1] * 40, "b": ["text"] * 40}), y)

    class Broken(Shared):
        def __dlpack__(self, **_: Any) -> Any:
            raise BufferError("not exportable")

    with pytest.raises(UsageError, match="x: it is no array of numbers .not exportable"):
        cka(Broken(y), y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch can share memory of a GPU here")
def test_arrays_on_a_gpu_that_torch_cannot_use_are_copied(x: np.ndarray, y: np.ndarray) -> None:
    class Jax(Shared):
        def __dlpack_device__(self) -> Any:
            return (2, 0)

        def __array__(self, *_: Any, **__: Any) -> Any:
            return self._values.numpy()

    assert cka(Jax(x), y) == cka(x, y)


def test_arrays_on_a_gpu_stay_where_they_lie(x: np.ndarray) -> None:
    from repsim.dense import as_numbers

    assert isinstance(as_numbers(Refusing(x), "x"), Tensor)
    shared = torch.as_tensor(x)
    assert as_numbers(Shared(shared), "x").data_ptr() == shared.data_ptr()
