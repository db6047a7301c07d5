"""Images of every mode, turned and listed: the right pixels, or a refusal."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from repsim.data import ImageSet, load
from repsim.data.folder import find
from repsim.data.listing import suffixes
from repsim.data.splits import Split
from repsim.errors import DataError, RepsimWarning

RAMP = np.tile(np.linspace(0, 255, 32).astype(np.uint8), (32, 1))
GREY = Image.fromarray(RAMP)
COLOUR = Image.fromarray(np.stack([RAMP, RAMP.T, 255 - RAMP], axis=-1))
SHAPE = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)  # no symmetry


def folder(root: Path, image: Image.Image, name: str = "0.png", **options: Any) -> Path:
    """A folder of one class with one image."""
    (root / "a").mkdir(parents=True, exist_ok=True)
    image.save(root / "a" / name, **options)
    return root


def one(root: Path, **options: Any) -> np.ndarray:
    """The one image of a folder, (c, h, w)."""
    return load(root, "all", image_size="own", **options).images[0].numpy()


def alpha(image: Image.Image, values: Any = 255) -> Image.Image:
    """An image with an alpha channel."""
    image = image.copy()
    image.putalpha(Image.fromarray(np.full((32, 32), values, np.uint8)))
    return image


# --- modes


@pytest.mark.parametrize("suffix", ["png", "pgm", "tif", "jp2"])
def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path: Path, suffix: str) -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    lossless = {"irreversible": False} if suffix == "jp2" else {}
    found = one(folder(tmp_path, deep, f"0.{suffix}", **lossless))
    np.testing.assert_array_equal(found, RAMP[None])


def test_sixteen_bit_grey_is_rounded(tmp_path: Path) -> None:
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    found = one(folder(tmp_path, Image.fromarray(values)))
    np.testing.assert_array_equal(found[0], np.rint(values / 257))


def test_a_tiff_says_its_bits_and_where_white_is(tmp_path: Path) -> None:
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    found = one(folder(tmp_path, deep, "0.tif", tiffinfo={262: 0}))
    np.testing.assert_array_equal(found[0], 255 - RAMP)


def test_eight_and_sixteen_bit_grey_make_a_grey_folder(tmp_path: Path) -> None:
    folder(tmp_path, GREY, "0.png")
    folder(tmp_path, Image.fromarray(RAMP.astype(np.uint16) * 257), "1.png")
    found = load(tmp_path, "all")
    np.testing.assert_array_equal(found.images, np.stack([RAMP[None]] * 2))
    folder(tmp_path, COLOUR, "2.png")
    np.testing.assert_array_equal(load(tmp_path, "all").images[1], np.stack([RAMP] * 3))


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (GREY.convert("1", dither=0), "0.png", np.where(RAMP > 127, 255, 0)),
        (GREY.convert("P"), "0.png", RAMP),
        (alpha(GREY), "0.png", RAMP),
        (GREY.convert("P"), "0.gif", RAMP),
        (GREY, "0.webp", RAMP),
        (GREY, "0.TIFF", RAMP),
        (GREY.convert("RGB").convert("CMYK"), "0.tif", RAMP),
    ],
    ids=["1", "P", "LA", "gif", "webp", "TIFF", "CMYK"],
)
def test_a_mode_is_read_as_the_colours_it_means(
    tmp_path: Path, image: Image.Image, name: str, expected: np.ndarray
) -> None:
    options = {"lossless": True} if name.endswith("webp") else {}
    found = one(folder(tmp_path, image, name, **options))
    np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "YCbCr", "HSV", "LAB", "RGBX", "CMYK"])
def test_colours_are_those_of_pillow(tmp_path: Path, mode: str) -> None:
    image = COLOUR if mode in ("HSV", "LAB", "YCbCr") else COLOUR.convert(mode)
    found = one(folder(tmp_path, image, "0.tif"))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), COLOUR)


def test_opaque_alpha_is_left_out_and_transparent_pixels_are_refused(tmp_path: Path) -> None:
    found = one(folder(tmp_path / "opaque", alpha(COLOUR)))
    np.testing.assert_array_equal(found.transpose(1, 2, 0), COLOUR)
    cases: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "RGBA": (alpha(COLOUR, RAMP), {}),
        "LA": (alpha(GREY, RAMP), {}),
        "P": (GREY.convert("P"), {"transparency": 0}),
        "L": (GREY, {"transparency": 0}),
        "RGB": (COLOUR, {"transparency": tuple(np.asarray(COLOUR)[3, 4].tolist())}),
        "I;16": (Image.fromarray(RAMP.astype(np.uint16)), {"transparency": int(RAMP[0, 3])}),
    }
    for name, (image, options) in cases.items():
        root = folder(tmp_path / name, image, **options)
        with pytest.raises(DataError, match=r"0\.png has transparent pixels, .* save it without"):
            load(root, "all")
        if name == "RGB":  # the colour that is transparent does not occur
            opaque = folder(tmp_path / "unused", image, transparency=(1, 2, 3))
            np.testing.assert_array_equal(one(opaque).transpose(1, 2, 0), COLOUR)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_white_are_refused(tmp_path: Path, dtype: type) -> None:
    root = folder(tmp_path, Image.fromarray(RAMP.astype(dtype)), "0.tif")
    with pytest.raises(DataError, match=r"0\.tif holds numbers without a defined white .* 16 bits"):
        load(root, "all")


# --- orientation

#: By orientation: the picture, out of the rows and columns as they are stored.
TURNS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_the_camera_was_held(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    stored = one(folder(tmp_path / "stored", SHAPE, f"0.{suffix}", **options))
    found = one(folder(tmp_path / "turned", SHAPE, f"0.{suffix}", exif=exif, **options))
    assert stored.shape[1:] == (4, 6)
    np.testing.assert_array_equal(found[0], TURNS[orientation](stored[0]))


def test_a_damaged_orientation_is_none(tmp_path: Path) -> None:
    root = folder(tmp_path, SHAPE, exif=b"Exif\0\0nonsense")
    np.testing.assert_array_equal(one(root)[0], SHAPE)


# --- lists


def listed(root: Path) -> tuple[ImageSet, str]:
    """A folder, and the warning that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RepsimWarning)
        found = load(root, "all")
    return found, " ".join(str(each.message) for each in caught)


def test_hidden_entries_are_no_classes_and_no_images(tmp_path: Path) -> None:
    folder(tmp_path, GREY)
    (tmp_path / "a").rename(tmp_path / "b")
    folder(tmp_path, GREY)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    GREY.save(tmp_path / ".ipynb_checkpoints" / "0.png")
    (tmp_path / "a" / "._0.png").write_bytes(b"\0\5\x16\7")
    found, said = listed(tmp_path)
    assert (found.classes, found.ids) == (("a", "b"), ("a/0.png", "b/0.png"))
    assert "left out 2 hidden (.ipynb_checkpoints, a/._0.png)" in said


def test_everything_else_that_is_left_out_is_counted(tmp_path: Path) -> None:
    folder(tmp_path, GREY)
    GREY.save(tmp_path / "loose.png")
    (tmp_path / "a" / "photo.heic").touch()
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "targets.csv").write_text("file,side\na/0.png,left\n")
    found, said = listed(tmp_path)
    assert found.classes == ("a",)
    for words in (
        "1 of another kind (a/photo.heic)",
        "1 a folder within a class (a/b)",
        "1 a folder without images (c)",
        "1 an image outside of the class folders (loose.png)",
    ):
        assert words in said
    assert "targets" not in said


def test_folders_beside_train_and_test_are_said(tmp_path: Path) -> None:
    for name in ("train", "test", "val"):
        folder(tmp_path / name, GREY)
    with pytest.warns(RepsimWarning, match=r"left out 1 beside train and test \(val\)"):
        load(tmp_path)


def test_only_the_first_of_several_frames_is_taken_and_said(tmp_path: Path) -> None:
    root = folder(tmp_path, GREY, "0.gif", save_all=True, append_images=[SHAPE.resize((32, 32))])
    with pytest.warns(RepsimWarning, match=r"file that holds several, 1 in all, such as a/0\.gif"):
        found = load(root, "all")
    np.testing.assert_array_equal(found.images[0, 0], RAMP)


def test_a_class_of_webp_stays(tmp_path: Path) -> None:
    folder(tmp_path, GREY)
    (tmp_path / "b").mkdir()
    GREY.save(tmp_path / "b" / "0.webp")
    assert load(tmp_path, "all").classes == ("a", "b")
    assert {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".webp", ".ppm"} <= suffixes()
    assert not {".h5", ".pdf", ".mpg", ".eps"} & suffixes()


def test_files_that_are_decoded_when_needed_are_the_same(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    root = folder(tmp_path, Image.fromarray(np.asarray(SHAPE).astype(np.uint16) * 257), exif=exif)
    files = find(Split("all"), root, "own")
    np.testing.assert_array_equal(files.decode(0)[0], np.rot90(SHAPE, -1))


def test_a_dead_link_and_a_text_are_not_called_damaged_images(tmp_path: Path) -> None:
    root = folder(tmp_path / "links", GREY)
    (root / "a" / "9.png").symlink_to("nowhere.png")
    with pytest.raises(DataError, match=r"9\.png is a link to nowhere\.png, which is not there"):
        load(root, "all")
    root = folder(tmp_path / "texts", GREY)
    (root / "a" / "9.png").write_text("a text")
    with pytest.raises(DataError, match=r"9\.png: .*\(no format that Pillow knows\)"):
        load(root, "all")
