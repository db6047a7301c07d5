"""Damaged and hostile stores: one clear error, the right numbers, or a fault verify() names.

Damage is done in processes of their own, in which a crash of the HDF5 library would be seen.
"""

from __future__ import annotations

import collections
import contextlib
import faulthandler
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import repsim
from repsim.activations.store.format import ExampleRows, ExampleSpec, LayerSpec, TargetSpec
from repsim.activations.store.writer import write_store
from repsim.errors import RepsimError, StoreError

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

N = 24


def layers() -> dict[str, np.ndarray]:
    """Rows as they are written: float32, bfloat16 as bits, float16."""
    rng = np.random.default_rng(0)
    return {
        "conv": rng.normal(size=(N, 2, 3, 3)).astype(np.float32),
        "block/attention": rng.normal(size=(N, 5)).astype(np.float32).view(np.uint32) >> 16,
        "head": rng.normal(size=(N, 3)).astype(np.float16),
    }


def write(path: Path, compression: str = "none") -> Path:
    """A small store with all that one can have."""
    rows = layers()
    rows["block/attention"] = rows["block/attention"].astype(np.uint16)
    specs = {
        "conv": LayerSpec("Conv2d", (2, 3, 3), "float32"),
        "block/attention": LayerSpec("Linear", (5,), "bfloat16"),
        "head": LayerSpec("Linear", (3,), "float16"),
    }
    told = ExampleSpec((TargetSpec("label"), TargetSpec("parts", 2, ("a", "b"))), inputs=True)
    examples = ExampleRows(
        [f"a/{k}" for k in range(N)],
        {"label": np.arange(N) % 3, "parts": np.eye(N, 2, dtype=np.uint8)},
        np.arange(N, dtype=np.uint64),
    )
    head = {"weight": np.eye(3, 5), "bias": np.zeros(3), "input": "block/attention"}
    with write_store(
        path,
        n=N,
        layers=specs,
        examples=told,
        heads={"head": head},
        provenance={"network": "fuzzed", "seed": 0},
        resume=False,
        compression=compression,
    ) as writer:
        for layer, values in rows.items():
            writer.write(layer, values)
        writer.commit(examples)
    return path


def content(path: Path) -> tuple[dict[str, Any], bool]:
    """All that a store says, and whether ``verify`` finds it whole."""
    with repsim.open_store(path) as store:
        whole = not store.verify()
        said = {
            "name": store.name,
            "layers": {layer: store[layer][:].tolist() for layer in store.layers},
            "records": store.describe(),
            "ids": store.example_ids.tolist(),
            "labels": None if store.labels is None else store.labels.tolist(),
            "targets": [(t.name, t.classes, t.values.tolist()) for t in store.targets],
            "inputs": None if store.inputs is None else store.inputs.tolist(),
            "heads": {
                name: {key: np.asarray(value).tolist() for key, value in head.items()}
                for name, head in store.heads.items()
            },
            "provenance": store.provenance(),
        }
    return said, whole


# Random damage


def damaged(whole: bytes, seed: int) -> bytes:
    """Bits flipped, bytes replaced, a range of zeros, a piece from elsewhere, a short file."""
    rng = np.random.default_rng(seed)
    data, size = bytearray(whole), len(whole)
    kind = rng.integers(6)
    if kind == 0:
        data[rng.integers(size)] ^= 1 << rng.integers(8)
    elif kind == 1:
        for place in rng.integers(size, size=rng.integers(1, 40)):
            data[place] = rng.integers(256)
    elif kind == 2:
        start = rng.integers(size)
        data[start : start + rng.integers(1, 600)] = bytes(int(rng.integers(1, 600)))[:]
        data = data[:size].ljust(size, b"\0")
    elif kind == 3:
        length = int(rng.integers(1, 600))
        start, source = rng.integers(max(1, size - length), size=2)
        data[start : start + length] = whole[source : source + length]
    elif kind == 4:
        del data[rng.integers(size) :]
    else:  # where the structure is: bytes that are not zero
        used = np.flatnonzero(np.frombuffer(whole, np.uint8))
        for place in rng.choice(used, size=rng.integers(1, 4)):
            data[place] ^= 1 << rng.integers(8)
    return bytes(data)


def outcome(path: Path, expected: dict[str, Any]) -> str:
    """``right``, ``refused``, ``reported`` or ``wrong``."""
    try:
        said, whole = content(path)
    except RepsimError as error:
        return "refused" if "\n" not in str(error) else f"of several lines: {error}"
    if not whole:
        return "reported"
    return "right" if said == expected else f"wrong: {said}"


def cases(compressions: Sequence[str], first: int, last: int) -> list[tuple[str, int]]:
    """Each compression with each seed."""
    return [(each, seed) for each in compressions for seed in range(first, last)]


def work(folder: Path, start: int, first: int, last: int, *compressions: str) -> None:
    """Print the outcome of every case; what is begun is said before, in case it is the last."""
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    whole = {each: (folder / f"{each}.h5").read_bytes() for each in compressions}
    expected = {each: content(folder / f"{each}.h5")[0] for each in compressions}
    for case, (compression, seed) in enumerate(cases(compressions, first, last)[start:], start):
        print(case, end=" ", flush=True)
        faulthandler.dump_traceback_later(20, exit=True)  # it hangs
        path = folder / f"damaged-{compression}.h5"
        path.write_bytes(damaged(whole[compression], seed))
        try:
            print(outcome(path, expected[compression]), flush=True)
        except Exception as error:
            print(f"unhandled: {error!r}", flush=True)


def outcomes(
    folder: Path, compressions: Sequence[str], first: int, last: int
) -> dict[str, collections.Counter[str]]:
    """Counts of the outcomes over some seeds; a process that dies is ``crashed``.

    One process for all compressions, as it takes seconds to start, and one more after each crash.
    """
    for compression in compressions:
        write(folder / f"{compression}.h5", compression)
    every = cases(compressions, first, last)
    found = {each: collections.Counter[str]() for each in compressions}
    start = 0
    while start < len(every):
        arguments = [sys.executable, __file__, folder, start, first, last, *compressions]
        done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True)
        lines = [line.partition(" ") for line in done.stdout.splitlines()]
        assert lines, done.stderr
        for case, _, result in lines:
            compression, seed = every[int(case)]
            found[compression][result or f"crashed ({done.returncode})"] += 1
            if result not in ("right", "refused", "reported"):
                print(compression, seed, result[:300])
        start = int(lines[-1][0]) + 1
    for each in found.values():
        assert sum(each.values()) == last - first
    return found


def check(found: collections.Counter[str]) -> None:
    """No number is wrong unnoticed, and no error is not ours.

    HDF5 itself reads beyond a heap, or loops, on a few damaged files in ten thousand; other
    versions on others.
    """
    dead = sum(count for result, count in found.items() if result.startswith("crashed"))
    assert set(found) - {"right", "refused", "reported"} == {
        result for result in found if result.startswith("crashed")
    }
    assert dead <= 2 + sum(found.values()) / 200, found
    assert found["refused"] > 0
    assert found["reported"] > 0


def test_damage_is_noticed(tmp_path: Path) -> None:
    for found in outcomes(tmp_path, ["none", "gzip"], 0, 80).values():
        check(found)


@pytest.mark.slow
def test_much_damage_is_noticed(tmp_path: Path) -> None:
    """Seeds that the quick test leaves."""
    for found in outcomes(tmp_path, ["none", "gzip", "lzf"], 80, 380).values():
        check(found)


def test_every_bit_of_the_rows_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    whole = path.read_bytes()
    rows = layers()["conv"].tobytes()
    start = whole.index(rows)
    for place in range(start, start + len(rows), 97):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        path.write_bytes(data)
        with repsim.open_store(path) as store:
            (fault,) = store.verify()
            assert fault == "layer 'conv', rows 0 to 24: not what was written"


# Hostile files


def attribute(item: str, name: str, value: Any) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        file[item].attrs[name] = value

    return change


def without(item: str, name: str) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        del file[item].attrs[name]

    return change


def instead(item: str, make: Callable[[h5py.File, str, Path], None]) -> Callable[..., None]:
    """Another data set, group or link at the place of one, with the same attributes."""

    def change(file: h5py.File, folder: Path) -> None:
        kept = dict(file[item].attrs)
        del file[item]
        make(file, item, folder)
        with contextlib.suppress(KeyError, OSError):
            file[item].attrs.update(kept)

    return change


def holding(value: Any) -> Callable[[h5py.File, str, Path], None]:
    return lambda file, item, folder: file.__setitem__(item, value)


def external(file: h5py.File, item: str, folder: Path) -> None:
    write(folder / "other.h5")
    file[item] = h5py.ExternalLink(str(folder / "other.h5"), item)


def soft(file: h5py.File, item: str, folder: Path) -> None:
    file[f"elsewhere-{len(file)}"] = np.zeros((N, 2))
    file[item] = h5py.SoftLink(f"/elsewhere-{len(file) - 1}")


def virtual(file: h5py.File, item: str, folder: Path) -> None:
    layout = h5py.VirtualLayout((N, 3), np.float32)
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "layers/head", (N, 3))
    file.create_virtual_dataset(item, layout)


def raw(file: h5py.File, item: str, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_bytes(bytes(4 * N * 3))
    file.create_dataset(item, (N, 3), np.float32, external=[(str(secret), 0, 4 * N * 3)])


def absurd(file: h5py.File, item: str, folder: Path) -> None:
    file.create_dataset(item, (10**15, 3), np.float32, chunks=(1000, 3), fillvalue=1)


def wide(file: h5py.File, item: str, folder: Path) -> None:
    file.create_dataset(item, (N, 10**14), np.float32, chunks=(1, 1000), compression="gzip")


def texts(file: h5py.File, item: str, folder: Path) -> None:
    file.create_dataset(item, (N,), h5py.string_dtype(), data=["x"] * N)


def nothing(file: h5py.File, item: str, folder: Path) -> None:
    file.create_dataset(item, dtype=h5py.Empty("f4").dtype, data=h5py.Empty("f4"))


def renamed(name: str) -> Callable[[h5py.File, Path], None]:
    def change(file: h5py.File, folder: Path) -> None:
        file.move("layers/head", f"layers/{name}")

    return change


HEAD = "layers/head"
HOSTILE: Mapping[str, Callable[[h5py.File, Path], None]] = {
    "external link of a layer": instead(HEAD, external),
    "external link of all layers": instead("layers", external),
    "external link of the ids": instead("example_ids", external),
    "external link of the labels": instead("targets/label", external),
    "external link of the heads": instead("heads", external),
    "external link of a weight": instead("heads/head/weight", external),
    "external link of checksums": instead("checksums/layers/head", external),
    "external link of all checksums": instead("checksums", external),
    "soft link": instead(HEAD, soft),
    "virtual data set": instead(HEAD, virtual),
    "raw storage elsewhere": instead(HEAD, raw),
    "virtual weight": instead("heads/head/weight", virtual),
    "absurd length": instead(HEAD, absurd),
    "absurd width": instead(HEAD, wide),
    "absurd ids": instead("example_ids", absurd),
    "no dataspace": instead(HEAD, nothing),
    "text": instead(HEAD, holding(np.full((N, 2), b"x"))),
    "objects": instead(HEAD, lambda f, i, _: f.create_dataset(i, (N, 2), h5py.vlen_dtype("f4"))),
    "compound": instead(HEAD, holding(np.zeros((N, 2), [("x", "f4"), ("y", "i4")]))),
    "complex": instead(HEAD, holding(np.zeros((N, 2), complex))),
    "arrays": instead(HEAD, holding(np.zeros((N, 2), [("x", "f4", (2,))])["x"][:, :, 0] > 0)),
    "flat": instead(HEAD, holding(np.zeros(N))),
    "other n": instead(HEAD, holding(np.zeros((N - 1, 3)))),
    "layer that is a group": instead(HEAD, lambda file, item, _: file.create_group(item)),
    "ids of text": instead("example_ids", texts),
    "ids of numbers": instead("example_ids", holding(np.arange(N))),
    "ids in two dimensions": instead("example_ids", holding(np.full((N, 1), b"x"))),
    "ids that are no UTF-8": instead("example_ids", holding(np.full(N, b"\xff"))),
    "no examples": instead("example_ids", holding(np.zeros(0, "S3"))),
    "labels of fractions": instead("targets/label", holding(np.zeros(N))),
    "labels of another n": instead("targets/label", holding(np.zeros(N + 1, int))),
    "columns of another n": instead("targets/parts", holding(np.zeros((N + 1, 2), np.uint8))),
    "kind of another shape": attribute("targets/label", "kind", "binary"),
    "kind of numbers": attribute("targets/label", "kind", 3),
    "classes of nonsense": attribute("targets/parts", "classes", "{"),
    "classes that are no texts": attribute("targets/parts", "classes", "[1, 2]"),
    "names of fewer columns": attribute("targets/parts", "classes", '["a"]'),
    "inputs of fractions": instead("inputs", holding(np.zeros(N))),
    "inputs of four bytes": instead("inputs", holding(np.zeros(N, np.uint32))),
    "external link of the inputs": instead("inputs", external),
    "external link of all targets": instead("targets", external),
    "negative order": attribute(HEAD, "order", -1),
    "absurd order": attribute(HEAD, "order", 2**40),
    "order of text": attribute(HEAD, "order", "first"),
    "order of several": attribute(HEAD, "order", [1, 2]),
    "no order": without(HEAD, "order"),
    "no module": without(HEAD, "module"),
    "module of numbers": attribute(HEAD, "module", 3),
    "no axes": without(HEAD, "axes"),
    "axes of another layer": attribute(HEAD, "axes", "example,token,feature"),
    "no provenance": without("/", "provenance"),
    "provenance of nonsense": attribute("/", "provenance", "{nope"),
    "provenance that is a list": attribute("/", "provenance", "[1]"),
    "provenance that is a number": attribute("/", "provenance", 1),
    "provenance nested deeply": attribute("/", "provenance", "[" * 20_000 + "]" * 20_000),
    "version 0": attribute("/", "format_version", 0),
    "version of a fraction": attribute("/", "format_version", 1.5),
    "no version": without("/", "format_version"),
    "no format": without("/", "format"),
    "not complete": attribute("/", "complete", False),
    "fewer checksums": instead("checksums/layers/head", holding(np.zeros(0, np.uint64))),
    "more checksums": instead("checksums/layers/head", holding(np.zeros(9, np.uint64))),
    "checksums of fractions": instead("checksums/layers/head", holding(np.zeros(1, "f4"))),
    "checksums of 32 bits": instead("checksums/layers/head", holding(np.zeros(1, "u4"))),
    "checksums of no rows": attribute("checksums/layers/head", "rows", 0),
    "no checksum of a layer": lambda file, folder: file.__delitem__("checksums/layers/head"),
    "no checksums": lambda file, folder: file.__delitem__("checksums"),
    "heads that are numbers": instead("heads", holding(np.zeros(3))),
    "a head that is numbers": instead("heads/head", holding(np.zeros(3))),
    "a head without a weight": lambda file, folder: file.__delitem__("heads/head/weight"),
    "a flat weight": instead("heads/head/weight", holding(np.zeros(3))),
    "a bias of another size": instead("heads/head/bias", holding(np.zeros(4))),
    "a head of no layer": attribute("heads/head", "input", "nowhere"),
    "a layer called ..": renamed(".."),
    "an address that is not its own": attribute(HEAD, "address", "conv"),
    "an address of numbers": attribute(HEAD, "address", 3),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_one_clear_error(tmp_path: Path, what: str) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        HOSTILE[what](file, tmp_path)
    with pytest.raises(StoreError) as caught:
        repsim.open_store(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_numbers_of_another_byte_order_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        instead(HEAD, holding(file[HEAD][:].view(">f2")))(file, tmp_path)
    with repsim.open_store(path) as store:
        assert store.verify() == ["header: the provenance, ids, labels, heads or attributes differ"]


def test_names_that_cannot_be(tmp_path: Path) -> None:
    for names in ([""], ["."], [".."], ["a\0b"], ["a/b", "a\N{DIVISION SLASH}b"]):
        specs = {name: LayerSpec("", (2,), "float32") for name in names}
        writing = write_store(
            tmp_path / "a.h5",
            n=1,
            layers=specs,
            heads={},
            provenance={},
            resume=False,
        )
        with pytest.raises(StoreError, match="a layer cannot be called"), writing:
            pass


if __name__ == "__main__":
    work(Path(sys.argv[1]), *map(int, sys.argv[2:5]), *sys.argv[5:])
