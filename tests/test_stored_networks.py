"""Networks that are no runs: the target, the size and the set of their stored activations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from driving import run_command

import repsim
from repsim.cli.names import find_one
from repsim.cli.stores import Places
from repsim.data import load
from repsim.errors import StoreError, UsageError

N = 40
RNG = np.random.default_rng(0)
#: Targets that classes and probes tell apart: each is a layer of its own.
LABELS, TWO = RNG.permutation(N) % 4, RNG.permutation(N) % 2
ARRAYS = {"one": np.eye(4)[LABELS], "two": np.eye(2)[TWO]}
BINARY = RNG.integers(0, 2, (N, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An imported network, two copies of it by glob, and one that was harvested at two sizes."""
    folder = tmp_path_factory.mktemp("stored")
    arrays = {**ARRAYS, "labels": LABELS, "target_two": TWO, "target_parts": BINARY}
    pixels = RNG.integers(0, 256, (N, 32, 32), dtype=np.uint8)
    targets = {key: value for key, value in arrays.items() if key not in ARRAYS}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("sys.argv", [])
        np.savez("imp.npz", **arrays)
        np.savez("parts.npz", images=pixels, **targets)
        np.save("layer.npy", ARRAYS["one"])
        assert run_command("import", "imp.npz", "-o", "activations/fresh.h5") == 0
        for at in range(0, N, 20):
            ids = [f"{k}" for k in range(at, at + 20)]
            Path("ids.txt").write_text("\n".join(ids))
            np.savez("shard.npz", **{key: value[at : at + 20] for key, value in arrays.items()})
            made = ("import", "shard.npz", "--ids", "ids.txt", "--name", "shards")
            assert run_command(*made, "-o", f"shard{at}.h5") == 0
        model = ("--model", "repsim.networks:ResNet", "--model-args", "channels=1,depth=10,width=4")
        for data, split, size in [
            *(("digits", "test[:40]", size) for size in (32, 64)),
            ("parts.npz", "all", 32),
            ("digits:noise=0.5", "test[350:]", 32),
        ]:
            shown = ("--data", data, "--split", split, "--image-size", size, "--pooling", "avg")
            assert run_command("harvest", *model, *shown, "--name", "net", "--layers", "head") == 0
    return folder


@pytest.fixture
def inside(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr("sys.argv", [])
    return tmp_path


def places(**given: str) -> Places:
    return Places(Path("runs"), **given)  # type: ignore[arg-type]


# --- targets

STORED = [
    ("fresh", "test", {}),
    ("activations/fresh.h5", "test", {}),
    ("shard*.h5", "test", {}),
    ("net", "all", {"data": "parts.npz"}),
]


@pytest.mark.parametrize(("name", "split", "given"), STORED)
def test_labels_are_those_of_the_target(
    inside: Path, name: str, split: str, given: dict[str, str]
) -> None:
    for target, labels in (("", LABELS), ("label", LABELS), ("two", TWO)):
        with find_one(name, places(target=target, **given)).open(split) as (source, _):
            np.testing.assert_array_equal(source.labels, labels)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "split", "given"), STORED)
def test_a_target_that_gives_no_classes_is_refused(
    inside: Path, name: str, split: str, given: dict[str, str]
) -> None:
    wrong = find_one(name, places(target="nosuchtarget", **given))
    with pytest.raises(UsageError, match="no target 'nosuchtarget'"), wrong.open(split):
        pass
    with (
        find_one(name, places(target="parts", **given)).open(split) as (source, _),
        pytest.raises(UsageError, match="row of zeros and ones .* choose label or two"),
    ):
        assert source.labels is None  # type: ignore[attr-defined]


def test_an_array_has_no_targets(inside: Path) -> None:
    named = find_one("layer.npy", places(target="two"))
    refused = pytest.raises(UsageError, match=r"layer.npy has no targets; leave out --target")
    with refused, named.open("test"):
        pass


def test_classes_are_compared_with_the_target(inside: Path) -> None:
    """A layer that is a target one-hot has CKA 1 with that target."""
    for target, layer in (("label", "one"), ("two", "two")):
        path = inside / f"{target}.json"
        assert run_command("classes", "fresh", "--target", target, "-o", path) == 0
        found = repsim.SimilarityMap.load(path)
        values = dict(zip(found.layers_a, found.values()[:, 0], strict=True))
        assert values[layer] == pytest.approx(1)
        assert min(values.values()) < 0.9


@pytest.mark.parametrize(
    "command",
    [
        ("classes", "fresh"),
        ("probe", "shard0.h5"),
        ("influence", "--a", "fresh", "--layer", "one"),
    ],
)
def test_commands_refuse_targets_without_classes(
    inside: Path, command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for target, message in (("parts", "row of zeros and ones"), ("nosuchtarget", "no target")):
        assert run_command(*command, "--target", target, "-o", inside / "no.json") == 2
        assert message in capsys.readouterr().err


def test_the_influence_table_and_the_export_have_the_target(inside: Path) -> None:
    command = ("influence", "--a", "fresh", "--layer", "one", "--target", "two")
    assert run_command(*command, "-o", inside / "influence.json") == 0
    rows = repsim.results.Table.load(inside / "influence.json").rows()
    assert [row["label"] for row in rows] == TWO.tolist()
    assert run_command("export", "fresh", "--target", "two", "-o", inside / "out") == 0
    np.testing.assert_array_equal(np.load(inside / "out" / "labels.npy"), TWO)


# --- images


@pytest.mark.parametrize(
    ("split", "given", "data", "size"),
    [
        ("test[:40]", {"image_size": "64"}, "digits", 64),
        ("test[:40]", {"image_size": "32x32"}, "digits", 32),
        ("test[0:40]", {"image_size": "32", "data": "digits"}, "digits", 32),
        ("all", {}, "parts", 32),
        ("all", {"data": "parts.npz"}, "parts", 32),
        ("all", {"data": "./parts.npz", "image_size": "own"}, "parts", 32),
        ("all", {"data": "parts"}, "parts", 32),
        ("test[350:]", {"data": "digits:noise=0.50"}, "digits:noise=0.5", 32),
        ("test[350:360]", {}, "digits:noise=0.5", 32),
    ],
)
def test_the_store_is_that_of_the_images(
    inside: Path, split: str, given: dict[str, str], data: str, size: int
) -> None:
    with find_one("net", places(**given)).open(split) as (source, _):
        about = source.provenance()
    assert (about["data"], about["image_size"]) == (data, size)


@pytest.mark.parametrize(
    ("split", "given", "error", "message"),
    [
        (
            "test[:40]",
            {},
            UsageError,
            r"several stores; say --image-size \(64 or 32\), or the path: activations/net.digits-",
        ),
        ("test[:40]", {"image_size": "16"}, StoreError, r"no activations of 16 test\[:40\]"),
        ("all", {"image_size": "64"}, StoreError, "no activations of 64 all; there are: "),
        ("all", {"data": "other.npz"}, StoreError, "no activations of other.npz all"),
        ("test[:40]", {"data": "digits:noise=0.5"}, StoreError, "no activations of digits:noise"),
        ("all", {"image_size": "own"}, UsageError, "say --data"),
        ("all", {"image_size": "big"}, UsageError, "image size 'big'; expected a side"),
    ],
)
def test_images_that_no_store_shows_are_refused(
    inside: Path, split: str, given: dict[str, str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), find_one("net", places(**given)).open(split):
        pass


def test_an_imported_network_is_of_any_images_unless_it_records_others(
    inside: Path, workspace: Path
) -> None:
    for given in ({}, {"data": "digits"}, {"image_size": "64"}):
        with find_one("fresh", places(**given)).open("train[:7]") as (source, _):
            assert source.n == N
    copy = inside / "copied.h5"
    copy.write_bytes((workspace / "activations/net.parts-all.h5").read_bytes())
    import h5py

    with h5py.File(copy, "r+") as file:
        file.attrs["provenance"] = file.attrs["provenance"].replace('"net"', '"copied"')
    here = Places(Path("runs"), stores=inside)
    with find_one("copied", here).open("test") as (source, _):
        assert source.n == len(load("parts.npz", "all"))
    with (
        pytest.raises(StoreError, match="no activations of digits test"),
        find_one("copied", Places(Path("runs"), data="digits", stores=inside)).open("test"),
    ):
        pass


# --- what is said of them


def test_info_knows_networks_by_name(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("info", "net", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["kind"], len(shown["stores"])) == ("network", 4)
    assert {each["provenance"]["network"] for each in shown["stores"]} == {"net"}
    assert run_command("info", "fresh") == 0
    assert "activations/fresh.h5: activations of 40 examples" in capsys.readouterr().out
    for arguments, message in (
        (("info", "fresh", "--networks"), "--networks is for runs; 'fresh' has stored activations"),
        (("info", "nothing"), "there is no run 'nothing'"),
        (("invariance", "fresh"), "fresh has stored activations only; running the network needs"),
    ):
        assert run_command(*arguments) == 2
        assert message in capsys.readouterr().err
