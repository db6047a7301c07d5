"""Activation stores written from ``docs/format.md`` alone, by h5py and xxhash."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

N = 6
ROWS = {
    "stem": np.arange(N * 12, dtype=np.float32).reshape(N, 3, 2, 2),
    "group1/block1": np.arange(N * 4, dtype=np.float16).reshape(N, 4),
    "head": np.arange(N * 2, dtype=np.int32).reshape(N, 2),
}
AXES = ("example,channel,height,width", "example,feature", "example,feature")


def write_plain(path: Path) -> None:
    """A store with all that one can have, its checksums last."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "repsim-activations"
        file.attrs["format_version"] = 3
        file.attrs["complete"] = True
        file.attrs["provenance"] = json.dumps({"network": "plain", "new key": {"inner": [1]}})
        file["example_ids"] = np.array([f"set/{k}".encode() for k in range(N)], "S128")
        file["progress"] = np.int64(N)
        _write_targets(file)
        file["inputs"] = np.arange(N, dtype=np.uint64)
        file["inputs"].attrs["algorithm"] = "xxh3-64"
        file["order"] = np.arange(N, dtype=np.int64)
        for order, (address, rows) in enumerate(ROWS.items()):
            key = address.replace("/", "\u2215")
            layer = file.create_dataset(f"layers/{key}", data=rows)
            layer.attrs.update(order=order, module="ReLU", axes=AXES[order])
            if key != address:
                layer.attrs["address"] = address
        file["heads/head/weight"] = np.eye(2, 4)
        file["heads/head/bias"] = np.zeros(2)
        file["heads/head"].attrs["input"] = "group1/block1"
        file.create_group("checksums").attrs["algorithm"] = "xxh3-64"
        seal(file)


def _write_targets(file: h5py.File) -> None:
    file["targets/left"] = np.arange(N, dtype=np.int64) % 2
    file["targets/left"].attrs.update(order=0, kind="class", classes='["a", "b"]')
    file["targets/kept"] = np.eye(N, 3, dtype=np.uint8)
    file["targets/kept"].attrs.update(order=1, kind="binary", classes='["x", "y", "z"]')
    file["targets"].attrs["labels"] = "left"


def seal(file: h5py.File, block: int = 4) -> None:
    """Write checksums of what the file holds, as the page says."""
    file["checksums"].pop("layers", None)
    sums = file["checksums"].create_group("layers")
    for key, layer in file["layers"].items():
        blocks = [layer[at : at + block] for at in range(0, len(layer), block)]
        data = [xxhash.xxh3_64_intdigest(np.ascontiguousarray(each).data) for each in blocks]
        sums[key] = np.array(data, np.uint64)
        sums[key].attrs["rows"] = block
    digest = xxhash.xxh3_64()
    for piece in _header(file):
        digest.update(piece)
    file["checksums"].attrs["header"] = np.uint64(digest.intdigest())


def _header(file: h5py.File) -> Iterator[bytes]:
    yield _line(_text(file, "format"), file.attrs["format_version"])
    yield _line(_text(file, "provenance"))
    for key, layer in sorted(file["layers"].items()):
        about = (layer.attrs["order"], _text(layer, "module"), _text(layer, "axes"))
        yield _line(_address(key, layer), *_form(layer), *about)
    yield from _whole("example_ids", file["example_ids"])
    if "targets" in file:
        yield _line("targets", _text(file["targets"], "labels"))
        for key, target in sorted(file["targets"].items()):
            if _text(target, "kind") in ("class", "binary"):
                about = (target.attrs["order"], _text(target, "kind"), _text(target, "classes"))
                yield _line(_address(key, target), *_form(target), *about)
                yield target[:].tobytes()
    for name in ("inputs", "order"):
        if name in file:
            yield from _whole(name, file[name])
    for key, head in sorted(file.get("heads", {}).items()):
        yield _line(_address(key, head), _text(head, "input"))
        for name in ("weight", "bias"):
            if name in head:
                yield from _whole(name, head[name])


def _whole(name: str, data: h5py.Dataset) -> Iterator[bytes]:
    yield _line(name, *_form(data))
    yield data[:].tobytes()


def _line(*fields: Any) -> bytes:
    return ("\t".join(map(str, fields)) + "\n").encode()


def _form(data: h5py.Dataset) -> tuple[str, str]:
    return data.dtype.str, ",".join(map(str, data.shape))


def _text(item: h5py.HLObject, name: str) -> str:
    value = item.attrs[name]
    return value.decode() if isinstance(value, bytes) else value


def _address(key: str, item: h5py.HLObject) -> str:
    return _text(item, "address") if "address" in item.attrs else key
