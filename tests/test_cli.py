"""The command line: the whole flow, and one line for every mistake."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import repsim
from repsim.activations.analyses import find_analysis
from repsim.cli import demo
from repsim.cli.main import main

TINY = ("--depth", "10", "--width", "4", "--split", "train[:200]", "--test", "test[:100]")
FEW = ("--statistics-batches", "10")


class Outcome:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run_repsim(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run the real entry point in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["repsim", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained and harvested runs, made by the real command."""
    folder = tmp_path_factory.mktemp("workspace")
    small = ("--epochs", "1", "--batch-size", "100")
    networks = ("supervised", "simclr", "mgan")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for arguments in (
            ("train", "supervised", *TINY, "--epochs", "1", "--save-every", "1"),
            ("train", "simclr", *TINY, *small),
            ("train", "mgan", "--width", "4", *small, "--split", "train[:200]", *FEW),
            ("harvest", *networks, "--split", "test[:100]"),
            ("harvest", *networks, "--split", "train[:200]", "--pooling", "avg"),
        ):
            # In this process: to start one for each took half the time of all of them.
            patch.setattr(sys, "argv", ["repsim", *arguments])
            with pytest.raises(SystemExit) as stop:
                main()
            assert not stop.value.code
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def one_line(outcome: Outcome, status: int, *parts: str) -> None:
    """An error as it should be: one line on stderr, nothing on stdout, no traceback."""
    assert outcome.status == status, outcome.err
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("repsim: error: ")
    for part in parts:
        assert part in lines[0]
    assert outcome.out == ""


def test_cka_prints_a_table_and_writes_result_csv_and_figures(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    result = tmp_path / "cka.json"
    done = run_repsim(
        *("cka", "--a", "simclr", "--b", "supervised", "--split", "test[:100]", "-o", result)
    )
    assert done.status == 0, done.err
    assert "linear CKA (unbiased) of simclr against supervised, n = 100" in done.out
    assert "bg2.b0.even" in done.out
    assert "95 % interval" in done.out
    alike = sum(i == j for i, j in enumerate(repsim.SimilarityMap.load(result).best_match()))
    layers = len(repsim.SimilarityMap.load(result).layers_a)
    assert f"{alike} of {layers} layers are most similar to their counterpart" in done.out
    names = {path.name for path in tmp_path.iterdir()}
    ends = ("png", "pdf", "txt")
    figures = {f"cka-{kind}.{end}" for kind in ("heatmap", "curves") for end in ends}
    assert names == {"cka.json", "cka.csv"} | figures
    loaded = repsim.SimilarityMap.load(result)
    assert loaded.name_a == "simclr"
    assert (
        loaded.provenance["a"]["checkpoint_sha256"] != loaded.provenance["b"]["checkpoint_sha256"]
    )
    with (tmp_path / "cka.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(loaded.layers_a) * len(loaded.layers_b)
    assert float(rows[0]["unbiased"]) == loaded.unbiased[0, 0]

    assert (
        run_repsim("cka", "--a", "simclr", "--split", "test[:100]", "--layers", "odd").status == 0
    )
    assert (inside / "results" / "cka-simclr-simclr-test-100-odd.json").is_file()

    again = run_repsim("cka", "--a", "simclr", "--split", "test[:100]", "-o", result)
    one_line(again, 2, "exists already", "--overwrite")
    redrawn = run_repsim("figure", result, "--style", "slide", "-o", tmp_path / "slide")
    assert redrawn.status == 0
    assert (tmp_path / "slide-heatmap.pdf").read_bytes().startswith(b"%PDF")


def test_a_run_is_drawn_and_its_epochs_are_compared(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    done = run_repsim("harvest", "supervised@all", "--split", "test[:100]", "--layers", "bg1.*")
    assert done.status == 0, done.err
    folder = inside / "runs" / "supervised" / "activations"
    names = {path.name for path in folder.glob("epoch-*.h5")}
    assert names == {"epoch-0000.digits-test.0-100.h5", "epoch-0001.digits-test.0-100.h5"}
    compared = run_repsim(
        *("cka", "--a", "supervised@0", "--b", "supervised@1", "--split", "test[:100]"),
        *("-o", tmp_path / "epochs.json"),
    )
    assert compared.status == 0, compared.err
    found = repsim.SimilarityMap.load(tmp_path / "epochs.json")
    assert (found.name_a, found.name_b) == ("supervised@0", "supervised@1")
    assert [found.provenance[side]["epoch"] for side in "ab"] == [0, 1]
    assert 0.01 < found.diagonal()[-1] < 0.999
    same = run_repsim(  # the last of the series is what training ended with
        *("cka", "--a", "supervised", "--b", "supervised@1", "--layers", "bg1.*"),
        *("--split", "test[:100]", "-o", tmp_path / "same.json"),
    )
    assert same.status == 0, same.err
    assert min(repsim.SimilarityMap.load(tmp_path / "same.json").diagonal()) > 1 - 1e-6
    info = json.loads(run_repsim("info", "supervised", "--json").out)
    assert info["epochs"] == [0, 1]

    for wrong, words in (
        ("supervised@7", ["no checkpoint of epoch 7", "there is: 0, 1"]),
        ("simclr@all", ["kept no checkpoints", "--save-every"]),
        ("supervised@0:head", ["no extractor 'head'"]),
    ):
        one_line(run_repsim("harvest", wrong, "--split", "test[:100]"), 2, *words)
    unknown = run_repsim("harvest", "supervised@last", "--split", "test[:7]")
    one_line(unknown, 2, "no layer 'last'")
    several = run_repsim("cka", "--a", "supervised@all", "--split", "test[:100]")
    one_line(several, 2, "names 2 extractors", "supervised@0 or supervised@1")
    missing = run_repsim("cka", "--a", "supervised@0", "--split", "test[:50]")
    one_line(missing, 1, "repsim harvest supervised@0 --split 'test[:50]'")

    drawn = run_repsim("figure", "mgan", "-o", tmp_path / "mgan")
    assert drawn.status == 0, drawn.err
    assert (tmp_path / "mgan-curves.pdf").read_bytes().startswith(b"%PDF")
    other = run_repsim("figure", "mgan", "-o", tmp_path / "mgan", "--style", "slide")
    one_line(other, 2, "exists already", "drawing.style column, now slide")
    one_line(run_repsim("figure", "mgam"), 2, "there is no run 'mgam'", "mgan")


def test_cka_takes_files_patterns_kernels_and_prints_json(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    file = next((inside / "runs" / "simclr" / "activations").glob("digits-test*.h5"))
    done = run_repsim(
        *("cka", "--a", file, "--layers", "even", "--kernel", "rbf:0.4", "--json"),
        *("-o", tmp_path / "a.json"),
    )
    assert done.status == 0, done.err
    content = json.loads(done.out)
    assert content["kernel"] == "rbf:0.4"
    assert all(layer.endswith(".even") for layer in content["layers_a"])
    np.testing.assert_allclose(np.diagonal(content["unbiased"]), 1, atol=1e-5)


def test_cka_with_errors_permutations_and_a_bound_on_memory(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    pair = ("cka", "--a", "simclr", "--b", "supervised", "--split", "test[:100]")
    whole, bare = tmp_path / "whole.json", tmp_path / "bare.json"
    done = run_repsim(
        *(*pair, "--layers", "even", "--permutations", "19", "--seed", "3", "--memory", "64MiB"),
        *("-o", whole),
    )
    assert done.status == 0, done.err
    assert "p, all pairs" in done.out
    found = repsim.SimilarityMap.load(whole)
    assert found.provenance["permutations"] == 19
    assert found.provenance["seed"] == 3
    assert found.p_value_max.min() >= 0.05
    assert found.stderr is not None
    done = run_repsim(*pair, "--layers", "even", "--no-stderr", "-o", bare)
    assert done.status == 0, done.err
    assert "interval" not in done.out
    assert "p, all pairs" not in done.out
    other = repsim.SimilarityMap.load(bare)
    assert (other.stderr, other.p_value, other.p_value_max) == (None, None, None)
    np.testing.assert_allclose(other.unbiased, found.unbiased, atol=2e-6)
    failed = run_repsim(*pair, "--layers", "even", "--memory", "16K", "-o", tmp_path / "no.json")
    one_line(failed, 2, "standard errors of 16 pairs on 100 examples", "16 KiB", "--no-stderr")
    failed = run_repsim(
        *(*pair, "--permutations", "9", "--no-stderr", "--memory", "100K"),
        *("-o", tmp_path / "no.json"),
    )
    one_line(failed, 2, "a permutation test of", "may take 100 KiB")


def test_a_store_alone_is_opened_once(
    run_repsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    from repsim.cli import names

    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(20, 5)))
    opened: list[str] = []
    original = names.open_file

    def opening(reference: str, target: str = ""):  # type: ignore[no-untyped-def]
        opened.append(reference)
        return original(reference, target)

    monkeypatch.setattr(names, "open_file", opening)
    assert run_repsim("cka", "--a", "x.npy").status == 0
    assert opened == ["x.npy"]
    assert Path("results/cka-x-x.json").is_file()
    assert run_repsim("cka", "--a", "x.npy", "--b", "x.npy", "--overwrite").status == 0
    assert opened == ["x.npy"] * 3


def test_a_counterpart_by_rounding_alone_is_none() -> None:
    values = np.array([[0.5, 0.5 - 1e-12], [0.1, 0.9]])
    made = repsim.SimilarityMap(("x", "y"), ("x", "y"), values, None, 9, "a", "b", "linear")
    assert repsim.layer_identification(made) == 0.5
    lines = list(find_analysis("similarity")().report(made))
    assert lines[-1] == "1 of 2 layers are most similar to their counterpart"


def test_cka_of_arrays_in_numpy_files(
    run_repsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 3, 2)).astype(np.float32)
    y = (x.reshape(50, 6) + rng.normal(size=(50, 6))).astype(np.float32)
    np.save("left.npy", x)
    np.save("right.npy", y)
    done = run_repsim("cka", "--a", "left.npy", "--b", "right.npy")
    assert done.status == 0, done.err
    assert done.err == ""  # torch warns of arrays that it may not write to
    found = repsim.SimilarityMap.load("results/cka-left-right.json")
    assert (found.layers_a, found.layers_b, found.n) == (("left",), ("right",), 50)
    assert found.unbiased.item() == pytest.approx(repsim.cka(x, y), abs=1e-7)
    np.save("few.npy", y[:20])
    np.save("flat.npy", y[:, 0])
    (tmp_path / "broken.npy").write_bytes(b"no array")
    for b, status, part in (
        ("few.npy", 1, "left has 50 examples, few has 20"),
        ("flat.npy", 1, "layer 'flat' has shape (50,)"),
        ("broken.npy", 1, "broken.npy is not an array of numbers"),
        ("absent.npy", 1, "there is no file absent.npy"),
    ):
        one_line(run_repsim("cka", "--a", "left.npy", "--b", b, "-o", "no.json"), status, part)


def test_a_network_against_itself_counts_no_counterparts(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    done = run_repsim(
        *("cka", "--a", "simclr", "--split", "test[:100]", "--layers", "odd"),
        *("-o", tmp_path / "a.json"),
    )
    assert done.status == 0, done.err
    assert "counterpart" not in done.out.splitlines()[-1]
    assert "are most similar to their counterpart" not in done.out


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_the_warning_of_the_biased_estimator_is_for_those_who_ask_for_it(
    estimator: str, run_repsim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    for name in ("left", "right"):
        np.save(f"{name}.npy", np.random.default_rng(len(name)).normal(size=(30, 300)))
    done = run_repsim("cka", "--a", "left.npy", "--b", "right.npy", "--estimator", estimator)
    assert done.status == 0, done.err
    assert ("of unrelated layers as wide as these" in done.err) == (estimator == "biased")
    assert ("interval" in done.out) == (estimator == "unbiased")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1073741824", 1 << 30),
        ("512M", 512 << 20),
        ("512 MB", 512 << 20),
        ("1.5GiB", 3 << 29),
        ("1.5g", 3 << 29),
        ("2k", 2048),
        ("7B", 7),
        ("1T", 1 << 40),
        ("1e9", 10**9),
        ("2.5E+3", 2500),
        ("1e3K", 1024000),
    ],
)
def test_sizes_in_bytes(text: str, size: int) -> None:
    from repsim.cli.options import Bytes

    assert Bytes().convert(text, None, None) == size


@pytest.mark.parametrize(
    "text",
    ["", "much", "-1G", "0", "0.0M", "1GG", "1E", "1.2.3M", "inf", "1e-3", "1e", "1e999", "0.5"],
)
def test_sizes_that_are_none(text: str, run_repsim) -> None:  # type: ignore[no-untyped-def]
    failed = run_repsim("cka", "--a", "x", f"--memory={text}")
    one_line(failed, 2, "--memory", f"{text!r} is no size in bytes; try 512M or 2G")


def test_a_dry_run_says_what_would_be_stored_and_stores_nothing(inside: Path, run_repsim) -> None:  # type: ignore[no-untyped-def]
    before = sorted(inside.rglob("*"))
    options = ("--pooling", "*.odd=grid:4,*=avg", "--dtype", "bfloat16", "--data", "digits")
    done = run_repsim("harvest", "simclr", "--split", "test[:30]", *options, "--dry-run")
    assert done.status == 0, done.err
    assert sorted(inside.rglob("*")) == before
    line = next(each for each in done.out.splitlines() if "bg1.b0.odd" in each)
    assert line.split() == [
        *("bg1.b0.odd", "Identity", "30", "4", "x", "4", "x", "4", "64", "bfloat16", "0.004")
    ]
    assert "MB to runs/simclr/activations/digits-test.0-30.h5" in done.out


def test_a_disk_that_is_too_small_makes_a_dry_run_fail(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shutil

    usage = shutil.disk_usage(inside)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    done = run_repsim("harvest", "simclr", "--dry-run", "--split", "test[:40]")
    assert done.status == 1
    assert "bg1.b0.odd" in done.out
    assert "MB free, the store needs" in done.err
    assert "Traceback" not in done.err


@pytest.mark.filterwarnings("always::repsim.errors.RepsimWarning")
def test_a_network_from_elsewhere_is_compared_with_a_run(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (inside / "mine.py").write_text(
        "from torch import nn\n"
        "def make(width=3):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.Flatten(), "
        "nn.LazyLinear(2))\n"
    )
    brought = ("harvest", "--model", "mine:make", "--data", "digits", "--split", "test[:100]")
    done = run_repsim(*brought)
    assert done.status == 2
    assert "no values yet" in done.err
    (inside / "mine.py").write_text(
        (inside / "mine.py").read_text().replace("nn.LazyLinear(2)", "")
    )
    monkeypatch.delitem(sys.modules, "mine")
    teacher = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3)).state_dict()
    student = {name: torch.zeros_like(values) for name, values in teacher.items()}
    torch.save({"teacher": teacher, "student": student}, inside / "w.pt")
    shown = (
        *(*brought, "--channels", "3", "--image-size", "16", "--normalise", "imagenet"),
        *("--model-args", "width=5", "--name", "mine", "--layers", "type:ReLU"),
    )
    done = run_repsim(*shown, "--weights", "w.pt")
    assert done.status == 1
    assert "fit under teacher and student; say which, as in w.pt:teacher" in done.err
    done = run_repsim(*shown, "--weights", "w.pt:teacher")
    assert done.status == 0, done.err
    store = inside / "activations" / "mine.digits-16x16-test.0-100.h5"
    with repsim.open_store(store) as opened:
        assert opened["1"].shape == (100, 5, 14, 14)
        assert opened.provenance()["model_args"] == {"width": 5}
        assert opened.provenance()["normalise"] == "imagenet"
        assert opened.provenance()["weights"]["file"] == "w.pt"
        assert opened.provenance()["weights"]["key"] == "teacher"
        assert opened["1"][:].any()
        assert opened.name == "mine"
    done = run_repsim("cka", "--a", store, "--b", "simclr", "--split", "test[:100]")
    assert done.status == 0, done.err
    assert "were given other inputs for the same example ids (image_size 16 and 32" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, ["name a run, or a --model"]),
        (["simclr", "--model", "a:b"], 2, ["not both"]),
        (["--model", "a:b"], 2, ["--model needs --data"]),
        (["--model", "no_such_module:b", "--data", "digits"], 2, ["no_such_module"]),
        (["--model", "nonsense", "--data", "digits"], 2, ["'nonsense' cannot be read"]),
        (["simclr", "--normalise", "unit"], 2, ["--normalise is about a --model"]),
        (["simclr", "--pooling", "mean"], 2, ["unknown pooling 'mean'"]),
        (["simclr", "--pooling", "nowhere=avg"], 2, ["'nowhere' is never used"]),
        (["simclr", "--layers", "type:Conv3d"], 2, ["no layer of 'type:Conv3d'", "Conv2d"]),
        (["simclr", "--dtype", "int8"], 2, ["int8"]),
        (["simclr", "--data", "none.txt"], 2, ["unknown image set 'none.txt'"]),
        (["--model", "mine:make", "--data", "none.txt"], 2, ["texts need the --tokenizer"]),
    ],
)
def test_mistakes_in_a_harvest_are_one_line(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    arguments: list[str],
    status: int,
    words: list[str],
) -> None:
    done = run_repsim("harvest", *arguments, "--split", "test[:10]")
    assert (done.status, "Traceback" in done.err) == (status, False), done.err
    assert len(done.err.strip().splitlines()) == 1 or status == 2
    for word in words:
        assert word in done.err


def test_probe_and_nullspace(inside: Path, run_repsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    splits = ("--split", "train[:200]", "--test-split", "test[:100]")
    chosen = ("--layers", "head", "-o", tmp_path / "probe.json")
    done = run_repsim("probe", "supervised", "mgan", *splits, *chosen)
    assert done.status == 0, done.err
    curve = repsim.ProbeCurve.load(tmp_path / "probe.json")
    assert curve.networks() == ["supervised", "mgan:discriminator", "mgan:classifier"]
    assert (curve.n_train, curve.n_test) == (200, 100)
    chosen = ("--noise", "gaussian:0.5", "-o", tmp_path / "null.json")
    done = run_repsim("nullspace", "mgan:classifier", *splits, *chosen)
    assert done.status == 0, done.err
    report = repsim.NullSpaceReport.load(tmp_path / "null.json")
    assert (report.dim, report.rank) == (128, 10)
    assert set(report.probes) == {"full", "row", "null"}
    one_line(
        run_repsim("nullspace", "simclr", *splits, "-o", tmp_path / "no.json"),
        2,
        "a head of type ProjectionHead",
        "nn.Linear",
    )


SPLITS = ("--split", "train[:200]", "--test-split", "test[:100]")


def test_probes_of_every_kind_share_a_table_and_a_figure(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    done = run_repsim(
        *("probe", "mgan", *SPLITS, "--solver", "ridge,knn", "--component", "full,null"),
        *("--label-fraction", "1,0.5", "--seeds", "2", "--random-labels", "--k", "3"),
        *("-o", tmp_path / "probe.json"),
    )
    assert done.status == 0, done.err
    curve = repsim.ProbeCurve.load(tmp_path / "probe.json")
    assert curve.networks() == ["mgan:discriminator", "mgan:classifier"]
    # networks x solvers x components x fractions x labels, at one layer each, twice
    assert len(curve.entries) == 2 * 2 * 2 * 2 * 2 * 2
    series = curve.series()
    assert len(series) == 32
    assert curve.solver == "ridge, knn"
    for each in series:
        (point,) = each.points
        assert point.seeds == 2
        assert point.low <= point.accuracy <= point.high
    assert "mean of 2 seeds" in done.out
    assert done.out.count("null space, 50 % of labels, random labels") == 4
    assert "95 % interval" in done.out
    table = list(csv.DictReader((tmp_path / "probe.csv").open()))
    assert len(table) == len(curve.entries)
    assert {"solver", "component", "label_fraction", "labels", "seed", "low", "high"} <= set(
        table[0]
    )
    assert f"class_{curve.classes - 1}" in table[0]
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"probe-curves.{suffix}").stat().st_size > 0
    provenance = curve.provenance["mgan:classifier"]
    assert provenance["pooling"] == "avg"
    assert provenance["options"]["k"] == 3


def test_runs_with_all_layers_and_solvers_in_one_table(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    done = run_repsim(
        *("probe", "supervised", "simclr", *SPLITS, "--solver", "lbfgs,sgd:mao2022"),
        *("--l2", "0.01", "--json", "-o", tmp_path / "probe.json"),
    )
    assert done.status == 0, done.err
    printed = json.loads(done.out)
    assert printed == json.loads((tmp_path / "probe.json").read_text())
    layers = {entry["layer"] for entry in printed["entries"]}
    assert len(printed["entries"]) >= 4 * len(layers) - 4  # a head more or less
    assert {entry["l2"] for entry in printed["entries"]} == {0.01, None}
    assert all(entry["converged"] for entry in printed["entries"])


def test_results_of_other_probes_have_other_names(inside: Path, run_repsim) -> None:  # type: ignore[no-untyped-def]
    common = ("probe", "mgan:classifier", *SPLITS, "--layers", "features")
    names = set()
    for options in (
        ("--solver", "knn"),
        ("--solver", "knn", "--k", "5"),
        ("--solver", "ridge", "--seeds", "2"),
        ("--solver", "ridge", "--component", "row"),
        ("--solver", "ridge", "--label-fraction", "0.5"),
        ("--solver", "ridge", "--random-labels"),
        ("--solver", "mlp", "--hidden", "8", "--dropout", "0.5"),
    ):
        done = run_repsim(*common, *options)
        assert done.status == 0, done.err
        names |= {line for line in done.err.splitlines() if line.endswith(".json")}
        names |= {line for line in done.out.splitlines() if line.endswith(".json")}
    assert len(names) == 7


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--solver", "lbgfs"], ["unknown solver 'lbgfs'", "did you mean 'lbfgs'"]),
        (["--solver", ","], ["no solvers were given"]),
        (["--solver", "sgd:mao"], ["unknown schedule 'mao'", "did you mean 'mao2022'"]),
        (["--solver", "knn:mao2022"], ["is for sgd or mlp; knn has none"]),
        (["--component", "nul"], ["unknown component 'nul'", "did you mean 'null'"]),
        (["--component", "null", "--layers", "stem"], ["feeds no linear head", "null components"]),
        (["--label-fraction", "0"], ["label_fraction is 0.0", "above 0 and at most 1"]),
        (["--label-fraction", "2"], ["label_fraction is 2.0"]),
        (["--label-fraction", "half"], ["--label-fraction = 'half'", "valid number"]),
        (["--l2", "0"], ["l2 is 0.0; expected above 0"]),
        (["--seeds", "0"], ["--seeds is 0; expected at least 1"]),
        (["--pooling", "mean"], ["unknown pooling 'mean'"]),
        (["--pooling", "none"], ["was harvested with pooling avg", "probe it with avg"]),
        (["--solver", "knn", "--k", "201"], ["k is 201; expected 1 to 200"]),
        (["--split", "test[:100]"], ["share 100 examples"]),
    ],
)
def test_mistakes_in_a_probe_are_one_line(
    inside: Path,
    run_repsim,  # type: ignore[no-untyped-def]
    arguments: list[str],
    parts: list[str],
) -> None:
    before = sorted(inside.rglob("*"))
    done = run_repsim("probe", "supervised", *SPLITS, *arguments)
    one_line(done, done.status, *parts)
    assert done.status in (1, 2)
    assert sorted(inside.rglob("*")) == before


@pytest.mark.parametrize("as_json", [False, True])
def test_info_describes_runs_stores_and_results(inside: Path, run_repsim, as_json: bool) -> None:  # type: ignore[no-untyped-def]
    extra = ["--json" if as_json else "--full"]
    store = next((inside / "runs" / "simclr" / "activations").glob("*.h5"))
    for target, word in (("simclr", "temperature"), (store, "bg1.b0.odd")):
        done = run_repsim("info", target, *extra)
        assert done.status == 0, done.err
        assert word in done.out
        if as_json:
            json.loads(done.out)


def test_info_shows_the_layers_of_the_networks_of_a_run(inside: Path, run_repsim) -> None:  # type: ignore[no-untyped-def]
    shown = run_repsim("info", "mgan", "--networks").out.splitlines()
    row = next(line for line in shown if "project.*.0" in line)
    assert row.split()[1:3] == ["10", "TransposedConv"]
    assert any(line.startswith("classifier: ") for line in shown)
    found = json.loads(run_repsim("info", "mgan", "--networks", "--json").out)["networks"]
    assert list(found) == ["generator", "discriminator", "classifier"]
    assert [layer["outputs"] for layer in found["generator"]] == [16, 8, 4, 1]
    assert "networks" not in json.loads(run_repsim("info", "mgan", "--json").out)


@pytest.mark.parametrize(
    ("arguments", "status", "parts"),
    [
        (["info", "simclr", "--networks", "--verify"], 2, ["--networks is for runs"]),
        (["info", "runs/simclr/config.json", "--networks"], 2, ["--networks is for runs"]),
        (["cka", "--a", "simcrl"], 2, ["no run 'simcrl'", "did you mean 'simclr'"]),
        (["cka"], 2, ["name the networks that are compared"]),
        (["cka", "--a", "simclr", "--kernal", "rbf"], 2, ["--kernal", "--kernel"]),
        (["cka", "--a", "simclr"], 1, ["no activations of digits test", "repsim harvest simclr"]),
        (["cka", "--a", "nothing.h5"], 1, ["there is no activation store nothing.h5"]),
        (["cka", "--a", "mgan", "--split", "test[:100]"], 2, ["say mgan:discriminator or"]),
        (["cka", "--a", "mgan:critic"], 2, ["no extractor 'critic'"]),
        (
            ["cka", "--a", "simclr", "--split", "test[:100]", "--layers", "bg7.*"],
            2,
            ["simclr has no layer 'bg7.*'"],
        ),
        (
            ["cka", "--a", "simclr", "--split", "test[:100]", "--kernel", "rbx"],
            2,
            ["unknown kernel 'rbx'"],
        ),
        (["cka", "--a", "simclr", "--split", "test["], 2, ["split 'test['"]),
        (["cka", "--a", "simclr", "--permutations", "-1"], 2, ["--permutations"]),
        (["train", "simcrl"], 2, ["no method 'simcrl'", "did you mean 'simclr'"]),
        (["train", "simclr", "--depth", "19"], 2, ["--depth", "'18'"]),
        (["train", "simclr", "--temperature", "-1", "--name", "x"], 2, ["temperature = -1"]),
        (["train", "simclr", "--data", "mnits", "--name", "x"], 2, ["mnits", "mnist"]),
        (
            ["train", "simclr", "--config", "no.toml", "--name", "x"],
            2,
            ["no configuration no.toml"],
        ),
        (["train", "supervised"], 2, ["exists and is finished", "--overwrite"]),
        (["train", "simclr", "--name", "../x"], 2, ["cannot be called '../x'"]),
        (["train", "simclr", "--name", "a:b"], 2, ["cannot be called 'a:b'"]),
        (["train", "simclr", "--name", ""], 2, ["cannot be called ''"]),
        (["cka", "--a", "simclr", "--split", "test[:100]", "-o", ""], 2, ["names no file"]),
        (
            ["cka", "--a", "simclr", "--split", "test[:100]", "--device", "mps"],
            2,
            ["no mps device"],
        ),
        (["info", "runs/simclr/checkpoint.pt"], 2, ["no store (.h5) or result (.json)"]),
        (["train", "supervised", "--resume", "--overwrite"], 2, ["pass one of them"]),
        (
            ["harvest", "simclr", "--split", "test[:100]", "--dtype", "float16"],
            1,
            ["is of another harvest: dtype differ", "--overwrite"],
        ),
        (["harvest", "simclr", "--split", "val"], 2, ["no split 'val'"]),
        (["harvest", "simclr", "--batch-size", "0"], 2, ["--batch-size"]),
        (["harvest", "simclr", "mgan", "-o", "x.h5"], 2, ["--output names one file"]),
        (["probe", "simclr"], 1, ["no activations of digits train", "--pooling avg"]),
        (["figure", "nothing.json"], 1, ["there is no result nothing.json"]),
        (["info", "nobody"], 2, ["no run 'nobody'"]),
        (["prob", "simclr"], 2, ["no command 'prob'", "did you mean 'probe'"]),
        (["cka", "--a", "simclr", "--data", "mnist"], 1, ["no activations of mnist test"]),
    ],
)
def test_a_mistake_is_one_line(
    inside: Path, run_repsim, arguments: list[str], status: int, parts: list[str]
) -> None:  # type: ignore[no-untyped-def]
    before = sorted(path for path in inside.rglob("*"))
    one_line(run_repsim(*arguments), status, *parts)
    assert sorted(path for path in inside.rglob("*")) == before


def test_missing_data_names_the_file_the_folder_and_the_remedy(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    failed = run_repsim(
        *("train", "supervised", "--data", "mnist", "--data-dir", tmp_path, "--name", "m")
    )
    one_line(failed, 1, "train-images", str(tmp_path), "repsim data fetch mnist")


def test_damaged_files_are_one_line(inside: Path, run_repsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = next((inside / "runs" / "simclr" / "activations").glob("digits-test*.h5"))
    cut = tmp_path / "cut.h5"
    cut.write_bytes(store.read_bytes()[:100_000])
    one_line(run_repsim("cka", "--a", cut, "-o", tmp_path / "r.json"), 1, "cut short")
    (tmp_path / "r.json").write_text('{"format": "repsim-result", "kind"')
    one_line(run_repsim("figure", tmp_path / "r.json"), 1, "cut short")
    other = tmp_path / "other.h5"
    other.write_bytes(store.read_bytes())
    with h5py.File(other, "r+") as file:
        file["example_ids"][3] = b"digits/test/999"
    failed = run_repsim("cka", "--a", store, "--b", other, "-o", tmp_path / "s.json")
    one_line(failed, 1, "differ in 1 of 100 example ids", "digits/test/999")


def test_nan_in_one_layer_leaves_the_others(inside: Path, run_repsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = next((inside / "runs" / "simclr" / "activations").glob("digits-test*.h5"))
    broken = tmp_path / "broken.h5"
    broken.write_bytes(store.read_bytes())
    with h5py.File(broken, "r+") as file:
        file["layers/stem"][0, 0, 0, 0] = np.nan
    done = run_repsim("cka", "--a", broken, "--layers", "stem,pooled", "-o", tmp_path / "r.json")
    assert done.status == 0
    assert "note: simclr:stem: it holds NaN or infinity" in done.err
    values = repsim.SimilarityMap.load(tmp_path / "r.json").unbiased
    assert np.isnan(values[0]).all()
    assert values[1, 1] == pytest.approx(1)


def test_activations_of_an_earlier_checkpoint_are_refused(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    import shutil

    shutil.copytree(inside / "runs" / "simclr", tmp_path / "simclr")

    checkpoint = tmp_path / "simclr" / "checkpoint.pt"
    state = torch.load(checkpoint, weights_only=True)
    state["epoch"] = 99
    torch.save(state, checkpoint)
    failed = run_repsim(
        *("cka", "--a", "simclr", "--runs", tmp_path, "--split", "test[:100]"),
        *("-o", tmp_path / "r.json"),
    )
    one_line(failed, 1, "another checkpoint", "--overwrite")


def test_settings_come_from_toml_and_options_go_before_them(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "s.toml").write_text("width = 8\ndepth = 10\nseed = 5\n")
    done = run_repsim(
        *("train", "simclr", "--config", tmp_path / "s.toml", "--width", "4"),
        *("--epochs", "0", "--runs", tmp_path),
    )
    assert done.status == 0, done.err
    config = json.loads((tmp_path / "simclr" / "config.json").read_text())["config"]
    assert (config["width"], config["depth"], config["seed"]) == (4, 10, 5)


def test_our_own_mistakes_keep_their_traceback(run_repsim, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    import repsim.cli.names as names

    def bug(*arguments: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(names, "find_run", bug)
    monkeypatch.setattr(sys, "argv", ["repsim", "info", "x"])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.slow
def test_the_fast_demo(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "repsim", "demo", "--fast", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["supervised_accuracy"] > 0.85
    assert found["simclr_best_probe"] > 0.85
    for path in found["figures"]:
        least = 100 if path.endswith(".txt") else 5_000  # a caption, a picture
        assert (tmp_path / path).stat().st_size > least

    # What exists is not made again.
    runs = tmp_path / "demo-fast" / "runs"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert len(before) > 20
    for store in demo.harvest_all(demo.train_all(demo.demo_runs(fast=True), runs)).values():
        store.close()
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


def test_runs_that_nothing_tells_apart_are_refused(
    inside: Path, run_repsim, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    import shutil

    shutil.copytree(inside / "runs" / "supervised", tmp_path / "other" / "supervised")
    twice = ("supervised", tmp_path / "other" / "supervised")
    for command in ("probe", "nullspace"):
        one_line(run_repsim(command, *twice), 2, "two of the networks are called 'supervised'")


def test_masks_are_told_on_the_command_line(inside: Path, run_repsim, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    harvest = ("harvest", "simclr", "--split", "test[:9]", "--layers", "stem", "-o")
    done = run_repsim(*harvest, tmp_path / "told.h5", "--masks", "stem=none")
    assert done.status == 0, done.err
    with repsim.open_store(tmp_path / "told.h5") as store:
        assert store.provenance()["masks"] == "stem=none"
    failed = run_repsim(*harvest, tmp_path / "b.h5", "--masks", "stem=own")
    one_line(failed, 2, "mask 'own': nothing says what marks padding; pass own:tokens")
