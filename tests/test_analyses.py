"""Analyses as modules: found, light, named by their settings."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import repsim
from repsim.activations import analyses
from repsim.activations.analyses import analysis_names, analysis_summary, find_analysis
from repsim.activations.analyses.base import TextTable, split_slug
from repsim.cli.main import main
from repsim.errors import UsageError
from repsim.results import Table


def test_analyses_are_found_with_their_summaries() -> None:
    assert analysis_names() == [
        *("average_precision", "classes", "influence", "invariance", "inversion"),
        *("layer_identification", "layer_nullspace", "nullspace", "probe", "signal"),
        *("similarity", "transfer"),
    ]
    for name in analysis_names():
        assert analysis_summary(name).endswith("."), name
        assert find_analysis(name).name() == name


def test_an_unknown_analysis_is_named_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match="unknown analysis 'invarience'; did you mean 'invariance'"
    ):
        find_analysis("invarience")


def test_analyses_need_no_pydantic_h5py_or_pillow() -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('pydantic', 'h5py', 'PIL'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from repsim.activations.analyses import analysis_names, find_analysis\n"
        "for name in analysis_names():\n"
        "    assert find_analysis(name)().config.identity(), name\n"
        "    print(name)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.split() == analysis_names(), run.stderr


#: Settings that each change the name of a result.
CHANGED: dict[str, list[dict[str, Any]]] = {
    "similarity": [
        {},
        {"layers": "even"},
        {"layers": "bg4.*"},
        {"layers": "bg4"},
        {"layers": "1,5"},
        {"layers": "1.5"},
        {"layers": "1-5"},
        {"layers": "head@input"},
        {"layers": "head-input"},
        {"layers": "stem,head"},
        {"layers": "stem.head"},
        {"layers": "lstm:1"},
        {"layers": "lstm.1"},
        {"layers_a": "even"},
        {"layers_b": "even"},
        {"kernel": "rbf:0.4"},
        {"kernel": "rbf"},
        {"augmentation": "none"},
        {"augmentation": "own"},
        {"stderr": False},
        {"permutations": 9},
        {"batch_size": 64},
        {"seed": 1},
        {"estimator": "biased"},
    ],
    "invariance": [{}, {"augmentation": "own"}, {"batch_size": 8}, {"seed": 8}],
    "classes": [{}, {"augmentation": "own"}, {"augmentation": "none"}, {"permutations": 8}],
    "influence": [
        {"layer": "head"},
        {"layer": "stem"},
        {"layer": "head", "layer_b": "stem"},
        {"layer": "a.b"},
        {"layer": "a,b"},
    ],
    "probe": [
        {},
        {"solver": ("knn",)},
        {"solver": ("knn", "ridge")},
        {"component": ("row",)},
        {"label_fraction": (0.5,)},
        {"label_fraction": (1.0, 0.5)},
        {"seeds": 2},
        {"seed": 1},
        {"random_labels": True},
        {"l2": 0.01},
        {"l2": 0.1},
        {"k": 5},
        {"hidden": 5},
        {"dropout": 0.5},
        {"pooling": "none"},
        {"pooling": "grid:2"},
    ],
    "nullspace": [
        {},
        {"noise": ("none",)},
        {"control": False},
        {"layers": False},
        {"layer_images": 50},
        {"seed": 1},
    ],
    "average_precision": [
        {},
        {"layers": "conv3"},
        {"layers": "conv3,conv4"},
        {"l2": 0.01},
        {"epochs": 5},
        {"lr": 0.01},
        {"batch_size": 50},
        {"seed": 1},
    ],
    "layer_nullspace": [{}, {"images": 50}, {"layers": "stem"}],
    "layer_identification": [{}, {"measure": ("cca",)}, {"measure": ("cka", "cca")}],
}


def test_a_count_of_images_that_became_a_setting_changes_no_key_until_it_is_used() -> None:
    kind = find_analysis("nullspace").config_class
    assert "layer_images" not in kind().identity()
    assert kind(layer_images=50).identity() == {**kind().identity(), "layer_images": 50}


@pytest.mark.parametrize("name", CHANGED)
def test_settings_that_differ_give_names_that_differ(name: str) -> None:
    kind = find_analysis(name)
    stems = [
        kind(kind.config_class(**settings)).stem(names, data, dict.fromkeys(kind.parts, split))
        for settings in CHANGED[name]
        for names in (("a", "b"), ("b", "a"))
        for data in (None, "mnist")
        for split in ("test", "train", "test[:100]", "test[100:]")
    ]
    for one, other in combinations(stems, 2):
        assert one != other


@pytest.mark.parametrize("name", CHANGED)
def test_networks_that_differ_give_names_that_differ(name: str) -> None:
    analysis = find_analysis(name)()
    splits = {part: each.usual for part, each in analysis.parts.items()}
    networks = ["a", "a@3", "a-3", "a/3", "mgan:classifier", "mgan-classifier", "mgan@classifier"]
    stems = {analysis.stem((each, "b"), None, splits) for each in networks}
    assert len(stems) == len(networks)
    assert f"{analysis.prefix}-mgan-classifier-b" in stems
    assert f"{analysis.prefix}-a-3-b" in stems


def test_parts_that_differ_give_names_that_differ() -> None:
    for kind in map(find_analysis, ("probe", "nullspace")):
        usual = {part: each.usual for part, each in kind.parts.items()}
        given = [{**usual, part: "train[:100]"} for part in kind.parts]
        given += [usual, dict.fromkeys(usual, "train[:100]")]
        stems = {kind().stem(("a",), None, splits) for splits in given}
        assert len(stems) == len(given)
        assert f"{kind().prefix}-a" in stems


def test_names_of_results_say_what_they_always_said() -> None:
    similarity = find_analysis("similarity")
    even = similarity(similarity.config_class(layers="even", kernel="rbf:0.4"))
    assert even.stem(("simclr", "mgan:classifier"), None, {"compared": "test"}) == (
        "cka-simclr-mgan-classifier-even-rbf-0-4"
    )
    probe = find_analysis("probe")
    several = probe(probe.config_class(label_fraction=(1.0, 0.5), seeds=3, pooling="none"))
    assert several.stem(("mgan",), None, {"train": "train", "test": "test"}) == (
        "probe-mgan-labels-1-0-5-seeds-0-2-unpooled"
    )
    own = find_analysis("invariance").config_class(augmentation="own", layers="head")
    assert find_analysis("invariance")(own).stem(("a",), "mnist", {"compared": "test[:40]"}) == (
        "invariance-a-own-mnist-test-40-head"
    )
    assert split_slug("test[:100]") == "test-100"
    assert split_slug("test[100:200]") == "test-100-200"
    assert split_slug("test[100:]") != "test-100"


def test_a_measure_without_maps_names_its_function() -> None:
    config = find_analysis("similarity").config_class
    with pytest.raises(UsageError, match="call repsim.measures.procrustes_distance on two layers"):
        config(measure="procrustes")
    with pytest.raises(UsageError, match="unknown measure 'ckaa'; did you mean 'cka'"):
        config(measure="ckaa")
    with pytest.raises(UsageError, match="cka-biased is the measure cka with estimator biased"):
        config(measure="cka-biased")


def test_variants_of_cka_are_settings_of_it() -> None:
    kind = find_analysis("similarity")
    biased = {"measure": "cka", "estimator": "biased"}
    assert kind.spelled_out({"measure": "cka-biased"}) == biased
    assert kind.spelled_out({"measure": "cka-rbf"}) == {"measure": "cka", "kernel": "rbf"}
    narrow = {"measure": "cka-rbf", "kernel": "rbf:0.4"}
    assert kind.spelled_out(narrow) == {"measure": "cka", "kernel": "rbf:0.4"}
    assert kind.spelled_out({"measure": "rsa"}) == {"measure": "rsa"}
    with pytest.raises(UsageError, match="cka-rbf has kernel rbf, got linear; leave out one"):
        kind.spelled_out({"measure": "cka-rbf", "kernel": "linear"})


@pytest.mark.parametrize("name", ["similarity", "classes"])
def test_batches_give_no_permutations_and_no_biased_values(name: str) -> None:
    config = find_analysis(name).config_class
    with pytest.raises(UsageError, match="permutations need all examples at once"):
        config(augmentation="simclr", permutations=9)
    with pytest.raises(UsageError, match="no biased estimate from batches"):
        config(augmentation="none", estimator="biased")


def test_layers_of_names_go_into_the_settings() -> None:
    similarity, invariance = find_analysis("similarity")(), find_analysis("invariance")()
    assert similarity.with_layers(["even", None]).config.layers_a == "even"
    assert similarity.with_layers(["even", "bg4.*"]).config.layers_b == "bg4.*"
    assert invariance.with_layers(["head"]).config.layers == "head"
    assert invariance.with_layers([None]) is invariance
    assert find_analysis("influence")().with_layers(["head", "stem"]).config.layer_b == "stem"
    identification = find_analysis("layer_identification")()
    assert identification.with_layers([None, "even"]).config.layers == "even"
    with pytest.raises(UsageError, match="same layers of both"):
        identification.with_layers(["odd", "even"])
    with pytest.raises(UsageError, match="nullspace takes no layers"):
        find_analysis("nullspace")().with_layers(["head"])


# The example of CONTRIBUTING.md


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example as a module of its own, in no other way known to repsim."""
    page = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (code,) = [each for each in blocks if "ANALYSIS = " in each]
    assert len(code.splitlines()) <= 45
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / "effective_dimension.py").write_text(code)
    monkeypatch.setattr(analyses, "__path__", [*analyses.__path__, str(tmp_path / "added")])
    importlib.invalidate_caches()
    yield "effective_dimension"
    sys.modules.pop("repsim.activations.analyses.effective_dimension", None)
    vars(analyses).pop("effective_dimension", None)


def test_the_example_is_an_analysis_by_being_there(
    added: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["repsim", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    np.save("layer.npy", np.linalg.qr(np.random.default_rng(0).normal(size=(40, 8)))[0])
    assert "Measure the effective dimension of each layer." in run("--help")
    shown = run("effective-dimension", "--help")
    assert "repsim effective-dimension RUN" in shown
    assert "--examples INTEGER" in shown
    printed = run("effective-dimension", "layer.npy", "--examples", "40")
    stem = Path("results/effective-dimension-layer-examples-40")
    for ending in (".json", ".csv", "-table.png", "-table.pdf"):
        assert Path(f"{stem}{ending}").is_file()
        assert f"wrote {stem}{ending}" in printed
    found = Table.load(f"{stem}.json")
    (row,) = found.rows()
    # Eight orthonormal columns, of which centring takes a little.
    assert row["dimension"] == pytest.approx(8, rel=0.05)
    kind = find_analysis(added)
    settings = {"layers": None, "examples": 40}
    assert found.provenance["analysis"] == added
    assert (
        found.provenance["settings"]
        == settings
        == kind(kind.config_class(examples=40)).config.identity()
    )


def test_layers_of_one_name_are_the_same_layer_where_others_differ() -> None:
    rng = np.random.default_rng(0)
    a, b = ({name: rng.normal(size=(20, 3)) for name in names} for names in ("xyz", "yw"))
    table, *_ = find_analysis("similarity")().report(repsim.cka_map(a, b))
    assert isinstance(table, TextTable)
    assert [row[1] for row in table.rows] == [None, pytest.approx(repsim.cka(a["y"], b["y"])), None]
