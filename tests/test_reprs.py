"""Objects as a prompt and a notebook show them: short, and with a table and a small figure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from matplotlib import pyplot as plt
from sample_results import curve, report, similarity

import repsim
from repsim import html
from repsim.activations import plan_harvest
from repsim.figures.panels.heatmap import Heatmap
from repsim.results import FigureData, Result, Table
from repsim.results.base import KINDS
from repsim.results.records import Record

#: A result may hold as much as it likes.
LONG = {"settings": {f"key {at}": "x" * 1000 for at in range(200)}}


def large(rng: np.random.Generator) -> dict[str, Result]:
    """A result of each kind, with long names, many layers and all of its provenance."""
    layers = tuple(f"encoder.layer.{at}" for at in range(60))
    values = rng.uniform(size=(60, 60))
    tables = {"unbiased": values, "biased": values, "stderr": None}
    tables |= {"p_value": None, "p_value_max": None, "freedom": None}
    names = {"name_a": "a" * 300, "name_b": "<b>" * 100}
    made = similarity(rng, layers_a=layers, layers_b=layers, **tables, **names)
    heatmap = Heatmap.of(made, "t" * 500)
    found: list[Result] = [
        replace(made, provenance=LONG),
        replace(curve("n" * 300, list(rng.uniform(size=200))), provenance=LONG),
        report(name="r" * 300, provenance=LONG),
        Table.of("t" * 300, [{"layer": layer, "value": 1.0} for layer in layers], provenance=LONG),
        FigureData("Figure 1", "c" * 5000, [heatmap] * 5, LONG),
    ]
    return {each.kind: each for each in found}


def test_every_kind_of_result_is_a_line_of_words(rng: np.random.Generator) -> None:
    found = large(rng)
    assert set(found) == set(KINDS) - {"unadorned"}
    for result in found.values():
        text = repr(result)
        assert text.startswith(f"{type(result).__name__}(")
        assert len(text) < 300
        assert "\n" not in text


def test_a_line_says_what_a_result_is_about(rng: np.random.Generator) -> None:
    found = repr(similarity(rng, name_a="simclr", name_b="supervised"))
    assert re.search(r"simclr against supervised: 3 x 2 layers, n = \d+, rbf:0.2, -?\d", found)
    assert "best net: 0.900 at " in repr(curve("net", [0.5, 0.9, 0.7]))


def test_a_kind_that_says_nothing_of_itself_has_a_short_line() -> None:
    @dataclass(frozen=True, eq=False)
    class Unadorned(Result):
        kind: ClassVar[str] = "unadorned"
        values: tuple[float, ...] = tuple(range(10_000))

        def rows(self) -> list[dict[str, Any]]:
            return [{"value": value} for value in self.values]

    assert repr(Unadorned()) == "Unadorned(10,000 rows)"
    page = Unadorned()._repr_html_()
    assert "<img" not in page
    assert "and 9,990 more rows" in page
    KINDS.pop("unadorned")


def test_records_and_probes_are_short(rng: np.random.Generator) -> None:
    @dataclass(frozen=True)
    class Entry(Record):
        name: str
        history: tuple[float, ...]
        values: np.ndarray
        pair: tuple[int, int] = (1, 2)

    entry = Entry("n" * 500, (0.5,) * 1000, rng.normal(size=(50, 2)))
    assert repr(entry).endswith("..., history=<1,000 items>, values=<50 x 2 float64>, pair=(1, 2))")
    assert len(repr(entry)) < 200
    x, y = torch.randn(80, 200), torch.arange(80) % 4
    probe = repsim.probe(x[:60], y[:60], test_features=x[60:], test_labels=y[60:])
    assert len(repr(probe)) < 800
    assert "predictions=<20 int64>" in repr(probe)


def test_a_plan_is_short() -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(12)))
    plan = plan_harvest(network, [torch.randn(10, 8)], examples=10)
    assert repr(plan).startswith("HarvestPlan(layers=<12 keys>, n=10, rows_each=1, ")


def test_a_notebook_shows_a_table_and_a_figure(rng: np.random.Generator) -> None:
    before = plt.get_fignums()  # of other tests
    for kind, result in large(rng).items():
        page = result._repr_html_()
        assert "<table>" in page
        assert ("data:image/png;base64," in page) == (kind != "table")
        assert len(page) < 400_000
        assert "<b><b>" not in page  # names are text
        assert page.count("<tr>") <= 12
    assert plt.get_fignums() == before  # a notebook shows an open figure again below the cell


def test_a_map_shows_what_each_layer_is_most_like(rng: np.random.Generator) -> None:
    found = similarity(rng, name_a="one", name_b="two")
    page = found._repr_html_()
    assert "most similar in two" in page
    assert f"{np.nanmax(found.unbiased[0]):.4g}" in page


def test_cells_are_text_and_missing_numbers_a_dash() -> None:
    page = html.table([{"<n>": "a<b", "v": float("nan")}, {"<n>": "c", "v": 0.123456}])
    assert "&lt;n&gt;" in page
    assert "a&lt;b" in page
    assert ">-</td>" in page
    assert "0.1235" in page
    assert html.table([]) == ""


def test_stores_show_their_layers(tmp_path: Path) -> None:
    layers = {f"layer.{at}": np.ones((6, at + 1)) for at in range(14)}
    from repsim.activations.store.exchange import import_activations

    with import_activations(layers, tmp_path / "a.h5") as store:
        page = store._repr_html_()
        assert "layer.9" in page
        assert "and 4 more rows" in page
        assert len(repr(store)) < 300
    assert "<table>" not in store._repr_html_()  # closed
    ids = [[f"{part}/{at}" for at in range(6)] for part in "ab"]
    for part, names in zip("ab", ids, strict=True):
        import_activations(layers, tmp_path / f"part-{part}.h5", ids=names).close()
    with repsim.open_store(sorted(tmp_path.glob("part-*.h5"))) as joined:
        assert "12 x 1" in joined._repr_html_()
    assert "<table>" not in joined._repr_html_()
