"""Result files of version 0.1, a small one of each kind, and what is needed to read them."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot as plt

from repsim import figures
from repsim.errors import StoreError, UsageError
from repsim.results import FigureData, NullSpaceReport, ProbeCurve, Result, SimilarityMap, Table

FILES = Path(__file__).parent / "results"
KINDS = {
    "similarity-map": SimilarityMap,
    "probe-curve": ProbeCurve,
    "null-space-report": NullSpaceReport,
    "figure-data": FigureData,
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_of_each_kind_loads_tabulates_and_draws(name: str, tmp_path: Path) -> None:
    path = FILES / f"{name}.json"
    result = Result.load(path)
    assert type(result) is KINDS[name]
    assert result.rows()
    drawn = figures.draw(result)
    assert drawn
    for suffix, figure in drawn.items():
        figures.save(figure, tmp_path / f"figure-{suffix}")
    plt.close("all")
    again, sheet = result.save(tmp_path / "result.json")
    assert Result.load(again).to_dict() == result.to_dict()
    assert len(sheet.read_text().splitlines()) == 1 + len(result.rows())


@pytest.mark.parametrize("name", ["similarity-map", "probe-curve", "null-space-report"])
def test_they_are_written_as_they_were(name: str) -> None:
    """Earlier versions can read what this one writes: they pass over keys that they do not know."""
    content = json.loads((FILES / f"{name}.json").read_text())
    written = Result.load(FILES / f"{name}.json").to_dict()
    added = {"freedom": None, "networks": []} if name == "similarity-map" else {}
    assert {**written, "repsim": content["repsim"]} == {**content, **added}


def test_numbers_are_where_they_were() -> None:
    found = SimilarityMap.load(FILES / "similarity-map.json")
    assert found.unbiased.shape == (4, 3)
    assert math.isnan(found.unbiased[3, 2])
    curve = ProbeCurve.load(FILES / "probe-curve.json")
    first, second, *_, last = curve.entries
    assert (first.accuracy, first.train_accuracy) == (0.3611111111111111, 0.48)
    assert math.isnan(second.per_class[3])
    assert last.l2 is None
    assert last.history == (0.1, 0.1, 0.1)
    report = NullSpaceReport.load(FILES / "null-space-report.json")
    entry = report.find("energy", "row")
    assert entry is not None
    assert (entry.value, entry.control) == (0.011200007757882949, 0.011143014624487097)
    assert entry.layer is None
    layer = report.find("layer_energy_centred", "null", "all", "conv1.0")
    assert layer is not None
    assert (layer.rank, layer.dim) == (4, 16)
    assert report.claims[0].verdict == "supported"
    assert report.examples.label[:2] == (5, 1)
    assert math.isnan(report.alpha[1].alpha_fake_cv)
    assert len(report.examples.logit) == len(report.examples) == 6
    assert report.alpha[0].alpha_real == 1.001802663594181


@pytest.mark.parametrize("name", ["similarity-map", "probe-curve", "null-space-report"])
def test_results_load_where_only_torch_and_numpy_are(name: str) -> None:
    code = f"""
import sys
ABSENT = ("pydantic", "h5py", "PIL", "matplotlib", "pandas", "scipy", "sklearn", "click", "rich")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
from repsim.results import Result
print(len(Result.load({str(FILES / f"{name}.json")!r}).rows()))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 0


def test_fields_of_later_versions_are_passed_over(tmp_path: Path) -> None:
    content = json.loads((FILES / "null-space-report.json").read_text())
    content["colour"] = "blue"
    content["entries"][0]["colour"] = "red"
    (tmp_path / "later.json").write_text(json.dumps(content))
    later = Result.load(tmp_path / "later.json")
    assert later.rows() == Result.load(FILES / "null-space-report.json").rows()


# --- maps without networks and degrees of freedom


def altered(name: str, folder: Path, **changes: object) -> Any:
    """The map of a file with other entries in its provenance."""
    content = json.loads((FILES / f"{name}.json").read_text())
    content["provenance"] = {**content["provenance"], **changes}
    content["provenance"] = {k: v for k, v in content["provenance"].items() if v is not None}
    path = folder / "map.json"
    path.write_text(json.dumps(content))
    return SimilarityMap.load(path)


def test_an_average_of_earlier_releases_has_no_interval_and_says_so(tmp_path: Path) -> None:
    """Its errors took pairs of networks for independent."""
    found = SimilarityMap.load(FILES / "similarity-map-average.json")
    assert (found.maps, found.unbiased[0, 0], found.networks) == (3, 0.9, ())
    assert found.stderr is found.freedom is None
    with pytest.raises(UsageError, match="as if no two had a network in common; average again"):
        found.interval()
    # Maps of one network each share none: their errors were right.
    parts = [{"comparison": "classes"}] * 3
    single = altered("similarity-map-average", tmp_path, average_of=parts)
    assert single.stderr is not None
    assert (single.freedom == 2).all()
    again, _ = single.save(tmp_path / "again.json")
    assert SimilarityMap.load(again).to_dict() == single.to_dict()


def test_errors_over_batches_of_earlier_releases_are_students(tmp_path: Path) -> None:
    found = SimilarityMap.load(FILES / "similarity-map-minibatch.json")
    assert (found.freedom == 3).all()
    value, error = found.unbiased[0, 1], found.stderr[0, 1]
    reach = 3.182446305284263 * error / (1 - value**2)  # t of three degrees of freedom
    assert found.interval()[1][0, 1] == pytest.approx(math.tanh(math.atanh(value) + reach))
    # Without the images of a run, examples may have come in several batches.
    streamed = altered("similarity-map-minibatch", tmp_path, a=None, batch_size=None)
    assert streamed.stderr is None
    assert "examples that came in several batches" in streamed.notes["stderr"]


def test_networks_of_stores_are_known_from_earlier_files(tmp_path: Path) -> None:
    sides = {side: {"weights_sha256": side * 3} for side in "ab"}
    assert altered("similarity-map", tmp_path, **sides).networks == (("aaa", "bbb"),)
    classes = altered("similarity-map", tmp_path, **sides, comparison="classes")
    assert classes.networks == (("aaa",),)
    assert altered("similarity-map", tmp_path, a=sides["a"], b={}).networks == ()


# --- tables that were figures


def test_layers_identified_were_a_figure_and_are_a_table() -> None:
    assert isinstance(Result.load(FILES / "identification.json"), FigureData)
    table = Table.load(FILES / "identification.json")
    assert (table.name, table.names) == ("layer identification", ["measure", "layers identified"])
    assert table.columns[1].unit == "%"
    assert table.column("measure")[:2] == ["cka-biased", "cka"]
    assert table.column("layers identified")[:3] == [25, 25, 37.5]
    assert table.provenance["a"] == "simclr-0"


def test_shifts_were_a_figure_and_are_a_table() -> None:
    table = Table.load(FILES / "shift.json")
    assert table.names == ["shift", "along A⁺1", "at right angles to it"]
    assert table.column("shift") == [0.01, 0.1, 1, 10]
    assert table.column("at right angles to it")[-1] == pytest.approx(0.002055, rel=1e-3)


def test_other_figures_are_no_tables() -> None:
    with pytest.raises(StoreError, match="holds a figure-data; expected a table"):
        Table.load(FILES / "figure-data.json")
    with pytest.raises(StoreError, match="holds a probe-curve; expected a table"):
        Table.load(FILES / "probe-curve.json")


@pytest.mark.parametrize(
    "panels", [None, [None], [{}], [{"type": "lines"}], [{"type": "lines", "xlabel": "x", "x": 3}]]
)
def test_a_damaged_figure_is_no_table(panels: object, tmp_path: Path) -> None:
    content = {**json.loads((FILES / "shift.json").read_text()), "panels": panels}
    (tmp_path / "damaged.json").write_text(json.dumps(content))
    with pytest.raises(StoreError, match="not a whole figure-data") as caught:
        Table.load(tmp_path / "damaged.json")
    assert "\n" not in str(caught.value)
