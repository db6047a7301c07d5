"""Every reader with files that are whole, for the script and the test that damage them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import struct
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from repsim.activations.store.exchange.examples import examples_of
from repsim.activations.store.exchange.exporting import export_layers
from repsim.activations.store.exchange.files import gather
from repsim.activations.store.exchange.importing import import_activations
from repsim.activations.store.exchange.incoming import as_stored
from repsim.cli.contents import of_result
from repsim.configuration import read_toml
from repsim.data import load
from repsim.data.sets.cifar10 import read_batch
from repsim.data.sets.mnist import read_idx
from repsim.data.text import load_texts
from repsim.networks.external import parse_arguments
from repsim.networks.image_spec import ImageSpec
from repsim.networks.weights import load_weights
from repsim.results import Result
from repsim.training.compose import configure
from repsim.training.run import Run, checkpoint_state, save_checkpoint
from repsim.training.tensor_files import checksum

N = 12
RESULTS = Path(__file__).parent / "results"
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(N, 5)).astype(np.float32)
PIXELS = RNG.integers(0, 256, (N, 6, 6), dtype=np.uint8)


@dataclass(frozen=True)
class Reader:
    """A reader, and the files that it is tried on.

    Attributes:
        make: writes whole files into a folder; gives those that are to be damaged.
        read: reads such a file, with all that lies beside it.
        sealed: a checksum covers the file: whatever is read has to be what was written.
    """

    make: Callable[[Path], Iterable[Path]]
    read: Callable[[Path], Any]
    sealed: bool = False


def _settings(method: str) -> dict[str, Any]:
    small = {"data": "digits", "epochs": 1, "batch_size": 8, "device": "cpu"}
    return {**small, "network": "mlp", "width": 8} if method == "supervised" else small


def _run(folder: Path, method: str = "supervised") -> Run:
    run = Run(folder / method)
    run.path.mkdir(parents=True, exist_ok=True)
    trained_on = {"data": "digits", "split": "train", "n": 8, "pixels_sha256": "0" * 64}
    config = configure(method, _settings(method))
    run.write_description(
        method, config, ImageSpec(1, 10, 32, 32, False), {"trained_on": trained_on}
    )
    return run


def _runs(folder: Path) -> list[Path]:
    return [_run(folder, each).path / "config.json" for each in ("supervised", "simclr", "gan")]


def _describe(path: Path) -> None:
    run = Run(path.parent)
    assert run.is_run is not None
    run.describe()
    assert run.config
    assert run.extractors
    assert run.has_sides is not None
    if run.describe()["method"] == "supervised":
        run.build()


def _metrics(folder: Path) -> list[Path]:
    path = _run(folder).path / "metrics.csv"
    path.write_text("epoch,loss,alpha,images_per_second\n1,2.5,,300\n2,-1e-3,0.5,299.25\n")
    return [path]


def _checkpoint(folder: Path) -> list[Path]:
    run = _run(folder)
    network = torch.nn.Linear(3, 2).state_dict()
    save_checkpoint(run.checkpoint, checkpoint_state("supervised", 1, {"encoder": network}))
    return [run.checkpoint]


def _weights(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    state = torch.nn.Linear(3, 2).state_dict()
    torch.save(state, folder / "w.pt")
    torch.save({"state_dict": state, "epoch": 3}, folder / "inner.pt")
    save_file(state, folder / "w.safetensors")
    return [folder / name for name in ("w.pt", "inner.pt", "w.safetensors")]


def _results(folder: Path) -> list[Path]:
    paths = []
    for path in sorted(RESULTS.glob("*.json")):
        (folder / path.name).write_bytes(path.read_bytes())
        paths.append(folder / path.name)
    return paths


def _result(path: Path) -> None:
    result = Result.load(path)
    repr(result)
    json.dumps(result.to_dict())
    result.headline()
    result.rows()
    of_result(path)


def _toml(folder: Path) -> list[Path]:
    path = folder / "config.toml"
    path.write_text(
        'network = "mlp"  # comment\nwidth = 8\nepochs = 2\nlr = 1e-3\ndata = "digits"\n'
        'split = "train[:100]"\naugment = true\n[table]\nx = [1, 2.5, "a"]\nday = 2020-01-01\n'
    )
    other = folder / "settings.toml"
    other.write_text('network = "mlp"\nwidth = 8\nepochs = 2\nlr = 1e-3\ndata = "digits"\n')
    return [path, other]


def _configuration(path: Path) -> None:
    found = read_toml(path)
    if path.stem == "settings":
        configure("supervised", found, str(path))


def _arguments(folder: Path) -> list[Path]:
    texts = ('{"num_classes": 10, "width": [1, 2.5, null]}', "num_classes=10,width=0.5,deep=true")
    for number, text in enumerate(texts):
        (folder / f"{number}.arguments").write_text(text)
    return sorted(folder.glob("*.arguments"))


def _arrays(folder: Path) -> list[Path]:
    from safetensors.torch import save_file

    tensors = {"stem": torch.from_numpy(ROWS), "head": torch.ones(N, 2, dtype=torch.bfloat16)}
    np.save(folder / "a.npy", ROWS)
    labels = {"labels": np.arange(N) % 3, "ids": np.array([f"x{k}" for k in range(N)])}
    np.savez(folder / "a.npz", stem=ROWS, head=np.asfortranarray(ROWS), **labels)
    np.savez_compressed(folder / "packed.npz", stem=ROWS, target_parts=np.eye(N, 2, dtype=np.uint8))
    torch.save({**tensors, "labels": torch.arange(N) % 3}, folder / "a.pt")
    save_file(tensors, folder / "a.safetensors")
    return [folder / n for n in ("a.npy", "a.npz", "packed.npz", "a.pt", "a.safetensors")]


def _import(path: Path) -> None:
    """All that an import does but for the writing: most of the time of one is the disk's."""
    with ExitStack() as opened:
        found = gather([path], opened)
        for layer, incoming in found.layers.items():
            if len(incoming.shape) > 1:
                as_stored(incoming, 0, min(len(ROWS), incoming.shape[0]), layer)
        examples_of(found, N)


def _export(folder: Path) -> list[Path]:
    stored = folder / "a.h5"
    sources = {"stem": ROWS, "head": ROWS[:, :2]}
    with import_activations(sources, stored, labels=np.arange(N) % 3) as store:
        export_layers(store, folder / "out")
    out = folder / "out"
    return [out / "provenance.json", out / "ids.txt", out / "labels.npy"]


def _import_folder(path: Path) -> None:
    with ExitStack() as opened:
        examples_of(gather([path.parent], opened), N)


def _images(folder: Path) -> list[Path]:
    labels = np.arange(N) % 3
    names = np.array(["a", "b", "c"])
    np.savez(folder / "all.npz", images=PIXELS, labels=labels, classes=names)
    parts = {"x_train": PIXELS, "y_train": labels, "x_test": PIXELS[:4], "y_test": labels[:4]}
    np.savez_compressed(folder / "parts.npz", **parts)
    return [folder / "all.npz", folder / "parts.npz"]


def _idx(folder: Path) -> list[Path]:
    content = struct.pack(">4B3I", 0, 0, 8, 3, *PIXELS.shape) + PIXELS.tobytes()
    (folder / "idx3-ubyte").write_bytes(content)
    (folder / "idx3-ubyte.gz").write_bytes(gzip.compress(content))
    return [folder / "idx3-ubyte", folder / "idx3-ubyte.gz"]


def _cifar(folder: Path) -> list[Path]:
    pixels = RNG.integers(0, 256, (2, 3072), dtype=np.uint8)
    (folder / "data_batch_1.bin").write_bytes(
        b"".join(bytes([3]) + row.tobytes() for row in pixels)
    )
    with open(folder / "data_batch_1", "wb") as stream:
        pickle.dump({b"data": pixels, b"labels": [3, 4]}, stream, protocol=2)
    return [folder / "data_batch_1.bin", folder / "data_batch_1"]


def _folder(folder: Path) -> list[Path]:
    rows = [("file", "side", "parts:a", "parts:b")]
    for k in range(4):
        path = folder / "set" / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[k]).save(path)
        rows.append((f"{path.parent.name}/{path.name}", "left", "0", "1"))
    table = folder / "set" / "targets.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return [table, folder / "set" / "a" / "0.png"]


def _load_folder(path: Path) -> None:
    root = path.parent if path.suffix == ".csv" else path.parent.parent
    load(root, "all")


def _texts(folder: Path) -> list[Path]:
    rows = [("text", "label"), *((f"a text {k}", f"c{k % 2}") for k in range(8))]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    (folder / "t.csv").write_text(buffer.getvalue())
    (folder / "t.tsv").write_text("".join("\t".join(row) + "\n" for row in rows))
    (folder / "t.txt").write_text("".join(f"{row[0]}\n" for row in rows))
    return [folder / f"t.{kind}" for kind in ("csv", "tsv", "txt")]


READERS = {
    "config.json": Reader(_runs, _describe),
    "metrics.csv": Reader(_metrics, lambda path: Run(path.parent).last_metrics()),
    "checkpoint": Reader(
        _checkpoint, lambda path: checksum(Run(path.parent).load_state(path)), sealed=True
    ),
    "weights": Reader(_weights, lambda path: load_weights(torch.nn.Linear(3, 2), path)),
    "results": Reader(_results, _result),
    "toml": Reader(_toml, _configuration),
    "arguments": Reader(
        _arguments, lambda path: parse_arguments(path.read_bytes().decode("utf-8", "replace"))
    ),
    "arrays": Reader(_arrays, _import),
    "export": Reader(_export, _import_folder),
    "images": Reader(_images, lambda path: load(path, "train")),
    "idx": Reader(_idx, lambda path: read_idx(path, 3)),
    "cifar10": Reader(_cifar, read_batch),
    "folder": Reader(_folder, _load_folder),
    "texts": Reader(_texts, lambda path: load_texts(path, "train")),
}


def read(reader: Reader, path: Path) -> Any:
    """The content of a file; the warnings of it are as one-line as its errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return reader.read(path)
