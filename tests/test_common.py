"""Two sources compared on the examples that both have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from driving import run_command
from torch import nn

import repsim
from repsim.activations.analyses.influence import influence_table
from repsim.common import SharedRows, common_examples
from repsim.errors import DegenerateError, MismatchError
from repsim.sources import ArraySource

torch.manual_seed(0)
X = torch.randn(60, 6)
IDS = [f"city-{k}" for k in range(60)]
LABELS = torch.arange(60) % 3
RNG = np.random.default_rng(0)

#: Rows of two stores: they share 30, which the second has in another order.
OF_A, OF_B = np.arange(10, 50), np.r_[np.arange(40)[::-1], 55, 50]
SHARED = np.arange(10, 40)


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()


def stored(path: Path, seed: int, rows: np.ndarray, **change: Any) -> Any:
    inputs = change.get("inputs", X)
    batches = [
        (inputs[part], change.get("labels", LABELS)[part], [IDS[k] for k in part])
        for part in np.array_split(rows, 3)
    ]
    return repsim.harvest(net(seed), batches, path, examples=len(rows))


@pytest.fixture
def stores(tmp_path: Path) -> Any:
    with stored(tmp_path / "a.h5", 1, OF_A) as a, stored(tmp_path / "b.h5", 2, OF_B) as b:
        yield a, b


def source(n: int = 60, ids: Any = None, **arrays: Any) -> ArraySource:
    return ArraySource(arrays or {"x": RNG.normal(size=(n, 3))}, example_ids=ids)


def test_values_are_those_of_the_common_examples_by_hand(stores: Any, tmp_path: Path) -> None:
    a, b = stores
    with stored(tmp_path / "x.h5", 1, SHARED) as x, stored(tmp_path / "y.h5", 2, SHARED) as y:
        expected = repsim.cka_map(x, y, permutations=9)
        by_hand = influence_table(x, y, layer="2")
    found = repsim.cka_map(*common_examples(a, b), permutations=9)
    assert found.n == 30
    for table in ("unbiased", "biased", "stderr", "p_value"):
        np.testing.assert_allclose(getattr(found, table), getattr(expected, table), rtol=1e-5)
    influences = influence_table(*common_examples(a, b), layer="2")
    assert [row["example"] for row in influences.rows()] == [IDS[k] for k in SHARED]
    assert [row["label"] for row in influences.rows()] == LABELS[SHARED].tolist()
    np.testing.assert_allclose(
        [row["influence"] for row in influences.rows()],
        [row["influence"] for row in by_hand.rows()],
        atol=1e-7,
    )


def test_rows_come_in_the_order_of_the_first_and_nothing_else_is_known_of_others(
    stores: Any,
) -> None:
    a, b = stores
    common = common_examples(a, b)
    assert common.record() == {"n": 30, "left_out": [10, 12], "names": ["a", "b"]}
    assert [each.decode() for each in common.b.example_ids] == [IDS[k] for k in SHARED]
    for side, rows in ((common.a, OF_A), (common.b, OF_B)):
        places = [int(np.flatnonzero(rows == k)[0]) for k in SHARED]
        whole = (a if side is common.a else b)["2"][:]
        for start, stop in ((0, 30), (3, 17), (29, 30), (5, 5)):
            np.testing.assert_array_equal(side.rows("2", start, stop), whole[places[start:stop]])
        assert side.labels.tolist() == LABELS[SHARED].tolist()
        assert side.targets[0].values.tolist() == LABELS[SHARED].tolist()
        assert len(side.inputs) == 30
    assert np.array_equal(common.a.inputs, common.b.inputs)
    found = repsim.cka_map(*common)
    assert found.provenance["a"]["common"] == {"n": 30, "left_out": 10}


def test_a_block_reads_few_rows_beside_its_own() -> None:
    asked: list[int] = []

    class Counting(ArraySource):
        def rows(self, layer: str, start: int, stop: int) -> Any:
            asked.append(stop - start)
            return super().rows(layer, start, stop)

    n = 4000
    ids = np.array([f"{k:05d}" for k in range(n)])
    a = Counting({"x": RNG.normal(size=(n, 2))}, example_ids=ids)
    kept = RNG.permutation(n)[: n // 2]
    b = Counting({"x": torch.randn(n // 2, 2)}, example_ids=ids[kept])
    whole = a.rows("x", 0, n)
    common = common_examples(a, b)
    asked.clear()
    for side in common:
        for start in range(0, common.a.n, 100):
            side.rows("x", start, start + 100)
    assert max(asked) <= 100
    np.testing.assert_array_equal(common.a.rows("x", 0, 2000), whole[np.sort(kept)])
    assert isinstance(common.b.rows("x", 0, 50), torch.Tensor)


def test_other_labels_and_other_inputs_of_common_examples_are_refused(tmp_path: Path) -> None:
    other = X.clone()
    other[30] += 1
    with (
        stored(tmp_path / "a.h5", 1, OF_A) as a,
        stored(tmp_path / "b.h5", 2, OF_B, labels=(LABELS + 1) % 3) as b,
        stored(tmp_path / "c.h5", 2, OF_B, inputs=other) as c,
    ):
        with pytest.raises(MismatchError, match="another 'label' for 30 of 30"):
            repsim.cka_map(*common_examples(a, b))
        with pytest.raises(MismatchError, match="1 of 30 have other inputs"):
            repsim.cka_map(*common_examples(a, c))


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: (source(), source()), MismatchError, "arrays has no example ids, by which"),
    (
        lambda: (source(4, ["a", "b", "a", "c"]), source(4, list("abcd"))),
        MismatchError,
        "arrays has the example id 'a' 2 times; expected an id of its own each",
    ),
    (
        lambda: (source(4, list("abcd")), source(4, list("efgh"))),
        MismatchError,
        "no example id in common: the one has 'a', 'b', 'c' and 1 more, the other 'e', 'f', 'g' "
        r"and 1 more; if .* the same ids, by batches \(inputs, labels, ids\) .* import --ids FILE$",
    ),
    (
        lambda: (source(60, range(60)), source(40, range(40))),
        MismatchError,
        "are numbers of their rows, 60 and 40, and neither digests nor their order say",
    ),
    (lambda: (source(4, list("abcd")), source(5, list("abcxy"))), DegenerateError, "3 examples"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_sources_without_enough_in_common_are_refused(
    make: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        repsim.cka_map(*common_examples(*make()))
    assert "\n" not in str(caught.value)


def test_the_command_says_which_ids_each_has_and_what_to_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And following it works."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", RNG.normal(size=(12, 3)))
    Path("theirs.txt").write_text("".join(f"city {k}\n" for k in range(12)))
    Path("ours.txt").write_text("".join(f"town {k}\n" for k in range(12)))
    for name, ids in (("a", "ours.txt"), ("b", "theirs.txt"), ("c", "theirs.txt")):
        assert run_command("import", "x.npy", "-o", f"{name}.h5", "--ids", ids) == 0
    both = ("cka", "--a", "a.h5", "--common", "-o", "r.json")
    assert run_command(*both, "--b", "b.h5") == 1
    said = capsys.readouterr().err
    assert "'town 0', 'town 1', 'town 2' and 9 more, the other 'city 0'" in said
    assert run_command("cka", "--a", "c.h5", "--common", "-o", "r.json", "--b", "b.h5") == 0


def test_ids_of_text_and_bytes_are_the_same_ids() -> None:
    values = RNG.normal(size=(6, 3))
    a = source(ids=np.array([b"a", b"b", b"c", b"d", b"e", "é".encode()]), x=values)
    b = source(ids=["é", "e", "d", "c", "b", "z"], x=values[::-1].copy())
    found = common_examples(a, b)
    assert isinstance(found.a, SharedRows)
    np.testing.assert_array_equal(found.a.rows("x", 0, 5), found.b.rows("x", 0, 5))


def test_numbered_rows_are_compared_where_digests_tell(tmp_path: Path) -> None:
    def numbered(name: str, seed: int, inputs: torch.Tensor) -> Any:
        return repsim.harvest(net(seed), [inputs], tmp_path / name, examples=len(inputs))

    a, b, c = numbered("a.h5", 1, X), numbered("b.h5", 2, X[:40]), numbered("c.h5", 2, X[20:])
    assert repsim.cka_map(*common_examples(a, b)).n == 40
    with pytest.raises(MismatchError, match="neither digests nor their order say"):
        repsim.cka_map(*common_examples(a, c))


def test_without_it_other_examples_are_refused_and_it_is_proposed(stores: Any) -> None:
    with pytest.raises(MismatchError, match=r"or compare the 30 that both have: --common \(repsim"):
        repsim.cka_map(*stores)
    few = source(4, list("abcd")), source(4, list("abdc"))
    with pytest.raises(MismatchError, match="or compare the 4 that both have: --common"):
        repsim.cka_map(*few)
    with pytest.raises(MismatchError, match="same data set and split$"):
        repsim.cka_map(source(4, list("abcd")), source(4, list("efgh")))
    with pytest.raises(MismatchError, match="same data set and split$"):  # it would be refused
        repsim.cka_map(source(60, range(60)), source(40, range(40)))


@pytest.mark.parametrize(
    "command",
    [
        ("similarity",),
        ("cka",),
        ("influence", "--layer", "2"),
        ("layer-identification", "--layers", "0,2", "--measure", "cka,cca"),
    ],
)
def test_commands_compare_common_examples_and_say_how_many(
    stores: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    for store in stores:
        store.close()
    monkeypatch.chdir(tmp_path)
    both = ("--a", "a.h5", "--b", "b.h5", "-o", "r.json")
    assert run_command(*command, *both) == 1
    assert "--common" in capsys.readouterr().err
    assert run_command(*command, *both, "--common") == 0
    assert "note: 30 examples are in both; left out: 10 of a, 12 of b" in capsys.readouterr().err
    recorded = json.loads((tmp_path / "r.json").read_text())["provenance"]
    assert recorded["common"] == {"n": 30, "left_out": [10, 12], "names": ["a", "b"]}
    assert recorded["settings"]["common"] is True
    assert run_command(*command, *both[:2], "-o", "s.json", "--common") == 2
    assert "name a second one with --b" in capsys.readouterr().err


def test_common_is_about_stores(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--a", "x", "--b", "y", "--common", "--augmentation", "none")
    assert run_command("similarity", *options) == 2
    assert "common is about stores; leave it out, or augmentation" in capsys.readouterr().err
