"""Sizes, targets and parameters of image sets: any height and width, several targets, by name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from repsim.cli.main import cli
from repsim.configuration import setting
from repsim.data import ImageSet, Target, find_set, load, set_names, sets
from repsim.data.augment import crop_flip, simclr, standard
from repsim.data.dataset import DataSet
from repsim.data.filelist import SHORT, FileList
from repsim.data.imageset import fit
from repsim.data.preprocessing import Preprocessing
from repsim.data.sets.digits import Digits
from repsim.data.size import OWN, parse_size, size_record
from repsim.data.splits import Split
from repsim.data.table import read_targets
from repsim.errors import DataError, ShapeError, UsageError

# --- sizes


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (32, (32, 32)),
        ((28, 56), (28, 56)),
        ("28x56", (28, 56)),
        (" 16X8 ", (16, 8)),
        ("7", (7, 7)),
        (OWN, OWN),
        ("", None),
        (None, None),
    ],
)
def test_sizes_are_read(wanted: object, size: object) -> None:
    assert parse_size(wanted) == size  # type: ignore[arg-type]


@pytest.mark.parametrize("wanted", [0, -1, 4097, "x", "3x", "3x4x5", (1, 2, 3), 2.5, True, "0x9"])
def test_no_size_is_refused(wanted: object) -> None:
    with pytest.raises(UsageError, match=r"image size .* such as 28x56, .* or own"):
        parse_size(wanted)  # type: ignore[arg-type]


def test_a_size_is_recorded_as_today_where_it_is_a_square() -> None:
    assert (size_record((32, 32)), size_record((28, 56))) == (32, "28x56")


def test_digits_of_any_height_and_width() -> None:
    small, default = load("digits", "test", image_size=OWN), load("digits", "test")
    assert small.images.shape == (360, 1, 8, 8)
    assert torch.equal(fit(small.images, (32, 32)), default.images)
    assert torch.equal(load("digits", "test", image_size=8).images, small.images)
    wide = load("digits", "test", image_size="16x24")
    assert torch.equal(wide.images, fit(small.images, (16, 24)))
    assert (wide.size, wide.resized, default.resized) == ((16, 24), True, False)
    assert (small.slug, wide.slug, default.slug) == (
        "digits-8x8-test",
        "digits-16x24-test",
        "digits-test",
    )
    assert load("digits", "test", image_size="32x32").slug == "digits-test"
    assert wide.ids == small.ids


def test_stretching_one_side_leaves_the_other() -> None:
    rows = torch.arange(8, dtype=torch.uint8)[None, None, :, None].expand(1, 1, 8, 8)
    wide = fit(rows * 30, (8, 16))
    assert wide.shape == (1, 1, 8, 16)
    assert torch.equal(wide[..., ::2], (rows * 30))
    narrow = fit(rows * 30, (8, 4))
    assert torch.equal(narrow, (rows * 30)[..., :4])


def test_mnist_as_it_is_stored_has_no_border(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3])
        + b"".join(n.to_bytes(4, "big") for n in digits.shape)
        + digits.tobytes()
    )
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + (5).to_bytes(4, "big") + bytes([1, 2, 3, 4, 5])
    )
    own = load("mnist", data_dir=tmp_path, image_size=OWN)
    default = load("mnist", data_dir=tmp_path)
    assert np.array_equal(own.images[:, 0].numpy(), digits)
    assert torch.equal(default.images[:, :, 2:30, 2:30], own.images)
    assert int(default.images[:, :, :2].max()) == 0
    assert torch.equal(load("mnist", data_dir=tmp_path, image_size=28).images, own.images)
    assert torch.equal(
        load("mnist", data_dir=tmp_path, image_size=(16, 32)).images, fit(default.images, (16, 32))
    )
    assert (own.slug, default.slug) == ("mnist-28x28-train", "mnist-train")
    assert default.files is not None
    assert default.files.record()["list"] == [
        ["train-images-idx3-ubyte", 16 + digits.size],
        ["train-labels-idx1-ubyte", 13],
    ]


def make_folder(root: Path, sizes: dict[str, tuple[int, int]]) -> Path:
    for name, (height, width) in sizes.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height), 7).save(path)
    return root


def test_folders_and_npz_have_their_own_size(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {f"a/{k}.png": (6, 9) for k in range(5)})
    assert load(root, "all", image_size=OWN).images.shape == (5, 1, 6, 9)
    assert load(root, "all").images.shape == (5, 1, 32, 32)
    assert load(root, "all", image_size="9x6").slug == "set-9x6-all"
    np.savez(tmp_path / "some.npz", images=np.zeros((4, 6, 9, 3), np.uint8))
    found = load(tmp_path / "some.npz", "all", image_size=OWN)
    assert (found.images.shape, found.slug) == ((4, 3, 6, 9), "some-6x9-all")
    assert load(tmp_path / "some.npz", "all").size == (32, 32)


def test_a_folder_of_several_sizes_has_no_own_size(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"a/1.png": (6, 9), "b/2.png": (9, 6)})
    with pytest.raises(DataError, match=r"a/1.png is 6x9 and b/2.png is 9x6 pixels; own needs"):
        load(root, "all", image_size=OWN)


@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_keep_any_shape(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(16, channels, 28, 56) * 2 - 1
    for transform in (
        simclr(channels, (28, 56), flip=True, blur=1.0),
        crop_flip((28, 56), flip=True),
        standard("supervised", channels, (28, 56), flip=False),
        standard("simclr", channels, (28, 56), flip=False),
    ):
        out = transform(images)
        assert out.shape == images.shape
        assert float(out.abs().max()) <= 1


def test_images_are_padded_by_an_eighth_of_each_side() -> None:
    """One white pixel in the middle moves by up to an eighth of the height and of the width."""
    torch.manual_seed(0)
    images = torch.full((2000, 1, 16, 64), -1.0)
    images[:, :, 8, 32] = 1
    out = standard("supervised", 1, (16, 64), flip=False)(images)
    _, _, rows, columns = torch.nonzero(out > 0, as_tuple=True)
    assert sorted(set((rows - 8).tolist())) == list(range(-2, 3))
    assert sorted(set((columns - 32).tolist())) == list(range(-8, 9))


def test_crops_have_the_aspect_of_the_image() -> None:
    """A crop of 28 x 56 covers, in shares of each side, what the crop of a square does."""
    ramp = torch.linspace(-1, 1, 64)
    square = torch.stack([ramp.expand(64, 64), ramp[:, None].expand(64, 64)])[:, None]
    wide = torch.stack([ramp.expand(32, 64), ramp[::2, None].expand(32, 64)])[:, None]

    def extents(images: torch.Tensor) -> tuple[float, float]:
        torch.manual_seed(0)
        size = (images.shape[2], images.shape[3])
        crop = simclr(1, size, flip=False, color_strength=0.0)
        out = crop(images.repeat(1000, 1, 1, 1))
        across = (out[::2, 0, 0, -1] - out[::2, 0, 0, 0]).mean()
        down = (out[1::2, 0, -1, 0] - out[1::2, 0, 0, 0]).mean()
        return float(across), float(down)

    for a, b in zip(extents(square), extents(wide), strict=True):
        assert a == pytest.approx(b, rel=0.05)


def test_preprocessing_takes_height_and_width() -> None:
    images = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8)
    assert Preprocessing(size=(6, 12))(images).shape == (3, 1, 6, 12)
    assert torch.equal(Preprocessing(size=16)(images), Preprocessing(size=(16, 16))(images))


# --- targets


def two_targets() -> ImageSet:
    images = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    left = Target("left", torch.tensor([2, 0, 1]), ("a", "b", "c"))
    parts = Target("parts", torch.tensor([[0, 1], [1, 1], [0, 0]], dtype=torch.uint8), ("x", "y"))
    return ImageSet("pairs", "all", images, (left, parts), ("1", "2", "3"))


def test_the_first_target_gives_the_labels_unless_another_is_chosen() -> None:
    found = two_targets()
    assert found.labels is not None
    assert (found.labels.tolist(), found.classes) == ([2, 0, 1], ("a", "b", "c"))
    chosen = found.choose("parts")
    assert (chosen.classes, chosen.has_labels, found.has_labels) == (("x", "y"), False, True)
    with pytest.raises(UsageError, match=r"'parts' of pairs is a row of zeros .* choose left with"):
        _ = chosen.labels
    with pytest.raises(UsageError, match=r"pairs has no target 'right'; .*left"):
        found.choose("right")
    with pytest.raises(UsageError, match=r"has no target 'x'; it has none"):
        ImageSet("bare", "all", found.images, (), found.ids).choose("x")
    with pytest.raises(UsageError, match=r"digits has no target 'right'; .*label"):
        load("digits", target="right")


def test_targets_are_checked() -> None:
    with pytest.raises(ShapeError, match="expected int64"):
        Target("t", torch.zeros(3), ())
    with pytest.raises(ShapeError, match="2 columns but 1 names"):
        Target("t", torch.zeros(3, 2, dtype=torch.uint8), ("a",))
    with pytest.raises(ShapeError, match="zeros and ones"):
        Target("t", torch.full((3, 1), 2, dtype=torch.uint8), ("a",))
    found = two_targets()
    with pytest.raises(ShapeError, match="3 images but 2 lefts"):
        ImageSet("s", "all", found.images, (found.targets[0][:2],), found.ids)
    with pytest.raises(ShapeError, match="two targets of one name"):
        ImageSet("s", "all", found.images, (found.targets[0],) * 2, found.ids)


def test_npz_may_hold_several_targets(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "some.npz",
        images=np.zeros((5, 4, 4), np.uint8),
        labels=np.arange(5),
        target_side=np.array([0, 1, 1, 0, 1]),
        target_parts=np.eye(5, 3, dtype=bool),
        classes_side=np.array(["left", "right"]),
    )
    found = load(tmp_path / "some.npz", "all[1:4]", target="side")
    assert [each.name for each in found.targets] == ["label", "parts", "side"]
    assert found.labels is not None
    assert (found.labels.tolist(), found.classes) == ([1, 1, 0], ("left", "right"))
    parts = found.choose("parts").target
    assert parts is not None
    assert (parts.values.tolist(), parts.classes) == (
        [[0, 1, 0], [0, 0, 1], [0, 0, 0]],
        ("0", "1", "2"),
    )


def test_npz_of_parts_may_hold_several_targets(tmp_path: Path) -> None:
    arrays = {f"x_{base}": np.zeros((3, 4, 4), np.uint8) for base in ("train", "test")}
    sides = {"target_side_train": np.array([0, 1, 0]), "target_side_test": np.array([2, 1, 0])}
    np.savez(tmp_path / "some.npz", **arrays, **sides)
    found = load(tmp_path / "some.npz", "train")
    assert ([each.name for each in found.targets], found.classes) == (["side"], ("0", "1", "2"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"target_a": np.full((2, 2), 3)}, "other numbers than zeros and ones"),
        ({"target_a": np.zeros((3, 2), int)}, r"of shape \(3, 2\); expected integers"),
        ({"target_a": np.array([0, 5]), "classes_a": np.array(["x"])}, "expected 6 texts"),
    ],
)
def test_npz_with_odd_targets_is_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "some.npz", images=np.zeros((2, 4, 4), np.uint8), **arrays)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "some.npz", "all")


def test_folders_may_have_a_table_of_targets(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {f"{name}/1.png": (4, 4) for name in "ab"})
    (root / "targets.csv").write_text(
        "file,side,has:hat,has:coat\nb/1.png,left,1,0\na/1.png,right,0,1\nc/9.png,left,1,1\n"
    )
    found = load(root, "all")
    assert [(each.name, each.classes) for each in found.targets] == [
        ("label", ("a", "b")),
        ("side", ("left", "right")),
        ("has", ("hat", "coat")),
    ]
    assert [each.values.tolist() for each in found.targets] == [[0, 1], [1, 0], [[0, 1], [1, 0]]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("side\nleft\n", "expected a first line 'file,NAME,...'"),
        ("file,side\na,left\n", "no row for b; expected one for every image"),
        ("file,has:x\na,1\nb,yes\n", "has 'yes'; expected 0 or 1"),
        ("file,side\na,left\nb\n", "row 3: 1 cells; expected 2"),
        ("file,label\na,1\nb,2\n", "cannot be called 'label'"),
        ("file,has,has:x\na,1,1\nb,1,1\n", "both a column and columns has:PART"),
        ("file,side\na,left\nb,left\na,right\n", "2 rows for a; expected one"),
        ("", "expected a first line"),
    ],
)
def test_odd_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "targets.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_targets(tmp_path / "targets.csv", ("a", "b"))


# --- sets by name


@dataclass(frozen=True)
class Made(DataSet):
    sizes: ClassVar = {"all": 1}
    own_size: ClassVar = (4, 4)

    share: float = setting(0.5, "a share", ge=0, le=1)
    count: int = setting(3, "a count", ge=1)
    kind: Literal["noise", "blank"] = setting("noise", "a kind")
    fast: bool = setting(False, "a switch")

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        raise NotImplementedError


@given(st.floats(0, 1), st.integers(1, 10**9), st.sampled_from(["noise", "blank"]), st.booleans())
def test_a_set_with_parameters_has_one_spelling(
    share: float, count: int, kind: str, fast: bool
) -> None:
    made = Made(share=share, count=count, kind=kind, fast=fast)
    again = Made.parse(made.name.partition(":")[2])
    assert (again, again.name) == (made, made.name)


def test_defaults_are_left_out_and_parameters_sorted() -> None:
    assert Made().name == Made.plain_name()
    assert Made.parse("share=0.5, count=3").name == Made.plain_name()
    assert Made.parse("share=1,kind=blank,fast=true").name == (
        f"{Made.plain_name()}:fast=true,kind=blank,share=1"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("share=2", "share is 2.0; expected at most 1"),
        ("share=nan", "share is nan; expected at least 0"),
        ("share=much", "share = 'much'; .*number"),
        ("count=0", "count is 0; expected at least 1"),
        ("count=1.5", "count = '1.5'; .*integer"),
        ("kind=blur", "kind = 'blur'; .*'noise' or 'blank'"),
        ("fast=maybe", "fast = 'maybe'; .*boolean"),
        ("shar=1", "unknown key 'shar'; .*share"),
        ("share", "'share' has no value; expected .*:key=value"),
        ("share=1,share=0", "'share' is given twice; expected"),
    ],
)
def test_parameters_are_checked_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Made.parse(text)
    assert "\n" not in str(caught.value)


def test_sets_are_found_by_their_modules() -> None:
    assert set_names() == ["cifar10", "digits", "mnist", "scenes", "two-digits"]
    assert find_set("digits:noise=0.5") == Digits(noise=0.5)
    assert find_set("photos") is None
    assert find_set(Path("digits")) is None
    with pytest.raises(UsageError, match="mnist: unknown key 'noise'"):
        find_set("mnist:noise=1")


def test_noise_on_digits_replaces_a_share_of_the_pixels() -> None:
    clean = load("digits", image_size=OWN).images.double()
    noisy = load("digits:noise=0.5", image_size=OWN).images.double()
    # A uniform level is the one that was there once in 17 times.
    assert float((clean != noisy).double().mean()) == pytest.approx(0.5 * 16 / 17, abs=0.01)
    pure = load("digits:noise=1", image_size=OWN).images
    levels, counts = pure.unique(return_counts=True)
    assert levels.tolist() == np.rint(np.arange(17) * 255 / 16).tolist()
    assert counts / pure.numel() == pytest.approx(1 / 17, abs=0.002)


def test_noise_is_that_of_the_image_whatever_the_slice_and_grows_with_its_share() -> None:
    whole, part = load("digits:noise=0.3", "test"), load("digits:noise=0.30", "test[100:110]")
    assert torch.equal(whole.images[100:110], part.images)
    assert part.ids[0] == "digits:noise=0.3/test/100"
    assert part.slug == "digits_noise_0.3-test.100-110"
    clean, less, more = (
        load(f"digits:noise={share}", "test", image_size=OWN).images for share in (0, 0.2, 0.6)
    )
    assert bool(((less != clean) <= ((more != clean) | (more == less))).all())
    other = load("digits:noise=0.3,seed=1", "test")
    assert not torch.equal(other.images, whole.images)
    assert other.name == "digits:noise=0.3,seed=1"


def test_data_list_shows_sizes_and_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPSIM_DATA", str(tmp_path))
    out = CliRunner().invoke(cli, ["data", "list"]).output
    assert re.search(r"^ *digits +1437 train, 360 test +32x32 +built in *$", out, re.MULTILINE)
    pairs = "10000 train, 10000 validation, 10000 test"
    assert re.search(
        rf"^ *two-digits +{pairs} +28x56 +missing in .*: train-images", out, re.MULTILINE
    )
    assert re.search(r"noise +0\.0 +probability that a pixel is replaced by a uniform one", out)


# --- a set as CONTRIBUTING teaches it


def taught() -> str:
    text = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    code = text.split("**A data set.**")[1].split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) <= 45
    return code


@pytest.fixture
def bars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "bars.py").write_text(taught())
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path / "sets")])
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("repsim.data.sets.bars", None)


@pytest.mark.usefixtures("bars")
def test_the_set_that_contributing_teaches_is_trained_on_and_harvested() -> None:
    def run(*arguments: str) -> str:
        found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    listed = run("data", "list")
    assert re.search(r"^ *bars +512 train, 128 test +16x24 +built in *$", listed, re.MULTILINE)
    settings = [
        "--depth",
        "10",
        "--width",
        "4",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "--split",
        "train[:256]",
    ]
    data = ("--data", "bars:noise=0.50", "--target", "side")
    run("train", "supervised", *data, "--name", "s", *settings)
    described = json.loads(Path("runs/s/config.json").read_text())
    assert described["config"]["data"] == "bars:noise=0.5"
    assert described["trained_on"]["data"] == "bars:noise=0.5"
    assert (described["facts"]["height"], described["facts"]["width"]) == (16, 24)
    assert described["facts"]["classes"] == 2
    run("harvest", "s", "--layers", "head", "--device", "cpu")
    assert Path("runs/s/activations/bars_noise_0.5-test.h5").is_file()
    whole, part = load("bars", "train"), load("bars", "train[100:110]")
    assert torch.equal(whole.images[100:110], part.images)
    with pytest.raises(UsageError, match="bars has no target 'left'; there is: side, way"):
        load("bars", target="left")


# --- files


def test_lists_of_files_tell_sets_apart(tmp_path: Path) -> None:
    for k in range(SHORT + 1):
        (tmp_path / f"{k:02d}").write_bytes(b"x" * k)
    paths = sorted(tmp_path.iterdir())
    short, long = (FileList.of(each, tmp_path).record() for each in (paths[:-1], paths))
    assert (short["count"], short["bytes"], short["list"][3]) == (SHORT, 120, ["03", 3])
    assert (long["count"], "list" in long) == (SHORT + 1, False)
    (tmp_path / "03").write_bytes(b"yyyy")
    changed = FileList.of(paths, tmp_path).record()
    assert (changed["bytes"], changed["sha256"] == long["sha256"]) == (long["bytes"] + 1, False)
    assert FileList.of(reversed(paths), tmp_path).record() == changed
    json.dumps(changed)


def test_folders_record_the_files_of_their_split(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "a", {f"x/{k}.png": (4, 4) for k in range(5)})
    other = make_folder(tmp_path / "b", {f"x/{k}.png": (50, 40) for k in range(5)})
    records = [load(each, "all[:2]").files for each in (root, other)]
    assert records[0] is not None
    assert [name for name, _ in records[0].entries] == ["x/0.png", "x/1.png"]
    assert records[0] != records[1]


# --- what is imported


def test_loading_needs_neither_pillow_nor_scikit_learn(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", images=np.zeros((5, 4, 4), np.uint8))
    code = (
        "import sys\n"
        "sys.modules['PIL'] = sys.modules['sklearn'] = None\n"
        "from repsim.data import load, ImageSet\n"
        "import repsim.training.loaders\n"
        "assert len(load('some.npz', 'all')) == 5\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
