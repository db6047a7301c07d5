"""Small files that claim to hold much: refused before room is made for it."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from plain_store import N, seal, write_plain

import repsim
from repsim import space
from repsim.activations.store.exchange.importing import import_activations
from repsim.activations.store.reader import ActivationStore
from repsim.activations.store.trial import look_through
from repsim.data import load
from repsim.data.sets.mnist import read_idx
from repsim.errors import DataError, RepsimError, StoreError
from repsim.networks.image_spec import ImageSpec
from repsim.networks.room import Room
from repsim.networks.weights import load_weights
from repsim.reading import Damaged
from repsim.training.compose import configure
from repsim.training.method import Method
from repsim.training.methods import find_method, method_names
from repsim.training.run import Run, checkpoint_state, save_checkpoint
from repsim.training.tensor_files import state_bytes

resource = pytest.importorskip("resource", reason="Windows has no such limits")
if not Path("/proc/self/statm").is_file():
    pytest.skip("the memory of this process is not known", allow_module_level=True)

SMALL = ImageSpec(1, 10, 32, 32, False)


@contextmanager
def little_memory(most: int = 300 << 20) -> Iterator[None]:
    """A block that may not make room for ``most`` bytes more."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def member(shape: tuple[int, ...], content: bytes) -> bytes:
    """A ``.npy`` file whose header says ``shape``."""
    stream = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


def claiming(path: Path, name: str, claimed: int) -> Path:
    """An archive of a few bytes, one member of which claims more: in its list, and in itself."""
    data = member((1, claimed // 4096, 4096), bytes(64))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", len(data) - 64 + claimed)
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = size
    content[22:26] = size
    path.write_bytes(bytes(content))
    return path


def in_idx(path: Path, *, packed: bool) -> Path:
    header = struct.pack(">4B3I", 0, 0, 8, 3, 1 << 20, 60, 60)
    path.write_bytes(gzip.compress(header + bytes(5000)) if packed else header + bytes(5000))
    return path


def in_torch(path: Path) -> Path:
    """A tensor whose record is compressed, which torch never does."""
    torch.save({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as archive:
        records = [(each.filename, archive.read(each)) for each in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in records:
            archive.writestr(name, data + bytes(50 << 20) if name.endswith("/data/0") else data)
    return path


READ: dict[str, Callable[[Path], object]] = {
    "images": lambda folder: load(claiming(folder / "a.npz", "images.npy", 3 << 30), "all"),
    "an import": lambda folder: import_activations(
        [claiming(folder / "a.npz", "stem.npy", 3 << 30)], folder / "a.h5"
    ),
    "ids of an import": lambda folder: import_activations(
        [claiming(folder / "a.npz", "ids.npy", 3 << 30)], folder / "a.h5"
    ),
    "idx": lambda folder: read_idx(in_idx(folder / "a", packed=False), 3),
    "packed idx": lambda folder: read_idx(in_idx(folder / "a.gz", packed=True), 3),
    "weights": lambda folder: load_weights(torch.nn.Linear(3, 2), in_torch(folder / "a.pt")),
    "tensors": lambda folder: import_activations([in_torch(folder / "a.pt")], folder / "a.h5"),
}


@pytest.mark.parametrize("what", READ)
def test_a_claim_that_the_file_cannot_hold_is_refused(what: str, tmp_path: Path) -> None:
    with little_memory(), pytest.raises(RepsimError, match=r"claims .* are stored") as raised:
        READ[what](tmp_path)
    assert "\n" not in str(raised.value)


def test_what_does_not_fit_into_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((4, 600, 600), np.uint8))
    assert len(load(tmp_path / "a.npz", "all")) == 4
    monkeypatch.setattr(space, "free_memory", lambda: 1 << 20)
    with pytest.raises(DataError, match=r"would take 1\.4 MB of memory, 1\.0 MB are free"):
        load(tmp_path / "a.npz", "all")


def test_a_packed_idx_file_that_holds_more_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    header = struct.pack(">4B3I", 0, 0, 8, 3, 1, 2, 2)
    path.write_bytes(gzip.compress(header + bytes(100 << 20), 1))
    with (
        little_memory(50 << 20),
        pytest.raises(DataError, match="announces 4 bytes of data, but 5 or"),
    ):
        read_idx(path, 3)


def test_the_free_memory_is_known_here() -> None:
    found = space.free_memory()
    assert found is not None
    assert found > 1 << 20


# Stores


def zeros(item: str, shape: tuple[int, ...], kind: str, **options: object) -> Callable[..., None]:
    """A data set of zeros that are hardly stored, at the place of another."""

    def change(file: h5py.File) -> None:
        kept = dict(file[item].attrs)
        del file[item]
        file.create_dataset(item, shape, kind, **options).attrs.update(kept)

    return change


STORES = {
    "ids that are not there": zeros("example_ids", (10**8,), "S128", chunks=(1000,)),
    "a layer of large chunks": zeros(
        "layers/stem", (N, 3), "f4", chunks=(20_000, 20_000), maxshape=(None, None)
    ),
    "columns that are not there": zeros("targets/kept", (N, 10**9), "u1", chunks=(1, 10**6)),
    "a weight that is not there": zeros("heads/head/weight", (10**5, 10**5), "f4", chunks=(1, 100)),
}


@pytest.mark.parametrize("what", STORES)
def test_a_store_that_claims_more_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_plain(path)
    with h5py.File(path, "r+") as file:
        STORES[what](file)
    with little_memory(), pytest.raises(StoreError, match=r"claims|larger than it"):
        repsim.open_store(path)


def test_ids_that_are_all_alike_are_refused_by_the_first_of_them(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_plain(path)
    with h5py.File(path, "r+") as file:
        del file["example_ids"]
        ids = file.create_dataset("example_ids", (300_000,), "S128", compression="gzip")
        ids[:] = np.full(300_000, b"x", "S128")
    with little_memory(150 << 20), pytest.raises(StoreError, match="comes twice"):
        repsim.open_store(path)


def test_a_store_with_a_target_beyond_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        seal(file)
    monkeypatch.setattr(space, "free_memory", lambda: 40)
    with pytest.raises(StoreError, match="of memory, 40 bytes are free"):
        repsim.open_store(tmp_path / "a.h5")


def test_a_file_full_of_heaps_is_no_endless_walk(tmp_path: Path) -> None:
    write_plain(tmp_path / "a.h5")
    heap = b"GCOL\1\0\0\0" + struct.pack("<Q", 1 << 20)
    (tmp_path / "b.h5").write_bytes((tmp_path / "a.h5").read_bytes() + heap * 60_000)
    started = time.process_time()
    with pytest.raises(StoreError, match="its attributes cannot be read"):
        repsim.open_store(tmp_path / "b.h5")
    assert time.process_time() - started < 5


# Configurations


def run_of(folder: Path, **settings: object) -> Run:
    """A finished run of small networks whose description says something else."""
    about = {"data": "digits", "epochs": 1, "device": "cpu", "network": "mlp", "width": 8}
    run = Run(folder / "r")
    run.path.mkdir()
    method = find_method("supervised")
    config = configure("supervised", about)
    networks = method(config, SMALL).networks
    states = {name: network.state_dict() for name, network in networks.items()}
    run.write_description("supervised", configure("supervised", {**about, **settings}), SMALL, {})
    save_checkpoint(run.checkpoint, checkpoint_state("supervised", 1, states))
    return run


def test_networks_larger_than_their_checkpoint_are_not_built(tmp_path: Path) -> None:
    run = run_of(tmp_path, width=200_000)
    with pytest.raises(StoreError, match="networks that it describes take more"):
        run.load_extractor()


def test_networks_of_a_few_numbers_more_are_named(tmp_path: Path) -> None:
    run = run_of(tmp_path, width=64)
    with pytest.raises(StoreError, match=r"checkpoint\.pt has .*json beside it describes"):
        run.load_extractor()


def test_a_run_as_it_was_written_loads(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    state = torch.random.get_rng_state()
    assert run.load_extractor() is not None
    assert torch.equal(torch.random.get_rng_state(), state)


def test_facts_that_claim_images_of_any_size_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    file = run.path / "config.json"
    content = json.loads(file.read_text())
    content["facts"]["height"] = 10**7
    file.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="networks that it describes take more"):
        run.load_extractor()


@pytest.mark.parametrize("name", method_names())
def test_every_method_is_made_within_a_multiple_of_its_checkpoint(name: str) -> None:
    made: Method = find_method(name)(configure(name, {"device": "cpu"}), SMALL)
    size = state_bytes(made.networks.values())
    with Room(16 * size + (1 << 26)):
        find_method(name)(configure(name, {"device": "cpu"}), SMALL)
    with pytest.raises(Damaged, match="networks that it describes take more"), Room(size // 2):
        find_method(name)(configure(name, {"device": "cpu"}), SMALL)


def test_a_checkpoint_whose_tensor_repeats_one_number_is_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    wide = {"encoder": {"weight": torch.zeros(1).expand(3000, 3000)}}
    save_checkpoint(run.checkpoint, {**checkpoint_state("supervised", 1, {}), "networks": wide})
    with little_memory(), pytest.raises(StoreError, match="repeats what is stored"):
        run.load_state(run.checkpoint)


# A first look in a process of its own


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes by fork")
@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGSEGV, r"crashes as it reads it \(SIGSEGV\)"), (signal.SIGALRM, "come to an end")],
)
def test_a_store_on_which_the_library_dies_is_named(
    number: signal.Signals, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plain(tmp_path / "a.h5")
    parent = os.getpid()

    def dying(store: object) -> None:
        assert os.getpid() != parent
        signal.signal(number, signal.SIG_DFL)  # a handler of pytest would write about it
        os.kill(os.getpid(), number)

    monkeypatch.setattr(ActivationStore, "describe", dying)
    with pytest.raises(StoreError, match=message):
        look_through(tmp_path / "a.h5")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes by fork")
def test_a_look_leaves_errors_to_the_reader(tmp_path: Path) -> None:
    write_plain(tmp_path / "a.h5")
    look_through(tmp_path / "a.h5")
    (tmp_path / "b.h5").write_bytes(b"nothing")
    look_through(tmp_path / "b.h5")


def test_a_class_with_an_endless_name_is_refused_at_once(tmp_path: Path) -> None:
    """torch itself looks for words in its message about one for minutes."""
    run = run_of(tmp_path)
    with zipfile.ZipFile(run.checkpoint) as archive:
        members = [(each.filename, archive.read(each)) for each in archive.infolist()]
    with zipfile.ZipFile(run.checkpoint, "w") as archive:
        for name, data in members:
            long = b"FloatStorage" + b"9" * 100_000
            archive.writestr(name, data.replace(b"FloatStorage", long))
    started = time.process_time()
    with pytest.raises(StoreError, match="damaged or not a checkpoint") as raised:
        run.load_state(run.checkpoint)
    assert "names a class by 100,018 signs" in str(raised.value.__cause__)
    assert time.process_time() - started < 5
