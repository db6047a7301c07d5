"""Names of networks on the command line: runs, extractors, checkpoints, networks, files, layers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from driving import run_command

import repsim
from repsim.cli.names import find, find_one
from repsim.cli.stores import Places
from repsim.errors import StoreError, UsageError


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, one of them with a series, and two networks that are no runs."""
    folder = tmp_path_factory.mktemp("workspace")
    tiny = ("--preset", "tiny", "--width", 4, "--split", "train[:50]", "--test", "test[:50]")
    model = ("--model", "repsim.networks:ResNet", "--model-args", "channels=1,depth=10,width=4")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", sys.argv)
        kept = ("--epochs", 1, "--batch-size", 50, "--save-every", 1)
        assert run_command("train", "supervised", *kept, *tiny) == 0
        assert run_command("train", "mgan", "--epochs", 0, *tiny) == 0
        series = ("--epochs", 1, "--batch-size", 50, "--save-every", 1, "--name", "series")
        assert run_command("train", "mgan", *series, *tiny) == 0
        for split in ("test[:50]", "train[:50]"):
            shown = ("--data", "digits", "--split", split, "--pooling", "avg")
            assert run_command("harvest", *model, *shown, "--name", "fresh") == 0
        assert run_command("harvest", "supervised@all", "--split", "test[:50]") == 0
        np.save("layer.npy", np.random.default_rng(0).normal(size=(50, 6)))
        assert run_command("import", "layer.npy", "-o", "activations/brought.h5") == 0
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(sys, "argv", sys.argv)
    return workspace


PLACES = Places(Path("runs"))


@pytest.mark.parametrize(
    ("name", "labels", "layers"),
    [
        ("supervised", ["supervised"], None),
        ("runs/supervised", ["supervised"], None),
        ("mgan", ["mgan:discriminator", "mgan:classifier"], None),
        ("mgan:classifier", ["mgan:classifier"], None),
        ("supervised@1", ["supervised@1"], None),
        ("supervised@all", ["supervised@0", "supervised@1"], None),
        ("supervised@even", ["supervised"], "even"),
        ("supervised@bg1.*,head", ["supervised"], "bg1.*,head"),
        ("supervised@head@input", ["supervised"], "head@input"),
        ("supervised@1@even", ["supervised@1"], "even"),
        ("supervised@all@bg1.*", ["supervised@0", "supervised@1"], "bg1.*"),
        ("mgan:classifier@features", ["mgan:classifier"], "features"),
        ("series@1:classifier", ["series@1:classifier"], None),
        ("series:classifier@1", ["series@1:classifier"], None),
        ("series:classifier@all", ["series@0:classifier", "series@1:classifier"], None),
        ("series:classifier@1@features", ["series@1:classifier"], "features"),
        ("series@1:classifier@features", ["series@1:classifier"], "features"),
        ("mgan@type:Conv2d", ["mgan:discriminator", "mgan:classifier"], "type:Conv2d"),
        ("fresh", ["fresh"], None),
        ("fresh@even", ["fresh"], "even"),
        ("brought", ["brought"], None),
        ("layer.npy", ["layer"], None),
        ("activations/brought.h5@layer", ["brought"], "layer"),
        ("activations/fresh.*.h5@head", ["fresh"], "head"),
    ],
)
def test_a_name_stands_for(inside: Path, name: str, labels: list[str], layers: str | None) -> None:
    found = find([name], PLACES)
    assert [each.label for each in found] == labels
    assert {each.layers for each in found} == {layers}


def test_a_network_is_found_once_however_often_it_is_named(inside: Path) -> None:
    names = ["mgan", "mgan:classifier", "supervised", "supervised", "supervised@even"]
    labels = [each.label for each in find(names, PLACES)]
    assert labels == ["mgan:discriminator", "mgan:classifier", *["supervised"] * 2]


def test_activations_are_those_of_the_part(inside: Path) -> None:
    for name in ("fresh", "supervised@1", "supervised@0"):
        with find_one(name, PLACES).open("test[:50]") as (source, _):
            assert (source.name, source.n) == (name, 50)
    with find_one("fresh", PLACES).open("train[0:50]") as (source, _):
        assert source.provenance()["split"] == "train[0:50]"
    with find_one("brought", PLACES).open("train") as (source, _):  # no images to choose a part of
        assert source.layers == ("layer",)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (
            "supervized",
            UsageError,
            "no run 'supervized' in runs, and no network in activations; did you mean 'supervised'",
        ),
        ("freshh@even", UsageError, "did you mean 'fresh'"),
        ("supervised@7", UsageError, "has no checkpoint of epoch 7; there is: 0, 1"),
        ("mgan@all", UsageError, "kept no checkpoints"),
        ("mgan:classifier@all", UsageError, "kept no checkpoints"),
        ("series:classifier@7", UsageError, "has no checkpoint of epoch 7; there is: 0, 1"),
        ("series@0:classifier@1", UsageError, "two checkpoints; leave out @0 or @1"),
        ("supervised@", UsageError, "'supervised@' has nothing after @; expected layers"),
        ("mgan:classifier@", UsageError, "expected .* as in mgan:classifier@even"),
        ("supervised@@even", UsageError, "nothing after @; .* as in supervised@even"),
        ("mgan:critic", UsageError, "no extractor 'critic'"),
        ("mgan", UsageError, "names 2 extractors; say mgan:discriminator or mgan:classifier"),
        ("", UsageError, "there is no run ''"),
        ("@even", UsageError, "'@even' chooses layers of no network; .* as in simclr@even"),
        ("nothing", UsageError, "there is no run 'nothing' in .*, and no network in .*there is: "),
        ("nothing.h5", StoreError, "there is no activation store nothing.h5"),
        ("nothing/*.h5", StoreError, "no file matches"),
        (
            "fresh",
            StoreError,
            "has no activations of test; there are: .*fresh.*; say their --data",
        ),
    ],
)
def test_a_name_of_nothing_says_so(
    inside: Path, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), find_one(name, PLACES).open("test"):
        pass


def test_a_name_of_two_things_says_so(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Places(inside / "runs", stores=tmp_path)
    for name in ("supervised", "twice.digits-test", "twice.other-test"):
        (tmp_path / f"{name}.h5").write_bytes((inside / "activations/brought.h5").read_bytes())
    with pytest.raises(UsageError, match="'supervised' is a run in .* and a network in"):
        find_one("supervised", both)


def test_sides_have_layers_of_their_own(inside: Path) -> None:
    command = ("cka", "--a", "supervised@0@bg1.*", "--b", "supervised@1", "--layers-b", "head")
    assert run_command(*command, "--split", "test[:50]", "-o", "sides.json") == 0
    found = repsim.SimilarityMap.load("sides.json")
    assert all(layer.startswith("bg1.") for layer in found.layers_a)
    assert found.layers_b == ("head",)


def test_every_command_of_two_networks_takes_names(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("--a", "supervised@0", "--b", "supervised@1", "--split", "test[:50]")
    assert run_command("influence", *pair, "--layer", "head", "-o", "table.csv") == 0
    table = repsim.results.Table.load("table.json")
    assert table.names == ["example", "label", "influence"]
    assert len(table.cells) == 50
    capsys.readouterr()
    assert run_command("influence", *pair, "-o", "no.json") == 2
    assert "say --layer, or as in simclr@head" in capsys.readouterr().err
    measures = ("--layers", "even", "--measure", "cka,rsa")
    assert run_command("layer-identification", *pair, *measures) == 0
    stem = "layer-identification-supervised-0-????-supervised-1-????-test-50-even-cka-rsa"
    (name,) = Path("results").glob(f"{stem}.json")
    found = repsim.results.Table.load(name)
    assert [row["measure"] for row in found.rows()] == ["cka", "rsa"]
    with (
        find_one("supervised@0", PLACES).open("test[:50]") as (one, _),
        find_one("supervised@1", PLACES).open("test[:50]") as (other, _),
    ):
        for row in found.rows():
            shares = [
                repsim.layer_identification(a, b, measure=row["measure"], layers_a="even")
                for a, b in ((one, other), (other, one))
            ]
            assert row["layers identified"] == 50 * sum(shares)


def test_the_layers_of_a_run_have_null_spaces(inside: Path) -> None:
    command = ("layer-nullspace", "supervised@bg1.*", "--split", "test[:50]", "--images", 50)
    assert run_command(*command, "-o", "layers.json") == 0
    found = repsim.results.Table.load("layers.json")
    rows = found.rows()
    assert {row["group"] for row in rows} > {"all", "class 3"}
    assert all(row["layer"].startswith("bg1.") for row in rows)
    assert all(0 <= row["value"] <= 1 for row in rows if row["group"] == "all")


def test_networks_that_are_no_runs_are_probed(inside: Path) -> None:
    splits = ("--split", "train[:50]", "--test-split", "test[:50]")
    assert run_command("probe", "fresh@pooled", *splits, "--solver", "ridge") == 0
    (name,) = Path("results").glob("probe-fresh-pooled-????-train-50-test-50-ridge.json")
    (entry,) = repsim.ProbeCurve.load(name).entries
    assert (entry.network, entry.layer) == ("fresh", "pooled")


# --- names against names, and against options


def test_networks_of_other_layers_are_told_apart(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("supervised@1@stem", "supervised@1@head")
    assert run_command("classes", *names, "--split", "test[:50]") == 0
    for layer in ("stem", "head"):
        (name,) = Path("results").glob(f"classes-supervised-1-????-test-50-{layer}.json")
        found = repsim.SimilarityMap.load(name)
        assert found.layers_a == (layer,)
    capsys.readouterr()
    assert run_command("probe", *names, "--split", "train[:50]") == 2
    assert "would hold 'supervised@1' twice; name it once" in capsys.readouterr().err


def test_a_harvest_that_would_replace_itself_is_refused(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for names in (("mgan:classifier@features", "mgan:classifier@head"), ("mgan@features", "mgan")):
        for option in ("--overwrite", "--dry-run"):
            assert run_command("harvest", *names, "--split", "test[:8]", option) == 2
            error = capsys.readouterr().err
            assert "would both be written to runs/mgan/activations/" in error
            assert not list(Path("runs/mgan").glob("activations/*test.0-8*"))


def test_the_layers_of_a_name_come_before_those_of_the_options(inside: Path) -> None:
    split = ("--split", "test[:50]")
    assert run_command("classes", "supervised@1@head", "--layers", "stem", *split, "-o", "a") == 0
    assert repsim.SimilarityMap.load("a.json").layers_a == ("head",)
    pair = ("--a", "supervised@0@head", "--b", "supervised@1")
    assert run_command("cka", *pair, "--layers", "stem", *split, "-o", "b.json") == 0
    found = repsim.SimilarityMap.load("b.json")
    assert (found.layers_a, found.layers_b) == (("head",), ("stem",))
    assert run_command("influence", *pair, "--layer", "stem", *split, "-o", "c.json") == 0
    assert repsim.results.Table.load("c.json").provenance["layers"] == ["head", "stem"]
    assert run_command("export", "brought@layer", "--layers", "nothing", "-o", "d") == 0
    harvest = ("harvest", "supervised@head", "--layers", "stem", "--split", "test[:8]")
    assert run_command(*harvest, "-o", "e.h5") == 0
    with repsim.open_store("e.h5") as store:
        assert store.layers == ("head",)


def test_the_measure_may_be_a_variant_of_cka(
    inside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("similarity", "--a", "supervised@0", "--b", "supervised@1", "--split", "test[:50]")
    for measure, setting, name in (
        ("cka-rbf", ("--kernel", "rbf"), "rbf"),
        ("cka-biased", ("--estimator", "biased"), "biased"),
    ):
        assert run_command(*pair, "--measure", measure) == 0
        (path,) = Path("results").glob(f"cka-*-test-50-{name}.json")
        assert run_command(*pair, *setting, "-o", "same.json", "--overwrite") == 0
        found, same = (repsim.SimilarityMap.load(each) for each in (path, "same.json"))
        np.testing.assert_array_equal(found.values(), same.values())
        assert found.provenance["settings"] == same.provenance["settings"]
    capsys.readouterr()
    assert run_command(*pair, "--measure", "procrustes") == 2
    assert "call repsim.measures.procrustes_distance on two layers" in capsys.readouterr().err
