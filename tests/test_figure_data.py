"""Figures of several panels: what survives a file, what is refused, what is drawn and written."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import legends_of
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from test_figures import faults, legend_texts

from repsim import figures
from repsim.confidence import mean_interval
from repsim.errors import MismatchError, StoreError, UsageError
from repsim.figures import Diagram, Heatmap, Line, Lines, PrintedTable
from repsim.figures.artists import COLORMAP
from repsim.figures.style import STYLES
from repsim.jackknife import over_networks
from repsim.results import Result, SimilarityMap
from repsim.results.figure import FigureData, Panel

BLOCKS = tuple(f"bg{g + 1}.b{b}" for g, count in enumerate((3, 4, 6, 3)) for b in range(count))


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def similarity(seed: int = 0, **changes: Any) -> SimilarityMap:
    apart = np.subtract.outer(np.arange(16), np.arange(16))
    values = np.exp(-(apart**2) / 20) + np.random.default_rng(seed).normal(0, 0.02, (16, 16))
    made: dict[str, Any] = {"biased": values / 2, "provenance": {"a": {"seed": seed}}}
    made |= {"n": 100, "name_a": f"simclr-{seed}", "name_b": f"supervised-{seed}"}
    made["networks"] = ((f"simclr-{seed}", f"supervised-{seed}"),)
    return SimilarityMap(
        **{"layers_a": BLOCKS, "layers_b": BLOCKS, "unbiased": values, "kernel": "linear"}
        | made
        | changes
    )


def heat(title: str = "blocks", **options: Any) -> Heatmap:
    maps = [similarity(seed) for seed in range(3)]
    return Heatmap.of(SimilarityMap.average(maps, "SimCLR", "supervised"), title, **options)


EPOCHS = list(range(0, 60, 3))


def series(length: int) -> list[Line]:
    rng = np.random.default_rng(length)
    seeds = 0.9 - 0.5 * np.exp(-np.arange(length) / 5) + rng.normal(0, 0.02, (3, length))
    mean, low, high = mean_interval(seeds)
    mean[2] = low[2] = high[2] = np.nan
    return [
        Line("SimCLR", mean, low=low, high=high),
        Line("supervised", mean - 0.2, low=low - 0.2, high=high - 0.2),
        Line("untrained", np.full(length, 0.3), look="control"),
        Line("Grigg et al.", [*[math.nan] * (length - 1), 0.95], look="published"),
        Line("chance", [0.1] * length, look="chance"),
    ]


def diagram() -> Diagram:
    def shared(label: str, note: str) -> dict[str, Any]:
        return {"label": label, "note": note, "shared": True}

    ends = [shared("D", "real or generated"), shared("C", "which generator")]
    return Diagram.of(
        "M-GAN",
        [
            [
                shared("z", "100"),
                {"label": name, "note": "4 × 4 × 512"} if name != "…" else {"label": name},
                shared("transposed convolutions", "256, 128, 64, of all generators"),
                shared("images", "32 × 32 × 3"),
                shared("convolutions", "64, 128, 256, 512, of D and C"),
                ends[place // 2],
            ]
            for place, name in enumerate(("G 1", "G 2", "…", "G 10"))
        ],
    )


PANELS: dict[str, Panel] = {
    "heatmap": heat("odd layers"),
    "epochs": Lines("during training", "epoch", "CKA", EPOCHS, series(20), ylim=(0, 1)),
    "layers": Lines("layer by layer", "layer", "CKA", BLOCKS, series(16)),
    "other": Lines("loss", "epoch", "loss", EPOCHS, [Line("loss of D", EPOCHS)]),
    "diagram": diagram(),
    "table": PrintedTable(
        "accuracy (%)",
        ["network", "linear", "nearest neighbour", "published"],
        [["SimCLR", 97.1234, 95.2, "97.3"], ["untrained", 92.6, math.nan, "–"]],
    ),
}


def figure_data(*names: str) -> FigureData:
    return FigureData(
        "Figure 2",
        "CKA of SimCLR and supervised networks; bands are 95 % intervals over three seeds.",
        [PANELS[name] for name in names or PANELS],
        {"data": "cifar10", "split": "test", "seeds": [0, 1, 2], "a": {"lr": 0.1}},
    )


def same(one: Any, two: Any) -> bool:
    """Equal JSON values, NaN being equal to itself."""
    return json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)


# --- files


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    data = figure_data()
    path, sheet = data.save(tmp_path / "figure-2.json")
    assert "NaN" not in path.read_text()
    for again in (Result.load(path), FigureData.load(path)):
        assert isinstance(again, FigureData)
        assert (again.name, again.caption) == (data.name, data.caption)
        assert again.provenance == data.provenance
        assert same(again.to_dict(), data.to_dict())
        assert same(again.rows(), data.rows())
    with pytest.raises(StoreError, match="holds a figure-data; expected a similarity-map"):
        SimilarityMap.load(path)
    with open(sheet, newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(data.rows())


def test_the_table_has_a_line_for_every_number() -> None:
    rows = figure_data().rows()
    columns = ["panel", "title", "series", "layer_a", "layer_b", "x", "value", "low", "high"]
    assert all(list(row) == columns for row in rows)
    of = {letter: [row for row in rows if row["panel"] == letter] for letter in "abcdef"}
    assert {letter: len(each) for letter, each in of.items()} == {
        **{"a": 256, "b": 100, "c": 80, "d": 20},
        **{"e": 0, "f": 6},
    }
    mean = SimilarityMap.average([similarity(seed) for seed in range(3)], "a", "b")
    cell = of["a"][18]
    assert (cell["layer_a"], cell["layer_b"]) == (BLOCKS[1], BLOCKS[2])
    assert cell["value"] == mean.unbiased[1, 2]
    assert (cell["low"], cell["high"]) == tuple(end[1, 2] for end in mean.interval())
    assert cell["series"] is cell["x"] is None
    point = of["b"][21]
    assert (point["series"], point["x"], point["title"]) == ("supervised", 3, "during training")
    assert point["low"] < point["value"] < point["high"]
    assert of["b"][99]["low"] is None
    assert of["c"][15]["x"] == "bg4.b2"
    assert [of["f"][0][key] for key in ("series", "x", "value")] == ["linear", "SimCLR", 97.1234]


def test_a_heatmap_without_errors_or_of_biased_values_has_no_intervals() -> None:
    assert Heatmap.of(similarity(), "one").low is None
    panel = heat(estimator="biased", dots=False)
    assert panel.high is None
    assert (panel.estimator, panel.dots) == ("biased", False)
    with pytest.raises(UsageError, match="no biased values"):
        Heatmap.of(similarity(biased=None), "one", estimator="biased")


def damaged(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    content = json.loads(json.dumps(figure_data().to_dict()))
    at = content
    for key in place[:-1]:
        at = at[key]
    if value is KeyError:
        del at[place[-1]]
    else:
        at[place[-1]] = value
    return content


_DAMAGE: dict[tuple[Any, ...], list[Any]] = {
    ("name",): [KeyError, None, 3],
    ("caption",): [KeyError, []],
    ("provenance",): [KeyError, []],
    ("panels",): [KeyError, None, [], {}, [None], ["heatmap"], [[]], [{}] * 27],
    ("panels", 0, "type"): [KeyError, None, "pie", [], {}],
    ("panels", 0, "title"): [KeyError, None, 3],
    ("panels", 0, "layers_a"): [KeyError, None, [], ["x"], "bg1", [1] * 16],
    ("panels", 0, "values"): [KeyError, None, 3, [], [[1]], [None] * 16, [["x"] * 16] * 16],
    ("panels", 0, "values", 0, 0): ["x", [], True, 10**400, math.inf],
    ("panels", 0, "low"): [KeyError, 3, [[0]], None],
    ("panels", 0, "dots"): [None, 1],
    ("panels", 0, "estimator"): ["best"],
    ("panels", 1, "x"): [KeyError, None, [], [1], [None] * 20, ["a", *range(19)]],
    ("panels", 1, "ylim"): [3, [1], [1, 0], [None, 1]],
    ("panels", 1, "series"): [KeyError, None, [], [None], {}, [{}]],
    ("panels", 1, "series", 0, "values"): [KeyError, None, [1], ["x"] * 20, 3],
    ("panels", 1, "series", 0, "low"): [KeyError, None, [1]],
    ("panels", 1, "series", 0, "look"): [None, "bar", {}],
    ("panels", 1, "series", 0, "group"): [3, "other"],
    ("panels", 1, "series", 0, "label"): [None, "supervised"],
    ("panels", 4, "boxes"): [KeyError, None, [], [None], [{}]],
    ("panels", 4, "boxes", 0, "row"): [None, -1, 1e9, "x"],
    ("panels", 4, "boxes", 0, "span"): [0, None],
    ("panels", 4, "boxes", 0, "id"): [None, "1.0", "other"],
    ("panels", 4, "arrows"): [KeyError, None, {}, [["0.0"]], [["0.0", "x"]], [[{}, []]]],
    ("panels", 5, "columns"): [KeyError, [], None, ["one"], [1, 2, 3, 4]],
    ("panels", 5, "rows"): [KeyError, None, [], [[1]], [[[], {}, 1, 2]]],
}


def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "figure.json"
    for place, values in _DAMAGE.items():
        for value in values:
            path.write_text(json.dumps(damaged(place, value)))
            with pytest.raises(StoreError, match="not a whole figure-data") as caught:
                Result.load(path)
            assert "\n" not in str(caught.value), (place, value)
            assert len(str(caught.value)) < 300 + len(str(path)), (place, value)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path, _ = figure_data("other", "table").save(tmp_path / "figure.json")
    whole = path.read_text()
    for length in range(0, len(whole.rstrip()), 101):
        path.write_text(whole[:length])
        with pytest.raises(StoreError):
            Result.load(path)


def test_panels_that_cannot_be() -> None:
    cases: list[tuple[Any, str]] = [
        (lambda: Line("a", ["x"]), "line 'a': values holds 'x'; expected a list of numbers"),
        (lambda: Line("a", [1.0], low=[0.0]), "expected both ends of its intervals, or none"),
        (lambda: Line("a", [math.inf]), "values holds inf; expected a list of numbers"),
        (
            lambda: Line("a", [1.0], look="published!"),  # type: ignore[arg-type]
            "line 'a': look is 'published!'; did you mean 'published'",
        ),
        (
            lambda: Lines("t", "x", "y", [1, 2], [Line("a", [1.0])]),
            "line 'a' is not whole; expected 2 numbers as values, one for each x",
        ),
        (
            lambda: Lines("t", "x", "y", [1], [Line("a", [1.0])] * 2),
            "panel 't' is not whole; expected a label of its own for every series",
        ),
        (
            lambda: Lines("t", "x", "y", [1], [Line("a", [1.0])], ylim=(1, 0)),
            "expected two rising numbers as limits of an axis",
        ),
        (lambda: Diagram.of("t", []), "expected some boxes"),
        (lambda: Diagram.of("t", [[{"name": "z"}]]), "is no box; expected a dictionary"),
        (lambda: PrintedTable("t", ["a"], [["x", "y"]]), "expected rows of 1 texts or numbers"),
        (lambda: FigureData("f", "c", []), "expected a list of 1 to 26"),
        (lambda: FigureData("f", "c", [{"type": "lines"}]), "panel a is .*; expected a Panel"),  # type: ignore[list-item]
    ]
    for make, message in cases:
        with pytest.raises(UsageError, match=message):
            make()
    one = Lines("t", "x", "y", [1], [Line("a", [1.0])])
    two = Lines("t", "x", "y", [1], [Line("a", [1.0], look="control")])
    with pytest.raises(UsageError, match="'a' has two looks, groups or hues in one figure"):
        FigureData("f", "c", [one, two])


def test_shared_boxes_of_a_diagram_are_one_and_arrows_lead_down() -> None:
    panel = diagram()
    boxes = {box.id: (box.text.split("\n")[0], box.span) for box in panel.boxes}
    assert boxes["0.0"] == ("z", 4)
    assert [boxes[f"1.{k}"] for k in range(4)] == [
        *(("G 1", 1), ("G 2", 1)),
        *(("…", 1), ("G 10", 1)),
    ]
    assert (boxes["5.0"], boxes["5.2"]) == (("D", 2), ("C", 2))
    assert ("0.0", "1.1") in panel.arrows
    assert not [arrow for arrow in panel.arrows if "1.2" in arrow]
    assert list(panel.arrows).count(("2.0", "3.0")) == 1
    assert {arrow for arrow in panel.arrows if arrow[0] == "4.0"} == {
        ("4.0", "5.0"),
        ("4.0", "5.2"),
    }


# --- drawing


MIXES = {
    "paper": ("heatmap", "heatmap", "heatmap", "epochs", "layers", "epochs"),
    "two and one": ("heatmap", "heatmap", "epochs"),
    "networks": ("diagram", "epochs", "other"),
    "layers": ("layers",),
    "table": ("table", "diagram"),
}


@pytest.mark.parametrize("style", list(STYLES))
@pytest.mark.parametrize("mix", MIXES)
def test_panels_fit_in_every_style(mix: str, style: str) -> None:
    figure = figures.panels(figure_data(*MIXES[mix]), style=style)
    assert figure.get_figwidth() == STYLES[style]["figure.figsize"][0]
    assert faults(figure) == []
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert len(titled) == len(MIXES[mix])
    texts = [text for ax in titled for text in ax.texts if text.get_text()]
    for text in texts:  # of boxes and cells, on the figure
        box = text.get_window_extent()
        assert (box.min > -1).all()
        assert (box.max < figure.bbox.max + 1).all()
    assert all(ax.get_window_extent().height > 0.08 * figure.bbox.height for ax in titled)


def test_heatmaps_share_a_bar_and_lines_a_legend() -> None:
    figure = figures.panels(figure_data("heatmap", "heatmap", "epochs", "layers"))
    *drawn, bar = figure.axes
    assert [ax.get_title()[:3] for ax in drawn] == ["(a)", "(b)", "(c)", "(d)"]
    assert bar.get_ylabel() == "Linear CKA (unbiased)"
    names = ["SimCLR", "supervised", "untrained", "Grigg et al.", "chance"]
    assert legend_texts(figure) == [*names, "most similar supervised layer"]
    assert all(ax.get_legend() is None for ax in drawn)
    apart = figures.panels(figure_data("epochs", "other"))
    assert legend_texts(apart) == []
    assert all(ax.get_legend() is not None for ax in apart.axes)


@pytest.mark.parametrize("style", list(STYLES))
def test_a_legend_stands_where_a_panel_is_missing(style: str) -> None:
    figure = figures.panels(figure_data(*["epochs"] * 5), style=style)
    *drawn, free = figure.axes
    assert len(drawn) == 5
    assert legend_texts(figure) == []
    assert [text.get_text() for text in free.get_legend().get_texts()][:2] == [
        "SimCLR",
        "supervised",
    ]
    areas = [ax.get_window_extent() for ax in drawn]
    assert np.ptp([area.height for area in areas]) < 0.02 * areas[0].height
    assert not any(free.get_legend().get_window_extent().overlaps(area) for area in areas)
    assert faults(figure) == []


def test_a_legend_too_wide_for_the_free_place_stands_below() -> None:
    def renamed(panel: Any) -> Panel:
        return replace(panel, series=[replace(e, label=3 * e.label) for e in panel.series])

    data = figure_data(*["epochs"] * 5)
    data = replace(data, panels=[renamed(panel) for panel in data.panels])
    figure = figures.panels(data, style="column")
    assert len(figure.axes) == 5
    assert "SimCLRSimCLRSimCLR" in legend_texts(figure)


def test_lines_have_bands_and_gaps() -> None:
    panel: Any = PANELS["epochs"]
    ax = figures.panels(figure_data("epochs")).axes[0]
    lines = {str(each.get_label()): each for each in ax.lines}
    for each in panel.series:
        drawn = np.asarray(lines[each.label].get_ydata(), float)
        assert np.array_equal(drawn, each.values, equal_nan=True)
    assert len(ax.collections) == 2
    assert all(len(band.get_paths()) == 2 for band in ax.collections)  # a gap between
    assert ax.get_ylim() == (0, 1)


def test_a_point_between_gaps_is_marked() -> None:
    values = np.where(np.arange(50) == 13, 0.5, np.nan)
    panel = Lines("t", "x", "y", range(50), [Line("a", values)])
    (drawn,) = figures.panels(FigureData("f", "c", [panel])).axes[0].lines
    assert drawn.get_markevery() == [13]


@pytest.mark.parametrize(("count", "marked"), [(1, 1), (17, 17), (40, 40), (41, 0), (300, 0)])
def test_a_line_has_a_marker_at_every_value_or_at_none(count: int, marked: int) -> None:
    """Markers at some of the values would look like the values that there are."""
    panel = Lines("t", "x", "y", range(count), [Line("a", [0.5] * count)])
    figure = figures.panels(FigureData("f", "c", [panel]))
    (drawn,) = figure.axes[0].lines
    assert len(drawn.get_markevery()) == marked  # type: ignore[arg-type]
    (entry,) = legends_of(figure)[0].legend_handles
    assert (str(entry.get_marker()) == "None") == (not marked)  # type: ignore[union-attr]


def test_lines_differ_without_colour() -> None:
    many = [Line(f"line {k}", [k, k]) for k in range(10)]
    groups = [Line(f"{g} {k}", [1, 2], group=g) for g in "abcde" for k in range(4)]
    rest = [
        *(Line(f"control {k}", [1, 2], look="control") for k in range(2)),
        *(Line(f"published {k}", [1, 2], look="published") for k in range(3)),
        Line("chance", [1, 1], look="chance"),
    ]
    for each in (many, groups):
        panel = Lines("t", "x", "y", [0, 1], [*each, *rest])
        ax = figures.panels(FigureData("f", "c", [panel])).axes[0]
        # What a dash is depends on the width of the line; it is kept as it was given.
        looks = {
            (str(one.get_marker()), str(one._unscaled_dash_pattern))  # type: ignore[attr-defined]
            for one in ax.lines
            if str(one.get_label()).partition(" ")[0] not in ("published",)
        }
        assert len(looks) == len(ax.lines) - 3
    colours = {str(one.get_label()): one.get_color() for one in ax.lines}
    assert len({colours[f"a {k}"] for k in range(4)}) == 1
    assert colours["a 0"] != colours["b 0"]
    assert len(set(to_rgb(colours["control 0"]))) == 1
    hollow = next(one for one in ax.lines if one.get_label() == "published 0")
    assert (hollow.get_linestyle(), hollow.get_markerfacecolor()) == ("None", "none")


def test_text_is_drawn_as_it_is() -> None:
    panel = PrintedTable("$\\frac", ["$a", "_b"], [["$x^$", "\\begin"]])
    figures.panels(FigureData("f", "c", [panel, panel])).draw_without_rendering()


#: Machado, Oliveira and Fernandes (2009), severity 1, of linear RGB.
DICHROMACY = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}


@pytest.mark.parametrize("vision", DICHROMACY)
def test_the_colour_map_rises_in_lightness(vision: str) -> None:
    """CIELAB L* under a white of D65, from sRGB."""
    rgb = plt.get_cmap(COLORMAP)(np.linspace(0, 1, 101))[:, :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(DICHROMACY[vision]).T, 0, 1)
    y = seen @ [0.2126, 0.7152, 0.0722]
    lightness = np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, y * (29 / 3) ** 3)
    assert (np.diff(lightness) > 0).all()
    assert lightness[-1] - lightness[0] > 90


# --- writing


def test_numbers_and_caption_lie_beside_the_figure(tmp_path: Path) -> None:
    data = figure_data("heatmap", "epochs")
    result, sheet = data.save(tmp_path / "figure-2.json")
    numbers = sheet.read_bytes()
    (figure,) = figures.draw(data, style="column").values()
    written = figures.save(figure, tmp_path / "figure-2", data=data)  # the same CSV may be there
    assert [path.suffix for path in written] == [".png", ".pdf", ".csv", ".txt"]
    assert sheet.read_bytes() == numbers
    caption, blank, *facts = written[3].read_text().splitlines()
    assert (caption, blank) == (f"Figure 2. {data.caption}", "")
    assert facts[0].startswith("repsim: ")
    assert facts[1:] == ["data: cifar10", "split: test", "seeds: [0, 1, 2]", "a.lr: 0.1"]
    content = written[1].read_bytes()
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    again = Result.load(result)
    (figure,) = figures.draw(again, style="column").values()
    copies = figures.save(figure, tmp_path / "again", data=again)
    assert [path.read_bytes() for path in copies] == [path.read_bytes() for path in written]


def test_other_numbers_stay_unless_told_otherwise(tmp_path: Path) -> None:
    data = figure_data("table")
    for suffix in ("csv", "txt"):
        file = tmp_path / f"t.{suffix}"
        file.write_text("mine")
        with pytest.raises(UsageError, match=f"t.{suffix} exists already"):
            figures.save(figures.panels(data), tmp_path / "t", data=data)
        assert list(tmp_path.iterdir()) == [file]
        file.unlink()


def test_commands_know_a_figure(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from repsim.cli.main import cli

    path, _ = figure_data("table", "diagram").save(tmp_path / "fig.json")
    run = CliRunner().invoke(cli, ["figure", str(path), "--style", "column"])
    assert run.exit_code == 0, run.output
    files = {f"fig.{end}" for end in ("json", "csv", "png", "pdf", "txt")}
    assert {file.name for file in tmp_path.iterdir()} == files
    again = CliRunner().invoke(cli, ["figure", str(path)])
    assert (again.exit_code, "is there already" in again.output) == (0, True)
    other = CliRunner().invoke(cli, ["figure", str(path), "--style", "slide"])
    assert other.exit_code != 0  # exists already, drawn otherwise
    told = CliRunner().invoke(cli, ["info", str(path), "--full"])
    assert told.exit_code == 0
    for word in ("Figure 2", "table", "accuracy (%)", "M-GAN", "cifar10"):
        assert word in told.output


# --- over seeds


def test_the_average_of_maps_is_that_of_their_values() -> None:
    maps = [similarity(seed) for seed in range(4)]
    mean = SimilarityMap.average(maps, "SimCLR", "supervised")
    stacked = np.stack([each.unbiased for each in maps])
    assert mean.unbiased == pytest.approx(stacked.mean(0))
    assert mean.stderr == pytest.approx(stacked.std(0, ddof=1) / 2)
    assert mean.biased == pytest.approx(stacked.mean(0) / 2)
    assert (mean.name_a, mean.name_b, mean.n, mean.maps) == ("SimCLR", "supervised", 100, 4)
    assert mean.provenance == {"average_of": [{"a": {"seed": seed}} for seed in range(4)]}
    assert mean.networks == tuple((f"simclr-{seed}", f"supervised-{seed}") for seed in range(4))
    assert mean.p_value is None
    # Few seeds: Student's t, 3.182 with three degrees of freedom.
    low, high = mean.interval()
    v, s = mean.unbiased[0, 8], mean.stderr[0, 8]  # type: ignore[index]
    assert high[0, 8] == pytest.approx(math.tanh(math.atanh(v) + 3.182446 * s / (1 - v * v)))
    assert low[0, 8] < v


def test_an_average_survives_a_file(tmp_path: Path) -> None:
    mean = SimilarityMap.average([similarity(0), similarity(1)], "a", "b")
    again = Result.load(mean.save(tmp_path / "mean.json")[0])
    assert same(again.to_dict(), mean.to_dict())
    assert again.maps == 2


def test_an_average_over_pairs_has_the_jackknife_over_networks() -> None:
    """Digests tell if they share networks, not places or names of the maps."""
    maps = [similarity(seed) for seed in range(3)]
    pairs = [("x", "y"), ("z", "x"), ("y", "z")]
    shared = [replace(each, networks=(pair,)) for each, pair in zip(maps, pairs, strict=True)]
    mean = SimilarityMap.average(shared, "SimCLR", "other SimCLR")
    spread = over_networks(np.stack([each.unbiased for each in maps]), pairs)
    assert mean.stderr == pytest.approx(spread.stderr)
    assert mean.stderr == pytest.approx(SimilarityMap.average(maps, "a", "b").stderr * 2)  # type: ignore[operator]
    assert (mean.freedom == 2).all()  # type: ignore[union-attr]
    named = SimilarityMap.average(maps, "SimCLR", "other SimCLR", networks=pairs)
    assert same(named.to_dict(), mean.to_dict())


def test_an_average_of_maps_of_unknown_networks_has_no_error_and_says_so(tmp_path: Path) -> None:
    maps = [similarity(0), similarity(1, networks=())]
    cases = (
        (maps, "which networks the maps are of is not recorded; say so by networks="),
        ([similarity(0, networks=(("x", "y"),))] * 2, "nothing is left of these maps without one"),
    )
    for given, reason in cases:
        mean = SimilarityMap.average(given, "a", "b")
        assert mean.stderr is mean.freedom is None
        assert mean.notes["stderr"].startswith(reason)
        with pytest.raises(UsageError, match=f"no standard errors; {reason}"):
            mean.interval()
        assert Heatmap.of(mean, "mean").low is None
    with pytest.raises(UsageError, match="1 entries of networks came with 2 values"):
        SimilarityMap.average(maps, "a", "b", networks=[("x", "y")])


def test_averages_of_one_of_none_and_of_unlike_maps() -> None:
    alone = SimilarityMap.average([similarity(biased=None)], "a", "b")
    assert alone.stderr is None
    assert alone.biased is None
    assert alone.maps == 1
    holed = similarity(1)
    holed.unbiased[0, 0] = np.nan
    mean = SimilarityMap.average([similarity(0, biased=None), holed], "a", "b")
    assert np.argwhere(np.isnan(mean.unbiased)).tolist() == [[0, 0]]
    assert mean.biased is None
    with pytest.raises(UsageError, match="no map arrived"):
        SimilarityMap.average([], "a", "b")
    pooled = {"a": {"pooling": "avg"}}
    for changes, what in (
        ({"n": 99}, "in n: 100 and 99"),
        ({"kernel": "rbf:0.5"}, "in kernel"),
        ({"layers_a": BLOCKS[::-1]}, "in layers_a"),
        ({"provenance": pooled}, "in pooled"),
    ):
        with pytest.raises(MismatchError, match=f"maps to average differ {what}"):
            SimilarityMap.average([similarity(), similarity(**changes)], "a", "b")
    both = SimilarityMap.average([similarity(provenance=pooled)] * 2, "a", "b")
    assert both.pooled == ", averaged maps"


def test_the_interval_of_a_mean_is_students() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert float(mean) == 2
    assert float(high - mean) == pytest.approx(4.302653 / math.sqrt(3))  # tables of t, 2 degrees
    assert float(mean - low) == pytest.approx(float(high - mean))
    mean, low, high = mean_interval(np.arange(12.0).reshape(3, 4), level=0.9)
    assert mean.tolist() == [4, 5, 6, 7]
    assert (high - mean).tolist() == pytest.approx([2.919986 * 4 / math.sqrt(3)] * 4)
    mean, low, high = mean_interval([[1.0, 2.0]])
    assert mean.tolist() == [1, 2]
    assert np.isnan([low, high]).all()
    holed = mean_interval([[1.0, math.nan], [2.0, 3.0]])
    assert [np.isnan(part).tolist() for part in holed] == [[False, True]] * 3
    with pytest.raises(UsageError, match="there are no values to average"):
        mean_interval([])
    for level in (0, 1, math.nan, 95):
        with pytest.raises(UsageError, match="level is .*; expected between 0 and 1"):
            mean_interval([1.0, 2.0], level=level)
