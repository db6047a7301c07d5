"""Types of panels: their registry, what survives a file, what is refused, what is drawn."""

from __future__ import annotations

import ast
import base64
import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.container import BarContainer
from PIL import Image
from test_figures import dashes, faults

from repsim import figures
from repsim.errors import StoreError, UsageError
from repsim.figures import (
    Bars,
    Diagram,
    Dots,
    FigureData,
    Heatmap,
    Histogram,
    Images,
    Line,
    Lines,
    Mark,
    Matrix,
    Points,
    PrintedTable,
    Scatter,
    Series,
    Strips,
)
from repsim.figures.axes import power
from repsim.results import Result
from repsim.results.figure import COLUMNS, PANELS, Panel

ROOT = Path(__file__).parent.parent
KINDS = sorted(PANELS)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


class Draws:
    """Random panels of every type, with gaps where they may be."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def numbers(self, *shape: int, gaps: bool = True) -> Any:
        values = self.rng.normal(size=shape).round(3)
        if gaps:
            values[self.rng.random(shape) < 0.2] = np.nan
        return values.tolist()

    def count(self) -> int:
        return int(self.rng.integers(1, 6))

    def words(self, count: int) -> list[str]:
        return [f"{'αb.c, d:e-f'[: 3 + k % 8]} {k}" for k in range(count)]

    def series(self, kind: Any, count: int, **more: Any) -> Any:
        ends = self.numbers(2, count) if self.rng.random() < 0.5 else (None, None)
        label = f"{kind.__name__} {self.rng.integers(10**9)}"
        hue = int(self.rng.integers(12)) if self.rng.random() < 0.3 else None
        return kind(label, self.numbers(count), *ends, hue=hue, **more)

    def heatmap(self) -> Heatmap:
        a, b = self.count(), self.count()
        tables = (self.numbers(a, b), None, None)
        return Heatmap("h", self.words(a), self.words(b), "a", "b", *tables, kernel="rbf:0.5")

    def lines(self) -> Lines:
        n = self.count()
        own = {"x": self.numbers(n, gaps=False), "spread": np.abs(self.numbers(n)).tolist()}
        over_layers = self.rng.random() < 0.5
        series = [self.series(Line, n), self.series(Line, n, **({} if over_layers else own))]
        x = self.words(n) if over_layers else self.numbers(n, gaps=False)
        return Lines("l", "x", "y", x, series, log=bool(self.rng.integers(2)))

    def bars(self) -> Bars:
        n = self.count()
        series = [self.series(Series, n) for _ in range(2)]
        marks = [Mark("level", self.numbers(n), look="level")]
        marks.append(Mark("other", self.numbers(n), look="control", of=series[0].label))
        return Bars("b", "value", self.words(n), series, marks, numbers=1)

    def scatter(self) -> Scatter:
        n = self.count()
        group = self.series(Points, n, x=self.numbers(n), names=self.words(n), joined=True)
        return Scatter("s", "x", "y", [group], diagonal=True)

    def strips(self) -> Strips:
        n, kinds = 20, self.count()
        places = self.rng.integers(0, kinds, n).tolist()
        dots = [Dots(f"dots {k}", self.numbers(n), places=places) for k in range(2)]
        return Strips("s", "class", "y", self.words(kinds), dots, 0.5)

    def histogram(self) -> Histogram:
        values = {name: self.rng.normal(size=30) for name in ("one", "two")}
        return Histogram.of("h", "x", values, bins=7, ticks={"one": [0.5]})

    def matrix(self) -> Matrix:
        a, b = self.count(), self.count()
        remarks = [self.words(b)] * a
        return Matrix("m", self.words(a), self.words(b), self.numbers(a, b), remarks=remarks)

    def images(self) -> Images:
        a, b = self.count(), self.count()
        grid = self.rng.integers(0, 256, (a, b, 4, 6, 3), dtype=np.uint8)
        shown: list[list[Any]] = [list(row) for row in grid]
        if a * b > 1:
            shown[-1][-1] = None
        return Images.of("i", shown, rows=self.words(a), columns=self.words(b))

    def table(self) -> PrintedTable:
        n = self.count()
        rows = [[name, *self.numbers(2)] for name in self.words(n)]
        return PrintedTable("t", ["name", "one", "two"], rows)

    def diagram(self) -> Diagram:
        boxes = [{"label": word, "shared": True} for word in self.words(self.count())]
        return Diagram.of("d", [boxes, [*boxes, {"label": "…"}]])


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_has_random_panels(kind: str) -> None:
    assert type(getattr(Draws(0), kind)()) is PANELS[kind]


@pytest.mark.parametrize("seed", range(25))
def test_any_figure_survives_a_file_and_a_table(seed: int, tmp_path: Path) -> None:
    draws = Draws(seed)
    kinds = draws.rng.choice(KINDS, size=int(draws.rng.integers(1, 7)))
    data = FigureData("f", "c", [getattr(draws, kind)() for kind in kinds], {"seed": seed})
    path, sheet = data.save(tmp_path / "f.json")
    again = Result.load(path)
    assert json.dumps(again.to_dict()) == json.dumps(data.to_dict())
    assert [type(panel) for panel in again.panels] == [type(panel) for panel in data.panels]
    rows = data.rows()
    assert json.dumps(again.rows()) == json.dumps(rows)
    assert len({tuple(row) for row in rows}) <= 1
    if rows:
        assert list(rows[0])[: 2 + len(COLUMNS)] == ["panel", "title", *COLUMNS]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.csv").read_bytes() == sheet.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("style", list(figures.STYLES))
def test_any_panel_is_drawn(kind: str, style: str) -> None:
    panel = getattr(Draws(3), kind)()
    figure = figures.panels(FigureData("f", "c", [panel]), style=style)
    figure.draw_without_rendering()
    assert figure.get_figwidth() == figures.STYLES[style]["figure.figsize"][0]


def leaves(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places of all values in nested JSON."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*place, key)
        yield from leaves(inner, (*place, key))


def refusal(path: Path) -> str | None:
    """The error that a file is refused with, if it is."""
    try:
        Result.load(path)
    except StoreError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_panels_are_refused_in_one_line_or_are_panels(kind: str, tmp_path: Path) -> None:
    """Whatever stands in whatever place: no traceback but that of a one-line error."""
    data = FigureData("f", "c", [getattr(Draws(5), kind)()])
    whole = json.dumps(data.to_dict())
    path = tmp_path / "f.json"
    rng = np.random.default_rng(0)
    refused = 0
    for place in leaves(json.loads(whole)["panels"]):
        for value in (None, "x", -1, 1e400, [], {}, [[]], True, 10**400):
            if rng.random() > 0.4:
                continue
            content = json.loads(whole)
            at = content["panels"]
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = value
            path.write_text(json.dumps(content))
            if (said := refusal(path)) is not None:
                refused += 1
                assert "\n" not in said, (place, value)
                assert len(said) < 400 + len(str(path)), (place, value)
    assert refused > 5


#: A program's beginning, after which only torch and numpy are there.
BLOCKING = """
import sys
ABSENT = ("matplotlib", "seaborn", "pydantic", "h5py", "PIL", "pandas", "scipy", "sklearn", "click")
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.parametrize(
    "code",
    [
        "from repsim.results import Result as Kind",
        "from repsim import FigureData as Kind",
        "from repsim.figures import FigureData as Kind",
        "from repsim.figure_data import FigureData as Kind",
    ],
)
def test_figures_are_read_where_only_torch_and_numpy_are(code: str, tmp_path: Path) -> None:
    code += "\nfound = Kind.load(sys.argv[1]); print(found.name, len(list(found.lettered())))"
    held = [getattr(Draws(0), kind)() for kind in KINDS]
    path, _ = FigureData("f", "c", held).save(tmp_path / "f.json")
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKING + code, path],
        capture_output=True,
        text=True,
    )
    assert run.stdout == f"f {len(held)}\n", run.stderr


def test_layout_and_legends_name_no_type_of_panel() -> None:
    """Neither by its name in files nor by its class."""
    for module in ("layout", "legends", "looks"):
        text = (ROOT / "figures" / f"{module}.py").read_text()
        code = ast.unparse(ast.parse(re.sub(r'""".*?"""', '""', text, flags=re.DOTALL)))
        for kind, panel in PANELS.items():
            assert f"'{kind}'" not in code, (module, kind)
            assert not re.search(rf"\b{panel.__name__}\b", code), (module, kind)


@pytest.fixture
def shares(tmp_path: Path) -> Iterator[type[Any]]:
    """The panel of CONTRIBUTING, from a module of its own."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    code = text.split("**A panel.**")[1].split("```python\n")[1].split("```")[0]
    assert len(code.strip().splitlines()) <= 45
    file, name = tmp_path / "shares.py", "repsim.figures.panels.shares"
    file.write_text(code)
    spec = spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    yield sys.modules[name].Shares
    del sys.modules[name], PANELS["shares"]


def test_contributing_shows_a_panel_that_works_as_it_is_written(
    shares: type[Any], tmp_path: Path
) -> None:
    """JSON, table and drawing follow from the one module."""
    panel = shares("of the images", ["cats", "dogs"], [0.75, 0.25])
    data = FigureData("f", "c", [panel, Draws(0).table()])
    path, _ = data.save(tmp_path / "f.json")
    again = Result.load(path)
    assert again.panels[0] == panel
    assert [row["value"] for row in again.rows()][:2] == [0.75, 0.25]
    ax = figures.panels(again).axes[0]
    assert ax.get_title() == "(a) of the images"
    assert [text.get_text() for text in ax.texts][:2] == ["cats 75 %", "dogs 25 %"]
    with pytest.raises(UsageError, match="expected as many shares as labels"):
        shares("t", ["cats"], [0.5, 0.5])


# --- each type


def ax_of(panel: Panel, style: str = "page") -> Any:
    return figures.panels(FigureData("f", "c", [panel]), style=style).axes[0]


def test_numbers_stay_in_view_and_clear_of_marks() -> None:
    """Of a whisker that leaves the axes, and below a mark that lies just above a whisker."""
    series = [Series("one", [80.0, 24.0], [30.0, 20.0], [130.0, 28.0])]
    marks = [Mark("paper", [60.0, 35.0], look="published", of="one")]
    ax = ax_of(Bars("", "value", ["a", "b"], series, marks, limits=(0, 105), numbers=1))
    places = [text.xy[1] for text in ax.texts]
    assert places[0] < 100
    assert places[1] > 35


def test_bars_lie_where_their_names_are_long() -> None:
    series = [Series("one", [1.0, 2.0], [0.5, 1.5], [1.5, 2.5])]
    marks = [
        Mark("level", [1.5, 1.5], look="level"),
        Mark("paper", [2, 3], look="published", of="one"),
    ]
    short = Bars("b", "value", ["a", "b"], series, marks, limits=(0, 4), numbers=1)
    ax = ax_of(short)
    (bars,) = (each for each in ax.containers if isinstance(each, BarContainer))
    assert [bar.get_height() for bar in bars] == [1, 2]
    assert (ax.get_ylabel(), ax.get_ylim()) == ("value", (0, 4))
    assert [text.get_text() for text in ax.texts] == ["1.0", "2.0"]
    long = ax_of(replace(short, categories=["a name that takes room", "b" * 40]), "column")
    (bars,) = (each for each in long.containers if isinstance(each, BarContainer))
    assert [bar.get_width() for bar in bars] == [1, 2]
    assert (long.get_xlabel(), long.get_xlim()) == ("value", (0, 4))
    assert long.yaxis_inverted()  # the first category above
    names = [text.get_text() for text in long.figure.legends[0].get_texts()]
    assert names == ["one", "level", "paper"]
    rows = list(short.tabulate())
    assert [(row["series"], row["x"], row["value"]) for row in rows] == [
        *(("one", "a", 1), ("one", "b", 2)),
        *(("level", "a", 1.5), ("level", "b", 1.5)),
        *(("paper: one", "a", 2), ("paper: one", "b", 3)),
    ]
    with pytest.raises(UsageError, match="expected marks of its own bars"):
        replace(short, marks=[Mark("x", [1, 2], of="two")])


def test_points_are_told_apart_and_joined_in_their_order() -> None:
    groups = [
        Points("a", [3, 1, 2], x=[1, 2, 3], joined=True, low=[2, 0, 1], high=[4, 2, 3]),
        Points("b", [1], x=[2], x_low=[1], x_high=[3], names=["w2"]),
    ]
    ax = ax_of(Scatter("s", "x", "y", groups, xlim=(0, 4), diagonal=True))
    one, two = (line for line in ax.lines if line.get_label() in ("a", "b"))
    assert (list(one.get_xdata()), list(one.get_ydata())) == ([1, 2, 3], [3, 1, 2])
    assert (one.get_linestyle(), two.get_linestyle()) == ("-", "None")
    assert one.get_marker() != two.get_marker()
    assert one.get_color() != two.get_color()
    assert len(ax.containers) == 2  # whiskers of values, and of x
    rows = list(Scatter("s", "x", "y", groups).tabulate())
    assert (rows[3]["name"], rows[3]["x_low"], rows[3]["x"]) == ("w2", 1, 2)


def test_a_matrix_has_its_numbers_on_colours_around_a_centre() -> None:
    values = [[-2.0, 0.0], [1.0, math.nan]]
    matrix = Matrix(
        "m", ["r", "s"], ["u", "v"], values, centre=0, digits=1, remarks=[["i"] * 2] * 2
    )
    ax = ax_of(matrix)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["−2.0", "i", "0.0", "i", "1.0", "i", "–", "i"]
    (image,) = ax.images
    assert (image.norm.vmin, image.norm.vmax) == (-2, 2)  # as far above as below
    middle = image.cmap(image.norm(0.0))
    assert min(middle[:3]) > 0.9
    assert np.ma.getmaskarray(image.get_array()).tolist() == [[False, False], [False, True]]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["r", "s"]
    assert ax.yaxis_inverted()  # the first row above
    rising = ax_of(replace(matrix, centre=None, limits=(0, 1))).images[0]
    assert (rising.norm.vmin, rising.norm.vmax) == (0, 1)


def test_the_ink_of_a_matrix_stands_out() -> None:
    """At least 4.5 to 1, as WCAG 2.1 asks for."""
    from repsim.figures.panels.matrix import _ink

    def luminance(rgb: Any) -> float:
        rgb = np.asarray(rgb, float)
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for name in ("Blues", "PuOr"):
        for colour in plt.get_cmap(name)(np.linspace(0, 1, 101)):
            ink = 0.0 if _ink(colour) == "black" else 1.0
            light, dark = sorted((luminance(colour[:3]), ink), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_images_stand_in_a_grid_as_they_are() -> None:
    grid = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 8), dtype=np.uint8)
    shown: list[list[Any]] = [list(row) for row in grid]
    shown[1][2] = None
    panel = Images.of("i", shown, rows=["a", "b"], columns=["1", "2", "3"])
    ax = ax_of(panel)
    assert len(ax.images) == 5
    for image, pixels in zip(ax.images, grid.reshape(6, 4, 8), strict=False):
        assert np.array_equal(image.get_array(), pixels)
        left, right, low, high = image.get_extent()
        assert (low - high) / (right - left) == pytest.approx(0.5)  # 4 x 8 pixels
        assert image.get_clim() == (0, 255)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "3"]
    assert ax.get_aspect() == 1
    for wrong in (grid.astype(float), grid[..., None], np.zeros((1, 1, 2, 2, 4), np.uint8)):
        with pytest.raises(UsageError, match="an image has shape .* of uint8"):
            Images.of("i", wrong)
    with pytest.raises(UsageError, match="no PNG in base64"):
        Images("i", [["bm90IGEgcG5n"]])
    with pytest.raises(UsageError, match="images of one size"):
        Images.of("i", [[grid[0, 0], grid[0, 0, :2]]])


def test_a_panel_shows_sixteen_bit_grey_and_refuses_what_is_transparent() -> None:
    def encoded(image: Image.Image) -> str:
        stream = io.BytesIO()
        image.save(stream, format="PNG")
        return base64.b64encode(stream.getvalue()).decode()

    ramp = np.arange(32, dtype=np.uint16).reshape(4, 8)
    ((shown,),) = Images("i", [[encoded(Image.fromarray(ramp * 8 * 257))]]).arrays()
    assert np.array_equal(shown, ramp * 8)
    with pytest.raises(UsageError, match="transparent pixels"):
        Images("i", [[encoded(Image.new("RGBA", (4, 4)))]]).arrays()


def test_strips_have_their_medians_and_the_level_of_chance() -> None:
    dots = [Dots("one", [1.0, 3.0, 8.0, 5.0], places=[0, 0, 0, 2])]
    ax = ax_of(Strips("s", "class", "y", ["a", "b", "c"], dots, chance=0.5))
    (shown,) = (line for line in ax.lines if line.get_label() == "one")
    assert list(shown.get_ydata()) == [1, 3, 8, 5]
    assert shown.get_rasterized()
    (strokes,) = ax.collections
    assert [segment[0, 1] for segment in strokes.get_segments()] == [3, 5]
    (chance,) = (line for line in ax.lines if list(line.get_ydata()) == [0.5, 0.5])
    assert chance.get_linestyle() == ":"


def test_lines_of_their_own_x_reach_and_scale() -> None:
    lines = [Line("a", [1.0, 100.0], x=[0.0, 1.0], spread=[0.5, 10]), Line("b", [3.0], x=[0.5])]
    ax = ax_of(Lines("l", "x", "y", (), lines, log=True))
    one, two = (line for line in ax.lines if line.get_label() in ("a", "b"))
    assert (list(one.get_xdata()), list(two.get_xdata())) == ([0, 1], [0.5])
    assert ax.get_yscale() == "log"
    assert [power(value) for value in (1e-5, 0.1, 1, 100, 1e6, 3)] == [
        *("10⁻⁵", "0.1", "1", "100", "10⁶", "3"),
    ]
    with pytest.raises(UsageError, match="expected 0 numbers as values, one for each x"):
        Lines("l", "x", "y", (), [Line("a", [1.0])])


def test_hues_and_controls_of_groups() -> None:
    lines = [
        Line("a", [1.0], hue=4),
        Line("b", [1.0]),
        Line("c", [1.0], look="dotted", group="b"),
        Line("d", [1.0], look="control", group="e"),
        Line("e, random", [1.0], look="dotted", group="e"),
    ]
    ax = ax_of(Lines("l", "x", "y", [0], lines))
    drawn = {line.get_label(): line for line in ax.lines}
    palette = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    colours = figures.STYLES["page"]["axes.prop_cycle"].by_key()["color"] or palette
    assert drawn["a"].get_color() == colours[4]
    assert drawn["b"].get_color() == drawn["c"].get_color() == colours[0]
    assert drawn["d"].get_color() == drawn["e, random"].get_color() == "0.45"
    assert dashes(drawn["c"]) != dashes(drawn["b"])


@pytest.mark.parametrize("style", list(figures.STYLES))
def test_panels_of_all_kinds_fit_beside_each_other(style: str) -> None:
    draws = Draws(1)
    for kinds in (("matrix", "scatter"), ("images", "histogram"), ("strips", "table", "bars")):
        data = FigureData("f", "c", [getattr(draws, kind)() for kind in kinds])
        assert faults(figures.panels(data, style=style)) == [], kinds
