"""Files of other programs come in, files that they read go out, and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import repsim
from repsim.activations.analyses import base
from repsim.activations.store.exchange import (
    blocks,
    export_layers,
    import_activations,
    to_dataframe,
    to_xarray,
)
from repsim.activations.store.format import ExampleRows, LayerSpec
from repsim.activations.store.writer import write_store
from repsim.cli import stores
from repsim.cli.main import main
from repsim.errors import (
    DataError,
    NonFiniteError,
    RepsimWarning,
    ShapeError,
    StoreError,
    UsageError,
)
from repsim.files import write_atomic

N = 12
RNG = np.random.default_rng(0)
CONV = RNG.normal(size=(N, 2, 3, 3)).astype(np.float32)
HEAD = RNG.normal(size=(N, 4))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["repsim", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_a_numpy_file_is_a_layer(here: Path) -> None:
    np.save("conv.npy", CONV)
    with import_activations("conv.npy", "a.h5", provenance={"made": "elsewhere"}) as store:
        assert store.layers == ("conv",)
        np.testing.assert_array_equal(store["conv"][:], CONV)
        assert store.example_ids[:2].tolist() == [b"0", b"1"]
        assert store.labels is None
        assert store.verify() == []
        assert store.name == "a"
        told = store.provenance()
        assert (told["imported"], told["made"], told["n"]) == (["conv.npy"], "elsewhere", N)
        assert store.describe()[0]["axes"] == "example,channel,height,width"
    with h5py.File("a.h5") as file:
        assert file.attrs["format_version"] == 3


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_has_a_layer_an_array(here: Path, save: Any) -> None:
    ids, labels = [f"x/{k}" for k in range(N)], np.arange(N) % 3
    save("a.npz", conv=CONV, turned=np.asfortranarray(HEAD), ids=ids, labels=labels)
    with import_activations("a.npz", "a.h5", name="mine") as store:
        assert store.layers == ("conv", "turned")
        np.testing.assert_array_equal(store["turned"][:], HEAD)
        np.testing.assert_array_equal(store["conv"][:], CONV)
        np.testing.assert_array_equal(store.labels, labels)
        assert store.example_ids[3] == b"x/3"
        assert store.name == "mine"


def test_tensors_of_a_file_and_in_memory(here: Path) -> None:
    half = torch.as_tensor(HEAD).to(torch.bfloat16)
    torch.save({"head": half, "conv": torch.as_tensor(CONV), "labels": torch.arange(N)}, "a.pt")
    with import_activations("a.pt", "a.h5") as store:
        assert [each["dtype"] for each in store.describe()] == ["bfloat16", "float32"]
        np.testing.assert_array_equal(store["head"][:], half.float().numpy())
        np.testing.assert_array_equal(store.labels, np.arange(N))
    torch.save(half.requires_grad_(), "one.pt")
    with import_activations(["one.pt"], "b.h5") as store:
        assert store.layers == ("one",)
    memory = {"x": half, "y": HEAD.astype(">f8"), "z": HEAD > 0, "w": HEAD.astype(np.longdouble)}
    with import_activations(memory, "c.h5", layers="x,y,z,w") as store:
        np.testing.assert_array_equal(store["y"][:], HEAD)
        assert [each["dtype"] for each in store.describe()[1:]] == ["float64", "uint8", "float64"]
        assert store.verify() == []


def test_safetensors(here: Path) -> None:
    library = pytest.importorskip("safetensors.torch")
    half = torch.as_tensor(HEAD).to(torch.bfloat16)
    library.save_file({"head": half, "labels": torch.arange(N)}, "a.safetensors")
    with import_activations("a.safetensors", "a.h5") as store:
        np.testing.assert_array_equal(store["head"][:], half.float().numpy())
        np.testing.assert_array_equal(store.labels, np.arange(N))


@pytest.mark.parametrize("library", ["xarray", "pandas", "safetensors"])
def test_an_absent_library_is_named(
    here: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    store = import_activations({"x": HEAD}, "a.h5")
    Path("a.safetensors").touch()
    with store, pytest.raises(UsageError, match=f"needs {library}, which is not installed"):
        if library == "xarray":
            to_xarray(store)
        elif library == "pandas":
            to_dataframe(store, "x")
        else:
            import_activations("a.safetensors", "b.h5")


def test_blocks_are_small_and_nothing_is_read_twice(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    np.save("conv.npy", CONV)
    np.savez("more.npz", head=HEAD)
    seen: list[tuple[int, int, str]] = []
    sources = ["conv.npy", "more.npz"]
    with import_activations(sources, "a.h5", progress=lambda *a: seen.append(a)) as store:
        np.testing.assert_array_equal(store["conv"][:], CONV)
        np.testing.assert_array_equal(store["head"][:], HEAD)
        export_layers(store, "out")
    assert len(seen) == N + N // 3
    assert seen[-1] == (2 * N, 2 * N, "head")
    np.testing.assert_array_equal(np.load("out/layers/conv.npy"), CONV)


def test_ids_and_labels_from_files(here: Path) -> None:
    Path("ids.txt").write_text("".join(f"é/{k}\n" for k in range(N)), encoding="utf-8")
    Path("labels.txt").write_text("".join(f"{k}\n" for k in range(N)))
    with import_activations({"x": HEAD}, "a.h5", ids="ids.txt", labels="labels.txt") as store:
        assert store.example_ids[1].decode() == "é/1"
        np.testing.assert_array_equal(store.labels, np.arange(N))


class Unsafe:
    pass


@pytest.mark.parametrize(
    ("arrays", "options", "error", "words"),
    [
        ({"x": HEAD, "y": HEAD[:5]}, {}, ShapeError, "layer 'y' has 5 rows, 'x' has 12"),
        ({"x": HEAD[:, 0]}, {}, ShapeError, r"shape \(12,\)"),
        ({"x": HEAD[:0]}, {}, ShapeError, r"shape \(0, 4\)"),
        ({"x": HEAD + 1j}, {}, UsageError, "x: it holds complex numbers"),
        ({"x": HEAD.astype(str)}, {}, UsageError, "x: it holds text"),
        ({"x": np.full((N, 2), None)}, {}, UsageError, "x: it holds Python objects"),
        ({"x": np.ma.masked_less(HEAD, 0)}, {}, UsageError, "x: it has masked entries"),
        ({"x": np.where(HEAD > 0, HEAD, np.nan)}, {}, NonFiniteError, "layer 'x' has NaN"),
        ({"x": HEAD}, {"ids": ["a"] * N}, UsageError, "'a' comes twice"),
        ({"x": HEAD}, {"ids": ["a"]}, ShapeError, "1 ids came with 12 rows"),
        ({"x": HEAD}, {"ids": [f"{k}" * 200 for k in range(N)]}, StoreError, "longer than 128"),
        ({"x": HEAD}, {"ids": "absent.txt"}, UsageError, "absent.txt cannot be read"),
        ({"x": HEAD}, {"labels": np.zeros(N)}, UsageError, "labels are float64"),
        ({"x": HEAD}, {"labels": [0]}, ShapeError, r"labels have shape \(1,\)"),
        ({"x": HEAD}, {"layers": "y"}, UsageError, "no layer 'y'"),
        ({"..": HEAD}, {}, StoreError, "cannot be called '..'"),
        ({}, {}, UsageError, "no layer"),
        ("absent.npy", {}, StoreError, "there is no file absent.npy"),
        ("words.txt", {}, UsageError, "unknown kind of file.*with numpy.save"),
    ],
)
def test_what_cannot_be_a_store(
    here: Path, arrays: Any, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        import_activations(arrays, "a.h5", **options)
    assert list(here.iterdir()) == []


def test_files_that_cannot_be_read(here: Path) -> None:
    Path("a.pt").write_bytes(pickle.dumps(Unsafe()))
    torch.save({"x": Unsafe()}, "b.pt")
    for file in ("a.pt", "b.pt"):
        with pytest.raises(StoreError, match="holds more than tensors") as caught:
            import_activations(file, "a.h5")
        assert "\n" not in str(caught.value)
    np.save("o.npy", np.full((N, 2), None), allow_pickle=True)
    np.save("c.npy", CONV)
    Path("cut.npy").write_bytes(Path("c.npy").read_bytes()[:500])
    Path("cut.npz").write_bytes(b"PK")
    torch.save([1, 2], "list.pt")
    Path("folder").mkdir()
    for file in ("o.npy", "cut.npy", "cut.npz", "list.pt", "folder"):
        with pytest.raises(StoreError, match=file):
            import_activations(file, "a.h5")
    with pytest.raises(UsageError, match="which was there before"):
        import_activations(["c.npy", "c.npy"], "a.h5")


def longer(data: bytes) -> bytes:
    return data + bytes(4)


def shorter(data: bytes) -> bytes:
    return data[:-4]


@pytest.mark.parametrize("spoil", [longer, shorter])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_an_array_is_as_long_as_its_header_says(here: Path, spoil: Any, dtype: type) -> None:
    stream = io.BytesIO()
    np.save(stream, np.ones((N, 4), dtype))
    data = spoil(stream.getvalue())
    words = f"header says {len(stream.getvalue())} bytes, it has {len(data)}; save it again"
    Path("x.npy").write_bytes(data)
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", data)
    for file in ("x.npy", "x.npz"):
        with pytest.raises(StoreError, match=f"{file} cannot be read: .*{words}"):
            import_activations(file, "a.h5")
    with pytest.raises(UsageError, match=words):
        import_activations({"x": HEAD}, "a.h5", labels="x.npy")
    with pytest.raises(StoreError, match=words):
        stores._open_npy(Path("x.npy"))
    with pytest.raises(DataError, match=words):
        repsim.data.load("x.npz")


def test_values_without_a_type_are_refused_with_a_remedy(here: Path) -> None:
    """NumPy saves bfloat16 of ml_dtypes so."""
    np.save("x.npy", HEAD.astype(np.float16).view("V2"))
    with pytest.raises(UsageError, match=r"as numpy.save leaves bfloat16 .*astype\(numpy.float32"):
        import_activations("x.npy", "a.h5")


def test_arrays_where_stores_are_read_are_to_be_imported(here: Path) -> None:
    np.savez("x.npz", x=HEAD)
    with pytest.raises(StoreError, match=r"make one of it with: repsim import x\.npz --name NAME"):
        repsim.open_store("x.npz")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_file_names_that_are_no_utf_8(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = os.fsdecode(b"x\xff")
    assert base._with_digest(strange).startswith("x-")  # of the name of a result
    write_atomic("note.txt", strange)
    assert Path("note.txt").read_bytes() == b"x\xff"
    np.save(f"{strange}.npy", HEAD)
    assert run(monkeypatch, "import", f"{strange}.npy", "-o", "z.h5") == 1
    assert r"a layer cannot be called 'x\udcff'; give it another name" in capsys.readouterr().err


def test_members_of_an_archive_are_arrays_of_distinct_names(here: Path) -> None:
    np.savez("a.npz", x=HEAD)
    with zipfile.ZipFile("a.npz", "a") as archive:
        archive.writestr("notes.txt", "by hand")
    with (
        pytest.warns(RepsimWarning, match=r"a\.npz: 'notes\.txt' left out, as no array"),
        import_activations("a.npz", "a.h5") as store,
    ):
        assert store.layers == ("x",)
    np.savez("b.npz", x=HEAD)
    np.save("x.npy", HEAD + 1)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile("b.npz", "a") as archive:
        archive.write("x.npy")
    with pytest.raises(StoreError, match="two arrays called 'x'"):
        import_activations("b.npz", "a.h5")
    torch.save({1: torch.ones(N, 2), "1": torch.zeros(N, 2)}, "c.pt")
    with pytest.raises(StoreError, match="two of its keys are one name"):
        import_activations("c.pt", "a.h5")


def test_a_file_never_makes_another_be_read(exported: repsim.ActivationStore) -> None:
    """Texts inside files are values, and an export names files of its own folder only."""
    Path("secret.txt").write_text("".join(f"{k}\n" for k in range(N)))
    np.save("secret.npy", np.arange(N))
    head = torch.as_tensor(HEAD)
    for name, text in (("ids", "secret.txt"), ("labels", "secret.npy"), ("target_x", "secret.npy")):
        torch.save({"x": head, name: text}, "a.pt")
        with pytest.raises(UsageError, match=r"ids are a str; expected a list of 12|holds text"):
            import_activations("a.pt", "b.h5")
    export_layers(exported, "out")
    told = json.loads(Path("out/provenance.json").read_text())
    for place in (("layers", 0), ("targets", 0)):
        for file in ("../secret.npy", str(Path("secret.npy").resolve()), "link.npy"):
            Path("out/link.npy").unlink(missing_ok=True)
            Path("out/link.npy").symlink_to("../secret.npy")
            wrong = json.loads(json.dumps(told))
            wrong[place[0]][place[1]]["file"] = file
            Path("out/provenance.json").write_text(json.dumps(wrong))
            with pytest.raises(StoreError, match="lies outside of it"):
                import_activations("out", "b.h5")
    Path("out/provenance.json").write_text(json.dumps(told))
    Path("out/ids.txt").unlink()
    Path("out/ids.txt").symlink_to("../secret.txt")
    with pytest.raises(StoreError, match=r"'ids\.txt' lies outside of it"):
        import_activations("out", "b.h5")


def test_a_byte_order_mark_is_no_part_of_the_first_id(here: Path) -> None:
    ids = [f"x/{k}" for k in range(N)]
    Path("ids.txt").write_text("\ufeff" + "\r\n".join(ids), encoding="utf-8", newline="")
    Path("labels.txt").write_text("\ufeff" + "0\n" * N, encoding="utf-8")
    marked = ["\ufeff" + ids[0], *ids[1:]]
    np.savez("a.npz", x=HEAD, ids=marked)
    np.savez("b.npz", images=np.zeros((N, 8, 8), np.uint8), ids=[each.encode() for each in marked])
    for sources, given in (({"x": HEAD}, "ids.txt"), ("a.npz", None), ({"x": HEAD}, marked)):
        with import_activations(
            sources, "a.h5", ids=given, labels="labels.txt", overwrite=True
        ) as store:
            assert [each.decode() for each in store.example_ids] == ids
    assert repsim.data.load("b.npz", "all").ids == tuple(ids)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ids": {str(k) for k in range(N)}}, "ids are a set; expected a list of 12 names"),
        ({"ids": [[k] for k in range(N)]}, r"example id \[0\] is no name"),
        ({"ids": [None] * N}, "example id None is no name"),
        ({"ids": [b"\xff"] * N}, "is no UTF-8"),
        ({"labels": np.full(N, 2**63, np.uint64)}, r"run from 9223372036854775808 .* below 2\^63"),
        ({"labels": ["cat", "dog"] * 6}, "it holds text; .*not 'cat': number the classes, as"),
        ({"labels": np.array(["cat", 1] * 6, object)}, "it holds text; .*: number the classes, as"),
        ({"labels": np.zeros(N)}, "labels are float64; .* from 0: number the classes, as"),
        ({"labels": np.full(N, -1)}, "labels run from -1 to -1; expected integers from 0"),
        ({"labels": torch.ones(N, dtype=torch.bfloat16)}, "labels are torch.bfloat16"),
        ({"labels": np.ma.masked_less(np.arange(N), 3)}, "labels: it has masked entries"),
    ],
)
def test_odd_ids_and_labels_are_refused(here: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        import_activations({"x": HEAD}, "a.h5", **options)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_leaves_nothing(here: Path, save: Any) -> None:
    save("a.npz", conv=CONV, head=HEAD)
    data = bytearray(Path("a.npz").read_bytes())
    data[400] ^= 255
    Path("a.npz").write_bytes(data)
    with pytest.raises(StoreError, match="cannot be read"):
        import_activations("a.npz", "a.h5")
    assert [path.name for path in here.iterdir()] == ["a.npz"]


NAMES = ["labels", ".hidden", "a/b", "a%2Fb", "bg1.b0", "x" * 300, "Ä b:*?"]


@pytest.fixture
def exported(here: Path) -> repsim.ActivationStore:
    arrays = {name: HEAD.astype(np.float32) + k for k, name in enumerate(NAMES)}
    ids = [f"a/{k}" for k in range(N)]
    return import_activations(arrays, "a.h5", ids=ids, labels=np.arange(N), name="network")


def test_there_and_back(exported: repsim.ActivationStore) -> None:
    written = export_layers(exported, "out")
    assert Path("out/layers/%2Ehidden.npy") in written
    assert Path("out/ids.txt").read_text().splitlines()[:2] == ["a/0", "a/1"]
    with import_activations("out", "b.h5") as back:
        assert back.layers == exported.layers
        for layer in back.layers:
            np.testing.assert_array_equal(back[layer][:], exported[layer][:])
        np.testing.assert_array_equal(back.labels, exported.labels)
        np.testing.assert_array_equal(back.example_ids, exported.example_ids)
        assert back.name == "network"
        assert back.describe() == exported.describe()


def test_an_export_replaces_only_an_export(exported: repsim.ActivationStore) -> None:
    export_layers(exported, "out", layers="labels")
    with pytest.raises(UsageError, match="exists already"):
        export_layers(exported, "out")
    export_layers(exported, "out", layers="bg1.b0", overwrite=True)
    assert [path.name for path in Path("out/layers").iterdir()] == ["bg1.b0.npy"]
    Path("precious").mkdir()
    with pytest.raises(UsageError, match="no earlier export"):
        export_layers(exported, "precious", overwrite=True)
    with pytest.raises(UsageError, match="holds one layer, 7 were chosen"):
        export_layers(exported, "x.npy")
    assert export_layers(exported, "x.npy", layers="bg1.b0") == [Path("x.npy")]
    assert not list(Path().glob(".writing*"))


def test_an_export_that_fails_leaves_nothing(
    exported: repsim.ActivationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(done: int, total: int, note: str) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        export_layers(exported, "out", progress=full)
    assert sorted(path.name for path in Path().iterdir()) == ["a.h5"]


def test_a_data_frame(here: Path) -> None:
    with import_activations({"head": HEAD, "conv": CONV}, "a.h5") as store:
        frame = to_dataframe(store, "head")
        np.testing.assert_array_equal(frame.to_numpy(), HEAD)
        assert list(frame.index[:2]) == ["0", "1"]
        wide = to_dataframe(store, "conv")
        assert wide.columns.names == ["channel", "height", "width"]
        np.testing.assert_array_equal(wide[1, 2, 0], CONV[:, 1, 2, 0])
        with pytest.raises(UsageError, match="no layer 'hed'; did you mean 'head'"):
            to_dataframe(store, "hed")


def test_an_xarray_data_set(here: Path) -> None:
    pytest.importorskip("xarray")
    arrays = {"conv": CONV, "more": CONV[:, :1], "head": HEAD}
    with import_activations(arrays, "a.h5", labels=np.arange(N)) as store:
        data = to_xarray(store)
        assert data["conv"].dims == ("example", "conv.channel", "height", "width")
        assert data["head"].dims == ("example", "feature")
        assert to_xarray(store, "conv")["conv"].dims[1] == "channel"
        np.testing.assert_array_equal(data["head"].sel(example="3"), HEAD[3])
        np.testing.assert_array_equal(data["label"], np.arange(N))
        assert json.loads(data.attrs["provenance"])["n"] == N


def test_from_files_to_cka(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("x.npz", conv=CONV, head=HEAD)
    np.save("y.npy", HEAD)
    Path("ids.txt").write_text("".join(f"a/{k}\n" for k in range(N)))
    assert run(monkeypatch, "import", "x.npz", "-o", "x.h5", "--ids", "ids.txt") == 0
    assert capsys.readouterr().out == "x.h5: 2 layers, n = 12, ids 'a/0' to 'a/11'\n"
    named = ("import", "head=y.npy", "-o", "y.h5", "--ids", "ids.txt", "--name", "other", "--json")
    assert run(monkeypatch, *named) == 0
    assert json.loads(capsys.readouterr().out)["layers"] == ["head"]
    assert run(monkeypatch, "cka", "--a", "x.h5", "--b", "y.h5", "-o", "r.json") == 0
    result = repsim.SimilarityMap.load("r.json")
    assert result.name_b == "other"
    assert result.unbiased[1, 0] == pytest.approx(1)
    assert run(monkeypatch, "export", "x.h5", "-o", "out", "--layers", "head") == 0
    np.testing.assert_array_equal(np.load("out/layers/head.npy"), HEAD)
    capsys.readouterr()
    assert run(monkeypatch, "export", "y.npy", "-o", "out2") == 2
    assert run(monkeypatch, "import", "x.npz", "-o", "x.h5") == 2
    assert run(monkeypatch, "import", "a=y.npy", "a=y.npy", "-o", "z.h5") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def part(path: Path, start: int, stop: int, weights: str = "w") -> Path:
    with write_store(
        path,
        n=stop - start,
        layers={"head": LayerSpec("Linear", (4,), "float64")},
        heads={},
        provenance={"weights_sha256": weights, "n": stop - start},
        resume=False,
    ) as writer:
        writer.write("head", HEAD[start:stop])
        writer.commit(ExampleRows([str(k) for k in range(start, stop)]))
    return path


def test_a_glob_is_one_store_in_natural_order(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = part(here / "whole.h5", 0, N)
    (here / "shards").mkdir()
    for k in range(N):  # part 10 comes after part 9
        part(here / "shards" / f"part-{k}.h5", k, k + 1)
    assert run(monkeypatch, "cka", "--a", "shards/*.h5", "--b", whole, "-o", "r.json") == 0
    assert repsim.SimilarityMap.load("r.json").n == N
    assert run(monkeypatch, "info", "shards/*.h5", "--verify") == 0
    assert "12 blocks checked" in capsys.readouterr().out
    assert run(monkeypatch, "cka", "--a", "nothing/*.h5") == 1
    assert "no file matches nothing/*.h5" in capsys.readouterr().err
