"""Arrays that are no dense ones, data frames in another order, labels that are too large: from
every public function the right value, or one line."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
import xarray as xr
from public import NETWORKS, PUBLIC, RUNNING, N, Public, values

import repsim
from repsim.errors import MismatchError, RepsimError, ShapeError, UsageError

BIG = 10**8


def masked(array: np.ndarray) -> Any:
    """Masked in the last entry only."""
    mask = np.zeros(array.shape, bool)
    mask.flat[-1] = True
    return np.ma.array(array.copy(), mask=mask)


def quantised(array: np.ndarray) -> Any:
    return torch.quantize_per_tensor(torch.from_numpy(array).float(), 0.1, 0, torch.qint8)


def nested(array: np.ndarray) -> Any:
    return torch.nested.nested_tensor(list(torch.from_numpy(array).float()))


#: Arrays without a value in each place, and what the error says of them.
KINDS: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "masked": (masked, "has masked entries"),
    "list of masked rows": (lambda array: list(masked(array)), "has masked entries"),
    "masked tensor": (
        lambda array: torch.masked.masked_tensor(
            torch.from_numpy(array).float(), torch.ones(array.shape, dtype=torch.bool)
        ),
        "has masked entries",
    ),
    "scipy sparse": (lambda array: scipy.sparse.csr_matrix(array), "is sparse"),
    "scipy coo": (lambda array: scipy.sparse.coo_array(array), "is sparse"),
    "sparse": (lambda array: torch.from_numpy(array).to_sparse(), "is sparse"),
    "sparse rows": (
        lambda array: torch.from_numpy(array.reshape(len(array), -1)).to_sparse_csr(),
        "is sparse",
    ),
    "quantised": (quantised, "is quantised"),
    "nested": (nested, "is nested"),
    "meta": (lambda array: torch.from_numpy(array).to("meta"), "has no values"),
}


def cases() -> list[tuple[str, str]]:
    """Each public function with each of its inputs."""
    return [
        (name, given)
        for name, public in PUBLIC.items()
        for given in (*public.inputs, *public.labels)
    ]


def arguments(public: Public) -> dict[str, Any]:
    return {key: values()[key] for key in (*public.inputs, *public.labels)}


@pytest.mark.filterwarnings("ignore:.*(nested|quantize|quantization|MaskedTensor|masked|prototype)")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "given"), cases())
def test_arrays_without_all_values_are_refused_in_one_line(
    name: str, given: str, kind: str
) -> None:
    public, (make, says) = PUBLIC[name], KINDS[kind]
    inputs = arguments(public)
    if inputs[given].ndim == 1 and kind.startswith(("scipy", "sparse rows", "list", "nested")):
        pytest.skip("of matrices only")
    with pytest.raises(UsageError, match=f"it {says}.* first") as caught:
        public.call(**{**inputs, given: make(inputs[given])})
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*(nested|quantize|quantization|MaskedTensor|masked|prototype)")
@pytest.mark.parametrize("kind", ["masked", "sparse", "quantised", "nested", "meta"])
@pytest.mark.parametrize("name", RUNNING)
def test_batches_without_all_values_are_refused_in_one_line(
    name: str, kind: str, tmp_path: Path
) -> None:
    x = KINDS[kind][0](values()["x"])
    calls: dict[str, Callable[[Any], Any]] = {
        "harvest": lambda batch: repsim.harvest(
            NETWORKS[0], [batch], tmp_path / "a.h5", examples=N
        ),
        "compare": lambda batch: repsim.compare(*NETWORKS, [batch, batch]),
        "layer_null_spaces": lambda batch: repsim.activations.layer_null_spaces(
            NETWORKS[0], [batch]
        ),
    }
    for batch in (x, (x, torch.zeros(N, dtype=torch.int64)), {"input": x}):
        with pytest.raises(RepsimError, match=KINDS[kind][1]) as caught:
            calls[name](batch)
        assert "\n" not in str(caught.value)


def test_a_masked_array_without_masked_entries_is_an_array() -> None:
    given = values()
    x = np.ma.array(given["x"], mask=False)
    assert repsim.cka(x, given["y"]) == repsim.cka(given["x"], given["y"])
    assert repsim.probe(x, given["labels"]).accuracy == (
        repsim.probe(given["x"], given["labels"]).accuracy
    )


def test_masked_rows_beyond_the_first_are_refused_by_a_source_that_is_read_in_blocks() -> None:
    class Lazy:
        """A layer that is read by slices."""

        shape = (N, 5)

        def __getitem__(self, rows: slice) -> Any:
            return masked(values()["x"])[rows]

    with pytest.raises(UsageError, match="it has masked entries"):
        repsim.probe(Lazy(), values()["labels"])


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.ma.array(np.zeros(N, int), mask=np.arange(N) == N - 1), "has masked entries"),
        (np.full(N, 2**63 + 1, np.uint64), r"label 9223372036854775809; .* below 2\^63"),
        (torch.zeros(N, dtype=torch.int64).to("meta"), "has no values"),
    ],
    ids=["masked", "large", "meta"],
)
def test_labels_of_batches_are_labels_or_refused(labels: Any, says: str, tmp_path: Path) -> None:
    batch = (torch.from_numpy(values()["x"]), labels)
    with pytest.raises(UsageError, match=says):
        repsim.harvest(NETWORKS[0], [batch], tmp_path / "a.h5", examples=N)


# --- data frames

NAMES = [f"city {k}" for k in range(N)]
ORDER = np.random.default_rng(1).permutation(N)


def frame(array: np.ndarray, names: Any) -> Any:
    """A frame or series whose rows have names."""
    return (pd.Series if array.ndim == 1 else pd.DataFrame)(array, index=names)


def frames(public: Public, names: Any) -> dict[str, Any]:
    return {
        key: frame(value, names) if len(value) == N else value
        for key, value in arguments(public).items()
    }


#: Inputs of each function whose rows are the same examples.
TOGETHER = [
    (name, other)
    for name, public in PUBLIC.items()
    for first, other in (("x", "y"), ("x", "labels"), ("test", "test_labels"))
    if first in arguments(public) and other in arguments(public)
]


@pytest.mark.parametrize("name", PUBLIC)
def test_frames_in_one_order_give_the_values_of_arrays(name: str) -> None:
    public = PUBLIC[name]
    expected = np.asarray(public.call(**arguments(public)), float)
    for names in (NAMES, ORDER + 0.5, None):
        np.testing.assert_array_equal(
            np.asarray(public.call(**frames(public, names)), float), expected
        )


@pytest.mark.parametrize("names", [NAMES, list(range(N))], ids=["texts", "numbers"])
@pytest.mark.parametrize(("name", "other"), TOGETHER)
def test_frames_in_another_order_are_refused(name: str, other: str, names: Any) -> None:
    public = PUBLIC[name]
    inputs = frames(public, names)
    inputs[other] = inputs[other].iloc[ORDER]
    with pytest.raises(MismatchError, match="same names in another order, first") as caught:
        public.call(**inputs)
    assert "\n" not in str(caught.value)
    assert ".to_numpy()" in str(caught.value)


def test_arrays_of_xarray_in_another_order_are_refused() -> None:
    x = xr.DataArray(values()["x"], dims=("city", "unit"), coords={"city": NAMES})
    y = xr.DataArray(values()["y"], dims=("city", "unit"), coords={"city": NAMES})
    assert repsim.cka(x, y) == repsim.cka(x.values, y.values)
    with pytest.raises(MismatchError, match="rows of x and y have the same names"):
        repsim.cka(x, y.isel(city=ORDER))


def test_frames_of_other_names_are_refused_where_they_share_some() -> None:
    x, y = frame(values()["x"], NAMES), frame(values()["y"], [*NAMES[1:], "elsewhere"])
    with pytest.raises(MismatchError, match="have other names, first 'city 0' and 'city 1' at 0"):
        repsim.cka(x, y)
    apart = frame(values()["y"], [f"{k}" for k in range(N)])
    assert repsim.cka(x, apart) == repsim.cka(x.to_numpy(), apart.to_numpy())


def test_the_remedy_that_is_named_helps() -> None:
    x, y = frame(values()["x"], NAMES), frame(values()["y"], NAMES).iloc[ORDER]
    assert repsim.cka(x, y.loc[x.index]) == repsim.cka(values()["x"], values()["y"])


def test_columns_in_another_order_are_refused() -> None:
    given, columns = values(), list("abcde")
    x = pd.DataFrame(given["x"], columns=columns)
    test = pd.DataFrame(given["test"], columns=columns)
    turned, labels = test[columns[::-1]], given["labels"]
    with pytest.raises(MismatchError, match="columns of features and test_features"):
        repsim.probe(x, labels, test_features=turned, test_labels=labels)
    with pytest.raises(MismatchError, match="columns of the training features and features"):
        repsim.probe(x, labels, solver="ridge").predict(turned)
    weight = pd.DataFrame(given["weight"], columns=columns)
    with pytest.raises(MismatchError, match="columns of weight and features"):
        repsim.null_space(x[columns[::-1]], weight, draws=10, resamples=10)
    with pytest.raises(MismatchError, match="columns of features and generated"):
        repsim.null_space(x, given["weight"], generated=turned, draws=10, resamples=10)
    with pytest.raises(MismatchError, match="rows of features and noisy"):
        noisy = {"gaussian 0.25": frame(given["test"], ORDER)}
        repsim.null_space(x, given["weight"], noisy=noisy, draws=10, resamples=10)


def test_rows_of_a_frame_are_read_by_their_places() -> None:
    """Slices of a frame with fractions as names go by the names."""
    x, labels = values()["x"], values()["labels"]
    far = pd.DataFrame(x, index=ORDER * 1e4 + 0.5)
    found = repsim.probe(far, labels, solver="ridge")
    assert found.accuracy == repsim.probe(x, labels, solver="ridge").accuracy


# --- labels


@pytest.mark.parametrize(
    "name", [name for name, public in PUBLIC.items() if "labels" in public.labels]
)
@pytest.mark.parametrize("top", [BIG, 2**62, 2**63 - 1])
def test_large_labels_are_labels(name: str, top: int) -> None:
    public = PUBLIC[name]
    inputs = arguments(public)
    expected = np.asarray(public.call(**inputs), float)
    of_labels = {key: np.where(inputs[key] == 1, top, 3) for key in public.labels}
    tracemalloc.start()
    found = np.asarray(public.call(**{**inputs, **of_labels}), float)
    if name == "ProbeResult.predict":
        found = found == top
    np.testing.assert_array_equal(found.astype(float), expected)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, public in PUBLIC.items()
        if "labels" in public.labels and name != "class_similarity"
    ],
)
@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_labels_that_int64_does_not_hold_are_refused(name: str, make: Any) -> None:
    public = PUBLIC[name]
    inputs = arguments(public)
    labels = np.where(inputs["labels"] == 1, 2**63 + 1, 3).astype(np.uint64)
    with pytest.raises(ShapeError, match=r"labels run to 9223372036854775809; .* below 2\^63"):
        public.call(**{**inputs, "labels": make(labels)})


def test_classes_are_told_apart_by_labels_of_any_size() -> None:
    given = values()
    labels = np.where(given["labels"] == 1, 2**63 + 1, 2**63 + 3).astype(np.uint64)
    expected = repsim.class_similarity({"x": given["x"]}, given["labels"]).unbiased
    found = repsim.class_similarity({"x": given["x"]}, labels).unbiased
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_accuracy_of_a_class_takes_no_place_for_labels_that_are_not_there() -> None:
    x, labels = values()["x"], values()["labels"]
    small = repsim.probe(x, 3 * labels + 1, solver="ridge")
    large = repsim.probe(x, np.where(labels == 1, BIG, 1), solver="ridge")
    assert torch.equal(small.class_accuracy, large.class_accuracy)
    assert large.labels.tolist() == [1, BIG]
    assert torch.equal(small.per_class[[1, 4]], small.class_accuracy)
    assert small.per_class.isnan().tolist() == [True, False, True, True, False]
