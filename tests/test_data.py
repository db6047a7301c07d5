"""Image sets: splits, each format, its damaged forms, and augmentation."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from repsim.data import ImageSet, Split, load, to_input
from repsim.data.sets import cifar10, find_kind
from repsim.data.splits import holdout
from repsim.data.targets import label_target
from repsim.errors import DataError, ShapeError, UsageError

# --- splits


@given(
    length=st.integers(1, 1000),
    start=st.none() | st.integers(0, 1100),
    stop=st.none() | st.integers(0, 1100),
)
def test_a_split_takes_what_python_slicing_takes_or_is_refused(
    length: int, start: int | None, stop: int | None
) -> None:
    text = f"train[{'' if start is None else start}:{'' if stop is None else stop}]"
    rows = range(length)[start:stop]
    if not rows or max(start or 0, stop or 0) > length:
        with pytest.raises(UsageError):
            Split.parse(text).within(length)
        return
    split = Split.parse(text).within(length)
    assert range(length)[split.rows] == rows
    assert Split.parse(str(split)).within(length) == split
    assert (str(split) == "train") == (len(rows) == length)


@given(st.text(max_size=20))
def test_any_text_parses_or_is_a_usage_error(text: str) -> None:
    try:
        split = Split.parse(text)
    except UsageError:
        return
    assert Split.parse(str(split)) == split


@pytest.mark.parametrize(
    "text",
    ["", "train[", "train[5]", "train[-5:]", "train[:50%]", "train [0:5]", "[0:5]", "train[0:5"],
)
def test_bad_syntax_is_answered_with_good(text: str) -> None:
    with pytest.raises(UsageError, match=r"cannot be read; write .*train\[:40000\]"):
        Split.parse(text)


def test_splits_have_one_spelling() -> None:
    assert str(Split.parse("train[:40000]").within(50_000)) == "train[0:40000]"
    assert str(Split.parse("train[40000:]").within(50_000)) == "train[40000:50000]"
    assert str(Split.parse("train[:50000]").within(50_000)) == "train"
    with pytest.raises(UsageError, match="empty"):
        Split.parse("train[5:5]")
    with pytest.raises(UsageError, match=r"train\[0:50001\].*50000 examples"):
        Split.parse("train[:50001]").within(50_000)


def test_holdout_is_a_stratified_fifth_that_depends_on_each_key_alone() -> None:
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    keys = [f"key {row}" for row in range(100)]
    held = holdout(keys, labels)
    assert Counter(labels[held].tolist()) == {0: 10, 1: 6, 2: 4}
    order = np.random.default_rng(0).permutation(100)
    shuffled = holdout([keys[row] for row in order], labels[order])
    np.testing.assert_array_equal(shuffled, held[order])
    assert not np.array_equal(held, holdout([f"other {row}" for row in range(100)], labels))


# --- image sets


def test_image_set_inputs_slug_and_checks() -> None:
    images = torch.arange(0, 256, dtype=torch.uint8).repeat(2, 3, 4, 1).reshape(2, 3, 32, 32)
    targets = label_target(torch.tensor([0, 1]), ("p", "q"))
    found = ImageSet("a b/c", "train[0:2]", images, targets, ("x", "y"))
    assert (len(found), found.channels, found.slug) == (2, 3, "a_b_c-train.0-2")
    assert found.inputs().shape == images.shape
    torch.testing.assert_close(found.inputs([1]), to_input(images[1:]), rtol=0, atol=0)
    assert to_input(images).dtype == torch.float32
    assert (to_input(images).min(), to_input(images).max()) == (-1, 1)
    assert "tensor" not in repr(found)
    with pytest.raises(ShapeError, match="2 images but 1 ids"):
        ImageSet("s", "train", images, targets, ("x",))
    with pytest.raises(ShapeError, match="float32"):
        ImageSet("s", "train", images.float(), targets, ("x", "y"))


# --- digits


def test_digits_split_never_changes() -> None:
    train, test = load("digits"), load("digits", "test")
    assert (len(train), len(test)) == (1437, 360) == tuple(find_kind("digits").sizes.values())
    assert train.images.shape == (1437, 1, 32, 32)
    assert (train.split, train.slug, train.ids[17]) == ("train", "digits-train", "digits/train/17")
    assert train.labels is not None
    assert test.labels is not None
    total = torch.bincount(train.labels) + torch.bincount(test.labels)
    shares = torch.bincount(test.labels) - total * 360 / 1797
    assert shares.abs().max() < 1
    assert int(train.images.max()) == 255
    digests = [hashlib.sha256(s.images.numpy().tobytes()).hexdigest()[:16] for s in (train, test)]
    assert digests == ["8de53fdcff1574d7", "337e310da6101715"]


def test_digits_slices_keep_ids_and_sizes_vary() -> None:
    train, part = load("digits"), load("digits", "train[100:200]", image_size=8)
    assert part.ids == train.ids[100:200]
    assert part.slug == "digits-8x8-train.100-200"
    from sklearn.datasets import load_digits

    originals = {image.tobytes() for image in load_digits().images}
    # 255 / 16 is more than 1, so that the scaling can be undone exactly
    assert all(
        np.rint(image[0].numpy() / (255 / 16)).tobytes() in originals for image in part.images
    )


# --- names


def test_unknown_names_and_splits_name_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"did you mean 'mnist'\? there is: cifar10, digits, mnist"
    ):
        load("mnits")
    with pytest.raises(UsageError, match="digits has no split 'val'; there is: test, train"):
        load("digits", "val")
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(UsageError, match="unknown image set"):
        load(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="size"):
        load("digits", image_size=0)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_missing_file_says_where_and_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my data"
    monkeypatch.setenv("REPSIM_DATA", str(folder))
    with pytest.raises(DataError) as caught:
        load(name)
    assert f"repsim data fetch {name} --data-dir '{folder}'" in str(caught.value)
    assert str(folder / {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-bin"}[name]) in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


# --- MNIST


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (7, 28, 28), dtype=np.uint8)


@pytest.fixture
def mnist_dir(tmp_path: Path, mnist_images: np.ndarray) -> Path:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(mnist_images)))
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(7)))
    return tmp_path


def test_mnist_reads_compressed_and_plain_files(mnist_dir: Path, mnist_images: np.ndarray) -> None:
    found = load("mnist", "train[2:6]", data_dir=mnist_dir)
    assert found.images.shape == (4, 1, 32, 32)
    np.testing.assert_array_equal(found.images[:, 0, 2:30, 2:30], mnist_images[2:6])
    assert int(found.images.sum()) == int(mnist_images[2:6].sum())  # so the border is black
    assert found.labels is not None
    assert found.labels.tolist() == [2, 3, 4, 5]
    assert found.ids[0] == "mnist/train/2"
    assert len(load("mnist", data_dir=mnist_dir / "MNIST" / "raw")) == 7


def packed(content: bytes) -> bytes:
    """Without the time of day: each process that runs tests has to find the same ones."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte.gz", b"no gzip", "cannot be read as an IDX file"),
        ("train-images-idx3-ubyte.gz", packed(bytes(2000))[:-30], "cannot be read"),
        (
            "train-images-idx3-ubyte.gz",
            packed(idx(np.zeros((7, 28, 28)))[:-1]),
            "5488 .*5487",
        ),
        ("train-images-idx3-ubyte.gz", packed(idx(np.zeros((7, 28, 28))) + b"x"), "5489"),
        ("train-images-idx3-ubyte.gz", packed(idx(np.zeros(7))), "begins with 00000803"),
        ("train-images-idx3-ubyte.gz", packed(b""), "begins with 00000803"),
        ("train-images-idx3-ubyte.gz", packed(idx(np.zeros((7, 20, 20)))), "28 x 28"),
        ("train-labels-idx1-ubyte", idx(np.arange(6)), "6 labels for 7 images"),
        ("train-labels-idx1-ubyte", idx(np.full(7, 11)), "from 0 to 9, got 11"),
    ],
)
def test_damaged_mnist_is_refused(mnist_dir: Path, name: str, content: bytes, message: str) -> None:
    (mnist_dir / "MNIST" / "raw" / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load("mnist", data_dir=mnist_dir)
    assert name in str(caught.value)


def test_flipped_bits_in_a_gzip_file_are_noticed(mnist_dir: Path) -> None:
    path = mnist_dir / "MNIST" / "raw" / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=path.name):
        load("mnist", data_dir=mnist_dir)


# --- CIFAR-10


def records(seed: int, count: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, 3073), dtype=np.uint8)
    drawn[:, 0] %= 10
    return drawn


@pytest.fixture
def cifar_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(1, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(records(i, 10).tobytes())
    (folder / "test_batch.bin").write_bytes(records(0, 8).tobytes())
    return tmp_path


def test_cifar10_slices_run_across_batches(cifar_dir: Path) -> None:
    whole = np.concatenate([records(i, 10) for i in range(1, 6)])
    found = load("cifar10", "train[15:38]", data_dir=cifar_dir)
    np.testing.assert_array_equal(found.images, whole[15:38, 1:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(found.labels, whole[15:38, 0])
    assert (found.ids[0], found.split) == ("cifar10/train/15", "train[15:38]")
    assert load("cifar10", "train[0:50]", data_dir=cifar_dir).split == "train"
    assert len(load("cifar10", "test", data_dir=cifar_dir)) == 8
    assert len(load("cifar10", data_dir=cifar_dir / "cifar-10-batches-bin")) == 50


def test_cifar10_needs_only_the_batches_of_the_slice(cifar_dir: Path) -> None:
    (cifar_dir / "cifar-10-batches-bin" / "data_batch_5.bin").unlink()
    found = load("cifar10", "train[:40]", data_dir=cifar_dir)
    assert (len(found), found.split) == (40, "train[0:40]")
    with pytest.raises(DataError, match=r"no data_batch_5\.bin in .*repsim data fetch cifar10"):
        load("cifar10", "train", data_dir=cifar_dir)


@pytest.mark.parametrize("content", [b"", records(1, 2).tobytes()[:-1]])
def test_a_cifar10_batch_cut_short_is_refused(cifar_dir: Path, content: bytes) -> None:
    (cifar_dir / "cifar-10-batches-bin" / "data_batch_2.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2\.bin.*cut short"):
        load("cifar10", data_dir=cifar_dir)


def test_labels_beyond_nine_are_no_cifar10(cifar_dir: Path) -> None:
    (cifar_dir / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"\x0a" * 3073)
    with pytest.raises(DataError, match="labels beyond 0 to 9"):
        load("cifar10", "test", data_dir=cifar_dir)


def python2_pickle(batch: np.ndarray) -> bytes:
    """The batch as the official Python version has it: protocol 2 with byte strings."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    data = batch[:, 1:].tobytes()
    array = b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n",
            b"(K\x00t" + text(b"b") + b"tR",
            b"(K\x01(K" + bytes([len(batch)]) + b"M" + struct.pack("<H", 3072) + b"t",
            b"cnumpy\ndtype\n(" + text(b"u1") + b"K\x00K\x01tR",
            b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            b"\x89T" + struct.pack("<i", len(data)) + data + b"tb",
        ]
    )
    labels = b"](" + b"".join(b"K" + bytes([label]) for label in batch[:, 0]) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + labels + b"u."


@pytest.mark.parametrize("kind", ["python 2", "numpy 1", "protocol 2", "protocol 5", "bytes keys"])
def test_pickled_cifar10_of_every_origin_is_read(kind: str, tmp_path: Path) -> None:
    batch = records(3, 6)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    data, labels = batch[:, 1:].copy(), batch[:, 0].tolist()
    content = {
        "python 2": python2_pickle(batch),
        "numpy 1": pickle.dumps({"data": data, "labels": labels}, protocol=2).replace(
            b"cnumpy._core.multiarray", b"cnumpy.core.multiarray"
        ),
        "protocol 2": pickle.dumps({"data": data, "labels": labels}, protocol=2),
        "protocol 5": pickle.dumps({"data": data, "labels": labels}, protocol=5),
        "bytes keys": pickle.dumps({b"data": data, b"labels": labels}),
    }[kind]
    (folder / "test_batch").write_bytes(content)
    found = load("cifar10", "test[1:5]", data_dir=tmp_path)
    np.testing.assert_array_equal(found.images.reshape(4, -1), batch[1:5, 1:])
    np.testing.assert_array_equal(found.labels, batch[1:5, 0])


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "test_batch").write_bytes(
        pickle.dumps({"data": Hostile(tmp_path / "ran"), "labels": []}, protocol=protocol)
    )
    with pytest.raises(DataError, match=rf"test_batch: refused.*{os.system.__module__}\.system"):
        load("cifar10", "test", data_dir=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_dotted_names_do_not_slip_past_the_unpickler(tmp_path: Path) -> None:
    (tmp_path / "test_batch").write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x13ndarray.__class__.x\x93.")
    with pytest.raises(DataError, match=r"refused.*numpy\.ndarray\.__class__"):
        load("cifar10", "test", data_dir=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        python2_pickle(records(0, 3))[:-100],
        pickle.dumps([1, 2]),
        pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [0, 1]}),
        pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0.5, 1]}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}),
        pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [[0], [1]]}),
    ],
)
def test_pickles_that_are_no_batch_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match="test_batch"):
        load("cifar10", "test", data_dir=tmp_path)


# --- folders


def save(path: Path, mode: str = "RGB", size: tuple[int, int] = (40, 30), value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    color = value if mode == "L" else (value, 0, 255)
    Image.new(mode, size, color).save(path)


def test_a_folder_of_classes_has_a_fixed_fifth_for_testing(tmp_path: Path) -> None:
    root = tmp_path / "shapes"
    for name in ("square", "circle"):
        for i in range(10):
            save(root / name / f"{i}.png", value=i)
    found = load(root, "all")
    assert (found.name, found.classes, len(found)) == ("shapes", ("circle", "square"), 20)
    assert found.ids[:2] == ("circle/0.png", "circle/1.png")
    assert found.images.shape == (20, 3, 32, 32)
    assert found.images[13, :, 5, 5].tolist() == [3, 0, 255]
    train, test = load(str(root)), load(root, "test")
    assert (len(train), len(test)) == (16, 4)
    assert set(train.ids) | set(test.ids) == set(found.ids)
    assert test.labels is not None
    assert test.labels.tolist() == [0, 0, 1, 1]
    assert load(root, "train[2:5]").ids == train.ids[2:5]


def test_a_folder_with_train_and_test_uses_them(tmp_path: Path) -> None:
    save(tmp_path / "train" / "b" / "1.JPG")
    save(tmp_path / "train" / "a" / "1.bmp")
    save(tmp_path / "test" / "b" / "2.jpeg")
    train, test = load(tmp_path), load(tmp_path, "test", image_size=16)
    assert (train.ids, test.ids) == (("train/a/1.bmp", "train/b/1.JPG"), ("test/b/2.jpeg",))
    assert train.classes == test.classes == ("a", "b")
    assert test.labels is not None
    assert test.labels.tolist() == [1]
    assert test.images.shape == (1, 3, 16, 16)
    with pytest.raises(UsageError, match="no split 'all'; there is: test, train"):
        load(tmp_path, "all")


def test_grey_folders_stay_grey_unless_one_image_is_not(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "a" / f"{i}.png", mode="L", value=7)
    assert load(tmp_path, "all").channels == 1
    save(tmp_path / "a" / "9.png")
    found = load(tmp_path, "all[0:1]")
    assert found.images[0, :, 0, 0].tolist() == [7, 7, 7]


def test_damaged_images_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images; expected"):
        load(tmp_path)
    save(tmp_path / "a" / "0.png")
    path = tmp_path / "a" / "1.png"
    path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"1\.png: cannot be read as an image"):
        load(tmp_path, "all")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"1\.png: cannot be read as an image") as caught:
        load(tmp_path, "all")
    assert "\n" not in str(caught.value)


# --- arrays


@pytest.mark.parametrize("shape", [(10, 32, 32), (10, 32, 32, 3), (10, 3, 32, 32), (10, 1, 32, 32)])
def test_npz_layouts(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(10) % 3)
    found = load(tmp_path / "set.npz", "all")
    expected = images if images.ndim == 4 else images[:, None]
    expected = expected.transpose(0, 3, 1, 2) if expected.shape[-1] == 3 else expected
    np.testing.assert_array_equal(found.images, expected)
    assert (found.classes, found.ids[3]) == (("0", "1", "2"), "set/all/3")
    train, test = load(tmp_path / "set.npz"), load(tmp_path / "set.npz", "test")
    assert (len(train), len(test)) == (8, 2)
    assert set(train.ids) | set(test.ids) == set(found.ids)


def test_npz_floats_ids_and_sizes(tmp_path: Path) -> None:
    images = np.linspace(0, 1, 4 * 16 * 16).reshape(4, 16, 16)
    np.savez(tmp_path / "set.npz", images=images, ids=np.array(["d", "c", "b", "a"]))
    found = load(tmp_path / "set.npz", "all", image_size=16)
    np.testing.assert_array_equal(found.images[:, 0], np.rint(images * 255))
    assert (found.ids, found.labels, found.classes) == (("d", "c", "b", "a"), None, ())
    assert load(tmp_path / "set.npz", "all").images.shape == (4, 1, 32, 32)


def test_npz_with_its_own_splits(tmp_path: Path) -> None:
    np.savez_compressed(
        tmp_path / "mnist.npz",
        x_train=np.zeros((6, 28, 28), np.uint8),
        y_train=np.array([[0], [1], [2], [0], [1], [2]]),
        x_test=np.zeros((2, 28, 28), np.uint8),
        y_test=np.array([3, 1], np.uint8),
    )
    train, test = load(tmp_path / "mnist.npz"), load(tmp_path / "mnist.npz", "test")
    assert train.classes == test.classes == ("0", "1", "2", "3")
    assert (len(train), test.ids) == (6, ("mnist/test/0", "mnist/test/1"))
    with pytest.raises(UsageError, match="there is: test, train"):
        load(tmp_path / "mnist.npz", "all")


IMAGES = np.zeros((4, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, "expected an array 'images' or 'x_train', got pictures"),
        ({"images": np.zeros((4, 8))}, r"shape \(4, 8\); expected"),
        ({"images": np.zeros((4, 8, 8, 4), np.uint8)}, "c of 1 or 3"),
        ({"images": np.zeros((0, 8, 8), np.uint8)}, "expected"),
        ({"images": IMAGES.astype(int)}, "type int64; expected uint8"),
        ({"images": IMAGES + 2.0}, "floats from 2 to 2; expected 0 to 1"),
        ({"images": IMAGES + np.nan}, "floats from nan"),
        ({"images": IMAGES, "labels": np.arange(3)}, r"shape \(3,\)"),
        ({"images": IMAGES, "labels": np.arange(4) - 1}, "runs from -1 to 2"),
        ({"images": IMAGES, "labels": np.arange(4) + 10**9}, "count from 0"),
        ({"images": IMAGES, "labels": np.ones(4)}, "float64"),
        ({"images": IMAGES, "ids": np.array(list("abba"))}, "2 distinct values"),
        ({"images": np.array([IMAGES, None], dtype=object)}, "allow_pickle"),
    ],
)
def test_npz_that_holds_something_else_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "set.npz", "all")


def test_damaged_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, images=IMAGES)
    for content in (b"", b"not a zip", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"set\.npz: cannot be read as an \.npz"):
            load(path)


# --- the real sets

REAL = Path(os.environ.get("REPSIM_DATA") or "data")


def needs(name: str) -> pytest.MarkDecorator:
    absent = [file for file in find_kind(name)().missing(REAL) if not file.startswith("test_batch")]
    return pytest.mark.skipif(
        bool(absent), reason=f"{name} is not in {REAL}; set REPSIM_DATA to a folder that has it"
    )


@needs("mnist")
@pytest.mark.parametrize(
    ("split", "md5", "counts"),
    [
        (
            "train",
            "6bbc9ace898e44ae57da46a324031adb",
            [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        ),
        (
            "test",
            "2646ac647ad5339dbf082846283269ea",
            [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        ),
    ],
)
def test_real_mnist(split: str, md5: str, counts: list[int]) -> None:
    found = load("mnist", split, data_dir=REAL)
    assert len(found) == find_kind("mnist").sizes[split]
    assert found.labels is not None
    assert torch.bincount(found.labels).tolist() == counts
    # within the border lies the official file, whose md5 is known
    content = idx(found.images[:, 0, 2:30, 2:30].numpy())
    assert hashlib.md5(content).hexdigest() == md5


@needs("cifar10")
def test_real_cifar10() -> None:
    train = load("cifar10", "train[:40000]", data_dir=REAL)
    rest = load("cifar10", "train[40000:]", data_dir=REAL)
    assert (len(train), len(rest)) == (40_000, 10_000)
    assert not set(train.ids) & set(rest.ids)
    assert train.labels is not None
    assert rest.labels is not None
    assert train.labels[:5].tolist() == [6, 9, 9, 4, 1]
    assert cifar10.CLASSES[6] == "frog"
    total = torch.bincount(train.labels) + torch.bincount(rest.labels)
    assert total.tolist() == [5000] * 10
    # the last batch, put together again, is the official file
    record = np.concatenate([rest.labels[:, None], rest.images.reshape(-1, 3072)], axis=1)
    content = record.astype(np.uint8).tobytes()
    assert hashlib.md5(content).hexdigest() == "53f37980c15c3d472c316c40844f3f0d"
