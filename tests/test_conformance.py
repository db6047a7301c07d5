"""The page on the format, MUST by MUST: files by h5py alone, which the reader takes or refuses.

Checksums are those of the file as it is, so that none of them is the reason of a refusal.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from plain_store import ROWS, N, seal, write_plain

import repsim
from repsim.errors import StoreError

PAGE = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8")

Change = Callable[[h5py.File], object]


def attribute(item: str, **values: Any) -> Change:
    return lambda file: file[item].attrs.update(values)


def without(item: str, name: str = "") -> Change:
    def change(file: h5py.File) -> None:
        if name:
            del file[item].attrs[name]
        else:
            del file[item]

    return change


def data(item: str, value: Any, **options: Any) -> Change:
    """Other content at the place of a data set, which keeps its attributes."""

    def change(file: h5py.File) -> None:
        kept = dict(file[item].attrs)
        del file[item]
        file.create_dataset(item, data=value, **options).attrs.update(kept)

    return change


def linked(item: str) -> Change:
    def change(file: h5py.File) -> None:
        file["aside"] = np.array(file[item])
        del file[item]
        file[item] = h5py.SoftLink("/aside")

    return change


IDS = [f"set/{k}" for k in range(N)]
STEM, BLOCK = "layers/stem", "layers/group1\u2215block1"


def ids(*texts: str) -> Change:
    return data("example_ids", np.array([each.encode() for each in texts], "S128"))


#: For each MUST of the page, the words of it, and files that break it.
BROKEN: dict[str, tuple[str, Change]] = {
    "another format": ("`format` MUST be the string", attribute("/", format="other")),
    "no format": ("`format` MUST be the string", without("/", "format")),
    "a format of numbers": ("`format` MUST be the string", attribute("/", format=3)),
    "no version": ("`format_version` MUST be an integer", without("/", "format_version")),
    "version 0": ("`format_version` MUST be an integer", attribute("/", format_version=0)),
    "version as text": ("`format_version` MUST be an integer", attribute("/", format_version="3")),
    "a fraction of a version": (
        "`format_version` MUST be an integer",
        attribute("/", format_version=2.5),
    ),
    "a later version": ("A reader MUST refuse a version above", attribute("/", format_version=4)),
    "not complete": ("`complete` MUST be true", attribute("/", complete=False)),
    "nothing on complete": ("`complete` MUST be true", without("/", "complete")),
    "complete as text": ("`complete` MUST be true", attribute("/", complete="false")),
    "complete as the text true": ("`complete` MUST be true", attribute("/", complete="true")),
    "complete as 7": ("`complete` MUST be true", attribute("/", complete=7)),
    "provenance that is a list": (
        "`provenance` MUST be a JSON object",
        attribute("/", provenance="[1]"),
    ),
    "provenance that is no JSON": (
        "`provenance` MUST be a JSON object",
        attribute("/", provenance="{"),
    ),
    "provenance of numbers": (
        "`provenance` MUST be a JSON object",
        attribute("/", provenance=[1, 2]),
    ),
    "no provenance": ("`provenance` MUST be a JSON object", without("/", "provenance")),
    "no ids": ("`/example_ids` MUST have n rows", without("example_ids")),
    "fewer ids": ("`/example_ids` MUST have n rows", ids(*IDS[1:])),
    "ids in two dimensions": (
        "`/example_ids` MUST have n rows",
        data("example_ids", np.full((N, 1), b"x")),
    ),
    "ids of any length": (
        "fixed-length bytes",
        data("example_ids", IDS, dtype=h5py.string_dtype()),
    ),
    "ids of another encoding": (
        "fixed-length bytes, UTF-8",
        data("example_ids", np.array([b"\xff%d" % k for k in range(N)])),
    ),
    "an empty id": ("No id is empty", ids(*IDS[1:], "")),
    "an id that comes twice": ("none comes twice", ids(*IDS[1:], IDS[1])),
    "a kind of numbers": (
        "`kind` MUST be `class`",
        attribute("targets/left", kind=1),
    ),
    "a class as binary": ("`kind` MUST be `class`", attribute("targets/left", kind="binary")),
    "a class below 0": (
        "an integer from 0 an example",
        data("targets/left", np.array([0, 1, 0, 1, 0, -1])),
    ),
    "a class of fractions": ("an integer from 0 an example", data("targets/left", np.zeros(N))),
    "fewer classes than examples": (
        "an example, of shape (n,)",
        data("targets/left", np.zeros(N - 1, int)),
    ),
    "a binary target of twos": (
        "zeros and ones an example",
        data("targets/kept", np.full((N, 3), 2, np.uint8)),
    ),
    "a target without an order": ("`order` is an integer from 0", without("targets/left", "order")),
    "a target of order -1": ("`order` is an integer from 0", attribute("targets/left", order=-1)),
    "classes that are numbers": (
        "`classes` MUST be a JSON list of texts",
        attribute("targets/left", classes="[1, 2]"),
    ),
    "no classes": ("`classes` MUST be a JSON list of texts", without("targets/left", "classes")),
    "names of fewer columns": (
        "`classes` MUST be a JSON list of texts",
        attribute("targets/kept", classes='["x"]'),
    ),
    "labels of no target": (
        "`labels` of the group MUST be the name",
        attribute("targets", labels="nowhere"),
    ),
    "no name of the labels": (
        "`labels` of the group MUST be the name",
        without("targets", "labels"),
    ),
    "digests of another function": (
        "`algorithm` MUST be `xxh3-64`",
        attribute("inputs", algorithm="md5"),
    ),
    "digests of no function": ("`algorithm` MUST be `xxh3-64`", without("inputs", "algorithm")),
    "digests of integers with a sign": (
        "n numbers of uint64",
        data("inputs", np.arange(N, dtype=np.int64)),
    ),
    "a place below 0": ("an integer from 0.", data("order", np.arange(N) - 1)),
    "no progress": ("`/progress` MUST be the number", without("progress")),
    "less progress": ("`/progress` MUST be the number", data("progress", np.int64(N - 1))),
    "progress as text": ("`/progress` MUST be the number", data("progress", "6")),
    "no examples": ("There MUST be at least one", data("example_ids", np.zeros(0, "S8"))),
    "no layers": ("`/layers` MUST be a group", without("layers")),
    "layers that are numbers": ("`/layers` MUST be a group", data("layers", np.zeros(3))),
    "a group of layers": (
        "There are no groups below",
        lambda file: file.move(STEM, "layers/group/stem"),
    ),
    "an address of another layer": (
        "MUST be the address itself",
        attribute(BLOCK, address="group2/block1"),
    ),
    "rows of fewer examples": (
        "Each data set MUST have n rows",
        data(STEM, np.zeros((N - 1, 3, 2, 2))),
    ),
    "a layer without columns": ("at least one more dimension", data(STEM, np.zeros(N))),
    "a layer of complex numbers": (
        "any float or integer",
        data(STEM, np.zeros((N, 3, 2, 2), complex)),
    ),
    "a layer without an order": ("`order` MUST be an integer from 0", without(STEM, "order")),
    "a layer of order 2^31": (
        "`order` MUST be an integer from 0",
        attribute(STEM, order=2**31),
    ),
    "a layer without a module": ("`module` MUST be the name", without(STEM, "module")),
    "a layer without axes": ("`axes` MUST name the dimensions", without(STEM, "axes")),
    "fewer axes": ("`axes` MUST name the dimensions", attribute(STEM, axes="example,feature")),
    "an axis without a name": (
        "`axes` MUST name the dimensions",
        attribute(STEM, axes="example,,height,width"),
    ),
    "examples behind": (
        "the examples first",
        attribute(STEM, axes="channel,example,height,width"),
    ),
    "a soft link": ("Everything MUST lie in the file", linked(BLOCK)),
    "no checksums": ("`/checksums` MUST be there", without("checksums")),
    "checksums of another function": (
        "`algorithm` MUST be the string `xxh3-64`",
        attribute("checksums", algorithm="md5"),
    ),
    "checksums of no function": (
        "`algorithm` MUST be the string `xxh3-64`",
        without("checksums", "algorithm"),
    ),
    "checksums of a layer that is not there": (
        "There MUST be one checksum a block",
        without("checksums/layers/stem"),
    ),
    "fewer checksums": (
        "There MUST be one checksum a block",
        data("checksums/layers/stem", np.zeros(1, np.uint64)),
    ),
    "blocks of no rows": (
        "from 1, is the number of rows",
        attribute("checksums/layers/stem", rows=0),
    ),
    "a header of other values": ("is the checksum of all", attribute("checksums", header=1)),
    "no checksum of the header": ("is the checksum of all", without("checksums", "header")),
    "a flat weight": ("`weight` MUST be A, of shape", data("heads/head/weight", np.zeros(4))),
    "no weight": ("`weight` MUST be A, of shape", without("heads/head/weight")),
    "a bias of another size": ("`bias` is b", data("heads/head/bias", np.zeros(3))),
    "a head of no layer": ("That layer MUST be in", attribute("heads/head", input="nowhere")),
    "a head without a layer": ("`input` MUST be the address", without("heads/head", "input")),
}

#: Checks that come after the checksums are written, as they are about checksums.
_UNSEALED = ("checksum", "blocks of", "a header")


def _added(file: h5py.File) -> None:
    """All kinds of things that a later version, or another program, may add."""
    file["later"] = h5py.SoftLink("/nowhere")
    file["more/inner"] = np.zeros(3)
    file["table"] = np.zeros(2, [("x", "f4"), ("y", "i4")])
    for item in (
        "/",
        "layers",
        STEM,
        "targets",
        "heads/head",
        "checksums",
        "checksums/layers/stem",
    ):
        file[item].attrs["later"] = [1, 2]
    file["targets/later"] = np.zeros((N, 2, 2))
    file["targets/later"].attrs.update(order=7, kind="box", classes="[]")


def _labels_of_later(file: h5py.File) -> None:
    _added(file)
    file["targets"].attrs["labels"] = "later"


def _only_what_must(file: h5py.File) -> None:
    for name in ("targets", "inputs", "order", "heads"):
        del file[name]


def _bytes(file: h5py.File) -> None:
    """Texts of fixed length, as C and Fortran write them."""
    for item in ("/", *file["layers"].values(), *file["targets"].values(), file["heads/head"]):
        owner = file[item] if isinstance(item, str) else item
        for key, value in dict(owner.attrs).items():
            if isinstance(value, str):
                owner.attrs[key] = np.bytes_(value.encode())
    file["checksums"].attrs["algorithm"] = np.bytes_(b"xxh3-64")
    file["inputs"].attrs["algorithm"] = np.bytes_(b"xxh3-64")
    file["targets"].attrs["labels"] = np.bytes_(b"left")


def _other_integers(file: h5py.File) -> None:
    """Numbers of other widths than repsim writes."""
    file.attrs["format_version"] = np.uint8(3)
    file.attrs["complete"] = np.uint8(1)
    for layer in file["layers"].values():
        layer.attrs["order"] = np.uint16(layer.attrs["order"])
    data("targets/left", (np.arange(N) % 2).astype(np.uint16))(file)
    data("progress", np.uint32(N))(file)
    data("order", np.arange(N, dtype=np.uint64))(file)


GOOD: dict[str, Change] = {
    "all that one can have": lambda file: None,
    "only what must be": _only_what_must,
    "things that are not known": _added,
    "texts of fixed length": _bytes,
    "integers of other widths": _other_integers,
    "big endian": data(STEM, ROWS["stem"].astype(">f8")),
    "compressed": data(STEM, ROWS["stem"], compression="gzip", shuffle=True, fletcher32=True),
    "chunked otherwise": data(STEM, ROWS["stem"], chunks=(5, 1, 2, 1)),
    "labels of a kind that is not known": lambda file: (
        _added(file),
        attribute("targets", labels="later")(file),
    ),
    "no names of classes": attribute("targets/left", classes="[]"),
    "no module": attribute(STEM, module=""),
    "short ids": data("example_ids", np.array([each.encode() for each in IDS])),
    "no bias": without("heads/head/bias"),
    "positions without names": attribute(STEM, axes="example,axis1,axis2,axis3"),
    "layers in another order": lambda file: attribute(STEM, order=9)(file),
}


def faults(path: Path) -> list[str]:
    """The fault for which a store is refused, or those that verifying it finds."""
    try:
        with repsim.open_store(path) as store:
            found = store.verify()
            if not found:
                assert store.n == N
                assert store.labels is None or len(store.labels) == N
                assert all(len(store[layer][:]) == N for layer in store.layers)
            return found
    except StoreError as error:
        return [str(error)]


@pytest.mark.parametrize("what", GOOD)
def test_what_the_page_allows_is_read(what: str, tmp_path: Path) -> None:
    write_plain(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        GOOD[what](file)
        seal(file)
    assert faults(tmp_path / "a.h5") == []


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_must_is_refused(what: str, tmp_path: Path) -> None:
    words, change = BROKEN[what]
    write_plain(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        change(file)
        if not any(each in what for each in _UNSEALED):
            with contextlib.suppress(Exception):  # of what it says, some cannot be summed
                seal(file)
    (fault,) = faults(tmp_path / "a.h5")
    assert "\n" not in fault
    if "checksum" not in words:
        assert not re.search(r"header: .* differ", fault), fault


def test_values_are_those_that_were_written(tmp_path: Path) -> None:
    write_plain(tmp_path / "a.h5")
    with repsim.open_store(tmp_path / "a.h5") as store:
        assert store.layers == tuple(ROWS)
        for layer, rows in ROWS.items():
            assert np.array_equal(store[layer][:], rows)
        assert [each.decode() for each in store.example_ids] == IDS
        assert store.provenance()["network"] == "plain"
        assert store.heads["head"]["input"] == "group1/block1"
        assert [each.name for each in store.targets] == ["left", "kept"]


def test_every_must_on_a_store_has_a_file_that_breaks_it() -> None:
    page = PAGE[PAGE.index("## The activation store") : PAGE.index("### While it is written")]
    flat = " ".join(page.split())
    said = {words for words, _ in BROKEN.values()}
    for words in said:
        assert words in flat, words
    #: Of a reader's doing, or of a harvest alone; other tests are about them.
    elsewhere = (
        "A reader MUST ignore",
        "MUST be there in a harvested store",
        "A reader that compares MUST",
        "A reader MUST refuse anything else",
        "reader MUST refuse a file where",
        "attribute `address` then",
    )
    for found in re.finditer(r"MUST", flat):
        around = flat[max(0, found.start() - 60) : found.end() + 60]
        known = any(each in around for each in elsewhere)
        assert known or any(each[:25] in around or each in around for each in said), around
