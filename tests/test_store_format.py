"""The format: old files are read, checksums find damage, indexing is that of NumPy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

import repsim
from repsim.activations.store import compression as compressing
from repsim.activations.store.exchange import export_layers, import_activations
from repsim.activations.store.format import (
    ExampleRows,
    ExampleSpec,
    LayerSpec,
    TargetSpec,
    part_path,
)
from repsim.activations.store.parts import join_stores
from repsim.activations.store.writer import write_store
from repsim.cli.main import main
from repsim.errors import MismatchError, StoreError, UsageError

STORES = Path(__file__).parent / "stores"
DTYPES = ("float32", "float16", "bfloat16", "float64", "int64")
COMPRESSIONS = ("none", "lzf", "gzip")
N, SHAPE = 11, (3, 2)
TOLD = ExampleSpec((TargetSpec("label"), TargetSpec("parts", 2, ("a", "b"))), inputs=True)


def values(dtype: str, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Rows as they are written, and as they are read."""
    rows = np.random.default_rng(0).normal(size=(n, *SHAPE)) * 10
    if dtype != "bfloat16":
        return rows.astype(dtype), rows.astype(dtype)
    half = torch.as_tensor(rows).bfloat16()
    return half.view(torch.uint16).numpy(), half.float().numpy()


def examples(start: int, stop: int, told: ExampleSpec = TOLD) -> ExampleRows:
    every = {"label": np.arange(N), "parts": np.eye(N, 2, dtype=np.uint8)}
    inputs = np.arange(start, stop, dtype=np.uint64) + 2**63
    return ExampleRows(
        [f"a/{k}" for k in range(start, stop)],
        {each.name: every[each.name][start:stop] for each in told.targets},
        inputs if told.inputs else None,
    )


def write(
    path: Path,
    start: int = 0,
    stop: int = N,
    *,
    compression: str = "none",
    resume: bool = False,
    told: ExampleSpec = TOLD,
    **provenance: Any,
) -> Path:
    """A store with a layer of each number type; rows ``start`` to ``stop`` of N."""
    with write_store(
        path,
        n=stop - start,
        layers={dtype: LayerSpec("Linear", SHAPE, dtype) for dtype in DTYPES},
        examples=told,
        heads={},
        provenance={"weights_sha256": "w", "n": stop - start, **provenance},
        resume=resume,
        compression=compression,
    ) as writer:
        if writer.done == 0:
            for dtype in DTYPES:
                writer.write(dtype, values(dtype)[0][start:stop])
            writer.commit(examples(start, stop, told))
    return path


# Files of before


def test_a_store_of_version_1_is_read() -> None:
    with repsim.open_store(STORES / "version-1.h5") as store:
        assert store.layers == ("conv", "features", "head")
        assert [store[layer].shape for layer in store.layers] == [(6, 2, 2, 2), (6, 8), (6, 3)]
        sums = [float(store[layer][:].astype(np.float64).sum()) for layer in store.layers]
        np.testing.assert_allclose(
            sums, [-0.3247312977910042, 5.3226931393146515, -3.1980729401111603], rtol=1e-6
        )
        assert store.example_ids.tolist() == [f"a/{k}".encode() for k in range(6)]
        assert len(store.labels) == 6
        assert store.heads["head"]["weight"].shape == (3, 8)
        assert store.blocks == 0
        with pytest.raises(StoreError, match="no checksums: it is of format version 1"):
            store.verify()


def test_a_store_of_version_2_is_read() -> None:
    path = STORES / "version-2.h5"
    assert path.stat().st_size < 40_000
    with repsim.open_store(path) as store:
        assert store.layers == ("conv", "block/features", "head")
        assert store.verify() == []
        assert [each["dtype"] for each in store.describe()] == ["float32", "bfloat16", "float16"]
        rows = np.arange(6 * 8, dtype=np.float32).reshape(6, 8) / 8
        np.testing.assert_array_equal(store["block/features"][:], rows)
        np.testing.assert_array_equal(store["conv"][:], rows.reshape(6, 2, 2, 2))
        np.testing.assert_array_equal(store["head"][:], rows[:, :3])
        np.testing.assert_array_equal(store.labels, np.arange(6) % 3)
        np.testing.assert_array_equal(store.heads["head"]["weight"], np.eye(3, 8))
        assert store.heads["head"]["input"] == "block/features"


def test_the_checksums_are_those_that_the_documentation_defines() -> None:
    """Written from docs/format.md, with h5py alone."""

    def text(item: Any, name: str) -> str:
        return str(item.attrs[name])

    def line(*fields: Any) -> bytes:
        return ("\t".join(map(str, fields)) + "\n").encode()

    def form(item: Any) -> tuple[str, str]:
        kind = "bfloat16" if item.name.endswith("features") else item.dtype.str
        return kind, ",".join(map(str, item.shape))

    with h5py.File(STORES / "version-2.h5") as file:
        data = line("repsim-activations", 2) + line(text(file, "provenance"))
        for name, layer in sorted(file["layers"].items()):
            data += line(layer.attrs.get("address", name), *form(layer), layer.attrs["order"],
                         text(layer, "module"), text(layer, "axes"))  # fmt: skip
        for name in ("example_ids", "labels"):
            data += line(name, *form(file[name])) + file[name][:].tobytes()
        for name, head in sorted(file["heads"].items()):
            data += line(name, text(head, "input"))
            for part in ("weight", "bias"):
                if part in head:
                    data += line(part, *form(head[part])) + head[part][:].tobytes()
        assert xxhash.xxh3_64_intdigest(data) == file["checksums"].attrs["header"]
        sums = file["checksums/layers/conv"]
        block = sums.attrs["rows"]
        for k, expected in enumerate(sums[:]):
            rows = file["layers/conv"][k * block : (k + 1) * block]
            assert xxhash.xxh3_64_intdigest(rows.tobytes()) == expected


# Compression and number types


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_or_not_the_rows_are_the_same(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "a.h5", compression=compression)
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]
    with repsim.open_store(path) as store:
        assert store.verify() == []
        for dtype in DTYPES:
            np.testing.assert_array_equal(store[dtype][:], values(dtype)[1])
    with h5py.File(path) as file:  # what others see
        for dtype in DTYPES:
            np.testing.assert_array_equal(file["layers"][dtype][:], values(dtype)[1])
        assert (file["layers/float32"].compression or "none") == compression
        assert file["layers/bfloat16"].id.get_type().get_size() == 2


def test_a_compression_that_was_stopped_is_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write(tmp_path / "whole.h5", compression="gzip").read_bytes()
    original, path = compressing.write_rows, tmp_path / "a.h5"

    def killed(dataset: h5py.Dataset, start: int, rows: np.ndarray) -> None:
        if dataset.file.filename.endswith(".compressing"):
            raise KeyboardInterrupt
        original(dataset, start, rows)

    def full(dataset: h5py.Dataset, start: int, rows: np.ndarray) -> None:
        if dataset.file.filename.endswith(".compressing"):
            raise OSError(28, "No space left on device")
        original(dataset, start, rows)

    monkeypatch.setattr(compressing, "write_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        write(path, compression="gzip")
    assert part_path(path).is_file()
    assert not path.exists()
    monkeypatch.setattr(compressing, "write_rows", full)
    with pytest.raises(StoreError, match="No space left.*make room.*--resume"):
        write(path, compression="gzip", resume=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.h5.part", "whole.h5"]
    monkeypatch.setattr(compressing, "write_rows", original)
    write(path, compression="gzip", resume=True)
    assert path.read_bytes() == whole
    assert not part_path(path).exists()


# Indexing, as NumPy does


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Whole ones, plain and compressed, and one of three parts."""
    folder = tmp_path_factory.mktemp("stores")
    whole = [write(folder / f"{kind}.h5", compression=kind) for kind in COMPRESSIONS]
    ends = [0, 4, 5, N]
    parts = [
        write(folder / f"part-{k}.h5", *ends[k : k + 2], compression=kind)
        for k, kind in enumerate(COMPRESSIONS)
    ]
    opened = [*map(repsim.open_store, whole), repsim.open_store(parts)]
    yield opened
    for store in opened:
        store.close()


row = st.integers(-N - 2, N + 1)
bounds = st.none() | st.integers(-N - 3, N + 3)
slices = st.builds(slice, bounds, bounds, st.none() | st.integers(-4, 4).filter(bool))
first_axis = st.one_of(
    row,
    row.map(np.int64),
    row.map(np.array),
    slices,
    st.lists(row, max_size=15),
    st.lists(row, max_size=9).map(lambda each: np.array(each, np.int32)),
    st.lists(st.lists(row, min_size=2, max_size=2), min_size=1, max_size=3),
    st.lists(st.booleans(), min_size=N, max_size=N),
    st.lists(st.booleans(), min_size=N, max_size=N).map(np.array),
    st.lists(st.booleans(), min_size=N + 1, max_size=N + 2),
    st.just(Ellipsis),
)
other_axis = st.one_of(
    st.integers(-3, 3), slices, st.lists(st.integers(-2, 1), max_size=3), st.just(None)
)
keys = st.one_of(
    first_axis,
    st.tuples(first_axis),
    st.tuples(first_axis, other_axis),
    st.tuples(first_axis, other_axis, other_axis),
    st.tuples(first_axis, other_axis, other_axis, other_axis),
    st.just(()),
)


@settings(deadline=None, max_examples=300)
@given(key=keys, dtype=st.sampled_from(DTYPES), which=st.integers(0, 3))
def test_indexing_is_that_of_numpy(stores: list[Any], key: Any, dtype: str, which: int) -> None:
    layer, array = stores[which][dtype], values(dtype)[1]
    try:
        expected = array[key]
    except IndexError:
        with pytest.raises(IndexError):
            layer[key]
        return
    found = layer[key]
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.dtype == array.dtype


@pytest.mark.parametrize("key", [None, True, "x", 1.5, [0.5], (None, 0)])
def test_what_no_row_is_called(stores: list[Any], key: Any) -> None:
    with pytest.raises(IndexError):
        stores[0]["float32"][key]


def test_a_layer_is_an_array(stores: list[Any]) -> None:
    for store in stores:
        layer, array = store["bfloat16"], values("bfloat16")[1]
        assert (layer.shape, layer.ndim, len(layer), layer.dtype) == ((N, 3, 2), 3, N, np.float32)
        np.testing.assert_array_equal(np.asarray(layer), array)
        assert np.asarray(layer, np.float64).dtype == np.float64
        assert [each.tolist() for each in layer] == array.tolist()
        with pytest.raises(ValueError, match="is a copy"):
            np.asarray(layer, copy=False)


# Several as one


def test_parts_are_as_the_whole(stores: list[Any], tmp_path: Path) -> None:
    whole, _, _, joined = stores
    assert (joined.n, joined.layers, len(joined.parts)) == (N, whole.layers, 3)
    np.testing.assert_array_equal(joined.example_ids, whole.example_ids)
    np.testing.assert_array_equal(joined.labels, whole.labels)
    sizes = [[(each["shape"], each["bytes"]) for each in s.describe()] for s in (whole, joined)]
    assert sizes[0] == sizes[1]
    seen: list[tuple[int, int]] = []
    assert joined.verify(lambda done, total, note: seen.append((done, total))) == []
    assert seen == [(k + 1, joined.blocks) for k in range(joined.blocks)]
    found, expected = repsim.cka_map(joined), repsim.cka_map(whole)
    for name in ("unbiased", "biased", "stderr"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    join_stores([part.path for part in joined.parts], tmp_path / "one.h5")
    with repsim.open_store(tmp_path / "one.h5") as one:
        assert one.verify() == []
        np.testing.assert_array_equal(one["bfloat16"][:], whole["bfloat16"][:])


def test_parts_that_do_not_belong_together(tmp_path: Path) -> None:
    first, again = write(tmp_path / "a.h5", 0, 4), write(tmp_path / "b.h5", 3, 6)
    other = write(tmp_path / "c.h5", 6, 9, weights_sha256="v")
    with pytest.raises(MismatchError, match="example 'a/3' is in more than one"):
        repsim.open_store([first, again])
    with pytest.raises(MismatchError, match="weights_sha256 is 'w' and 'v'"):
        repsim.open_store([first, other])
    with pytest.raises(UsageError, match="no stores were given"):
        repsim.open_store([])
    with pytest.raises(StoreError, match="there is no activation store"):
        repsim.open_store([first, tmp_path / "absent.h5"])


# repsim info --verify


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["repsim", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_info_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.h5")
    assert run(monkeypatch, "info", path, "--verify") == 0
    assert capsys.readouterr().out == f"{path}: all is well, 5 blocks checked\n"
    assert run(monkeypatch, "info", path, "--verify", "--json") == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []
    with h5py.File(path, "r+") as file:
        file["layers/float16"][3, 0, 0] += 1
        file["example_ids"][0] = b"b/0"
    assert run(monkeypatch, "info", path, "--verify") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "header: the provenance, ids, labels, heads or attributes differ",
        "layer 'float16', rows 0 to 11: not what was written",
    ]
    assert "2 faults in 5 blocks" in err
    assert run(monkeypatch, "info", path, "--verify", "--json") == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 2
    assert run(monkeypatch, "info", STORES / "version-1.h5", "--verify") == 1
    assert "no checksums" in capsys.readouterr().err
    assert run(monkeypatch, "info", "simclr", "--verify") == 2


# Version 3: targets, digests of inputs, order


def test_a_store_of_version_3_is_read() -> None:
    path = STORES / "version-3.h5"
    assert path.stat().st_size < 60_000
    with repsim.open_store(path) as store:
        assert (store.version, store.layers, store.verify()) == (3, ("conv", "head"), [])
        assert [(t.name, t.classes, t.values.tolist()) for t in store.targets] == [
            ("left", ("a", "b"), [0, 1, 0, 1]),
            ("parts/all", ("x", "y", "z"), [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]),
            ("right", (), [3, 2, 1, 0]),
        ]
        assert (store.target, store.labels.tolist()) == ("right", [3, 2, 1, 0])
        assert store.inputs.tolist() == [2**64 - 1, 0, 1, 2**63]
        assert store.order.tolist() == [3, 1, 2, 0]
    with repsim.open_store(path, target="left") as store:
        assert store.labels.tolist() == [0, 1, 0, 1]
    with (
        repsim.open_store(path, target="parts/all") as store,
        pytest.raises(UsageError, match=r"'parts/all' of .*version-3.h5 is a row of zeros"),
    ):
        _ = store.labels
    with pytest.raises(UsageError, match="has no target 'middle'; there is: left"):
        repsim.open_store(path, target="middle")


def test_the_header_of_version_3_is_that_of_the_documentation() -> None:
    """Written from docs/format.md, with h5py alone."""

    def line(*fields: Any) -> bytes:
        return ("\t".join(map(str, fields)) + "\n").encode()

    def form(item: Any) -> tuple[str, str]:
        return item.dtype.str, ",".join(map(str, item.shape))

    with h5py.File(STORES / "version-3.h5") as file:
        data = line("repsim-activations", 3) + line(file.attrs["provenance"])
        for name, layer in sorted(file["layers"].items()):
            told = (layer.attrs[key] for key in ("order", "module", "axes"))
            data += line(name, *form(layer), *told)
        data += line("example_ids", *form(file["example_ids"])) + file["example_ids"][:].tobytes()
        data += line("targets", file["targets"].attrs["labels"])
        for name, target in sorted(file["targets"].items()):
            told = (target.attrs[key] for key in ("order", "kind", "classes"))
            data += line(target.attrs.get("address", name), *form(target), *told)
            data += target[:].tobytes()
        for name in ("inputs", "order"):
            data += line(name, *form(file[name])) + file[name][:].tobytes()
        assert xxhash.xxh3_64_intdigest(data) == file["checksums"].attrs["header"]


def test_readers_ignore_what_they_do_not_know(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    before = json.dumps([repsim.open_store(path).describe(), str(repsim.open_store(path).targets)])
    with h5py.File(path, "r+") as file:
        file["new"] = np.zeros(3)
        file.create_group("group/inner").attrs["x"] = 1
        file["layers/float32"].attrs["unit"] = "volt"
        file["targets/label"].attrs["weight"] = 0.5
        file["targets"].attrs["new"] = "x"
        file["checksums"].attrs["new"] = 3
        file.create_group("checksums/others")
        file["targets/later"] = np.zeros((2, 2))
        file["targets/later"].attrs.update(kind="box", order=9, classes="[]")
        provenance = {**json.loads(file.attrs["provenance"]), "allowed": {"sleep": True}, "new": 1}
        file.attrs["provenance"] = json.dumps(provenance)
    with repsim.open_store(path) as store:
        assert json.dumps([store.describe(), str(store.targets)]) == before
        assert store.provenance()["new"] == 1
        assert repsim.cka_map(store, layers_a="float32").unbiased.shape == (1, 1)


def test_an_unfinished_file_of_version_2_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    part_path(path).write_bytes((STORES / "version-2.h5").read_bytes())
    with pytest.raises(
        StoreError, match=r"begun in format version 2, this repsim writes 3; finish.*--overwrite"
    ):
        write(path, resume=True)
    assert part_path(path).is_file()
    write(path)  # begins anew
    assert not part_path(path).exists()


def test_parts_give_the_targets_that_all_of_them_have(tmp_path: Path) -> None:
    first = write(tmp_path / "a.h5", 0, 4)
    again = write(tmp_path / "b.h5", 4, N, told=ExampleSpec((TargetSpec("label"),)))
    with repsim.open_store([first, again]) as joined:
        assert [each.name for each in joined.targets] == ["label"]
        np.testing.assert_array_equal(joined.labels, np.arange(N))
        assert joined.inputs is None
    join_stores([first, again], tmp_path / "one.h5")
    with repsim.open_store(tmp_path / "one.h5") as one:
        assert ([each.name for each in one.targets], one.inputs) == (["label"], None)
    parts = [write(tmp_path / f"{k}.h5", *ends) for k, ends in enumerate([(0, 4), (4, N)])]
    join_stores(parts, tmp_path / "all.h5")
    with repsim.open_store(tmp_path / "all.h5") as one:
        np.testing.assert_array_equal(one.inputs, examples(0, N).inputs)
        np.testing.assert_array_equal(one.targets[1].values, examples(0, N).targets["parts"])
        assert one.targets[1].classes == ("a", "b")


def test_targets_digests_and_classes_come_back_from_an_export(tmp_path: Path) -> None:
    with repsim.open_store(STORES / "version-3.h5") as store:
        export_layers(store, tmp_path / "out")
        with import_activations(tmp_path / "out", tmp_path / "back.h5") as back:
            for name in ("inputs", "order", "labels"):
                np.testing.assert_array_equal(getattr(back, name), getattr(store, name))
            assert (back.target, str(back.targets)) == (store.target, str(store.targets))
            assert back.targets[1].values.tolist() == store.targets[1].values.tolist()
