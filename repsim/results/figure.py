"""Contents of a figure of several panels, as plain records: it is drawn without networks.

A panel is a dictionary of JSON values with a ``type``, made by one of ``heatmap_panel``,
``line_panel``, ``diagram_panel`` and ``table_panel``. Numbers that are missing are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from repsim.errors import UsageError, choices
from repsim.results.base import Result
from repsim.results.similarity import SimilarityMap

#: How a series may be drawn: a result, a control, what a paper reports, the level of chance.
Look = Literal["line", "points", "control", "published", "chance"]
LOOKS: tuple[Look, ...] = get_args(Look)

#: A box of a diagram with this text stands for boxes left out; no arrow leads to or from it.
ELLIPSIS = "…"

Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class FigureData(Result):
    """The content of a figure of several panels.

    Attributes:
        name: what to call it: ``"Figure 2"``.
        caption: the text below it.
        panels: from left to right and from above, as made by ``heatmap_panel``, ``line_panel``,
            ``diagram_panel`` and ``table_panel``; lettered from a, at most 26.
        provenance: where the numbers come from.

    Raises:
        UsageError: no panel, too many, one that is not whole, or a label of two looks or groups.
    """

    kind: ClassVar[str] = "figure-data"

    name: str
    caption: str
    panels: list[dict[str, Any]]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        letters = len(ascii_lowercase)
        if not isinstance(self.panels, list) or not 0 < len(self.panels) <= letters:
            raise UsageError(f"panels is {self.panels!r:.40}; expected a list of 1 to {letters}")
        for letter, panel in self.lettered():
            _check(panel, f"panel {letter}")
        looks: dict[str, tuple] = {}
        for each in (each for panel in self.panels for each in panel.get("series", ())):
            look = (each["look"], each["group"])
            if looks.setdefault(each["label"], look) != look:
                raise UsageError(
                    f"line {each['label']!r:.40} has two looks or groups in one figure; "
                    "give it another label, or the same look and group in every panel"
                )

    @classmethod
    def _from_dict(cls, content: Mapping[str, Any]) -> FigureData:
        panels = [_with_nan(panel) for panel in content["panels"]]
        try:
            return super()._from_dict({**content, "panels": panels})
        except UsageError as error:  # what a caller did wrong, a file has wrong
            raise ValueError(str(error)) from error

    def lettered(self) -> Iterator[tuple[str, Record]]:
        """The panels with their letters: a, b, ..."""
        return zip(ascii_lowercase, self.panels, strict=False)

    def rows(self) -> list[Record]:
        """A row a number, with the same columns for every panel.

        ``panel`` (its letter), ``title``, ``series``, ``layer_a``, ``layer_b``, ``x``, ``value``,
        ``low`` and ``high``; those that a panel has not are None. A cell of a table has its column
        as ``series`` and the first cell of its row as ``x``. A diagram has no numbers.
        """
        columns = ("series", "layer_a", "layer_b", "x", "value", "low", "high")
        return [
            {
                **{"panel": letter, "title": panel["title"]},
                **{column: row.get(column) for column in columns},
            }
            for letter, panel in self.lettered()
            for row in _ROWS[panel["type"]](panel)
        ]


# --- making panels


def heatmap_panel(
    map: SimilarityMap,
    title: str,
    *,
    estimator: Literal["unbiased", "biased"] = "unbiased",
    dots: bool = True,
) -> Record:
    """A map as a panel, with the 95 % intervals of its unbiased values where it has them.

    Args:
        map: layers of a against layers of b.
        title: what stands above it.
        estimator: which of the map's values.
        dots: mark the most similar layer of b for each layer of a.

    Raises:
        UsageError: an estimator that the map does not hold.
    """
    values = map.values(estimator)
    certain = map.stderr is not None and estimator == "unbiased"
    low, high = map.interval() if certain else (None, None)
    return _checked(
        {
            "type": "heatmap",
            "title": title,
            "layers_a": list(map.layers_a),
            "layers_b": list(map.layers_b),
            "name_a": map.name_a,
            "name_b": map.name_b,
            "values": values.tolist(),
            "low": None if low is None else low.tolist(),
            "high": None if high is None else high.tolist(),
            "kernel": map.kernel,
            "estimator": estimator,
            "dots": dots,
        }
    )


def line(
    label: str,
    values: Sequence[float] | np.ndarray,
    *,
    low: Sequence[float] | np.ndarray | None = None,
    high: Sequence[float] | np.ndarray | None = None,
    look: Look = "line",
    group: str | None = None,
) -> Record:
    """A series of a ``line_panel``.

    Args:
        label: its name in the legend; the same in other panels of the figure for the same look.
        values: (x,) numbers, one for each x of its panel; NaN leaves a gap.
        low: (x,) lower ends of intervals, as over seeds; together with ``high``.
        high: (x,) upper ends.
        look: ``line`` with marker; ``points``, markers alone, for what has no order; ``control``
            grey and dashed; ``published`` black hollow markers; ``chance`` thin and dotted.
        group: series of one group share a colour, and are told apart by their strokes.

    Raises:
        UsageError: not numbers, infinity, or one end without the other.
    """
    made = {
        "label": label,
        "values": _listed(values),
        "low": None if low is None else _listed(low),
        "high": None if high is None else _listed(high),
        "look": look,
        "group": group,
    }
    _check_series(made, len(made["values"]), f"line {label!r}")
    return made


def line_panel(
    title: str,
    xlabel: str,
    ylabel: str,
    x: Sequence[float] | Sequence[str] | np.ndarray,
    series: Sequence[Record],
    *,
    ylim: tuple[float, float] | None = None,
) -> Record:
    """Series over numbers or layers.

    Args:
        title: what stands above it.
        xlabel: name of the axis of ``x``.
        ylabel: name of the axis of values.
        x: (x,) finite numbers, such as epochs, or layer addresses in order of execution.
        series: as made by ``line``, with a label each.
        ylim: ends of the axis of values; None leaves them to the values.

    Raises:
        UsageError: series of other lengths than ``x``, two of one label, or limits that cannot be.
    """
    return _checked(
        {
            "type": "lines",
            "title": title,
            "xlabel": xlabel,
            "ylabel": ylabel,
            "x": [_plain_cell(value) for value in x],
            "series": list(series),
            "ylim": None if ylim is None else _listed(ylim),
        }
    )


def diagram_panel(title: str, columns: Sequence[Sequence[Record]]) -> Record:
    """Networks as boxes, from the input above to the output below, with arrows between.

    Boxes with ``shared`` that are equal and beside each other are drawn as one box across their
    columns. Of many branches, some may stand for all: a box labelled ``…`` is drawn without a
    frame, and no arrow meets it.

    Args:
        title: what stands above it.
        columns: for each branch its boxes from above, each with ``label`` and if need be ``note``
            (small, below the label) and ``shared``.

    Raises:
        UsageError: no box, or one without a label.
    """
    boxes: list[Record] = []
    above: dict[int, str] = {}  # by column, the box that the next arrow starts from
    arrows: list[list[str]] = []
    depth = max((len(column) for column in columns), default=0)
    for row in range(depth):
        last: tuple[int, Record] | None = None  # column and box to the left in this row
        for place, column in enumerate(columns):
            if row >= len(column):
                continue
            box = column[row]
            if not isinstance(box, Mapping) or not isinstance(box.get("label"), str):
                raise UsageError(f"{box!r:.60} is no box; expected a dictionary with a label")
            if box.get("shared") and last == (place - 1, box):
                boxes[-1]["span"] += 1
            else:
                text = "\n".join(filter(None, (box["label"], box.get("note"))))
                where = {"row": row, "column": place, "span": 1}
                boxes.append({"id": f"{row}.{place}", "text": text, **where})
            last = (place, box)
            made = boxes[-1]["id"]
            if place in above and ELLIPSIS not in (box["label"], columns[place][row - 1]["label"]):
                arrow = [above[place], made]
                if arrow not in arrows:
                    arrows.append(arrow)
            above[place] = made
    return _checked({"type": "diagram", "title": title, "boxes": boxes, "arrows": arrows})


def table_panel(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | float]]
) -> Record:
    """A table, as papers print them.

    Args:
        title: what stands above it.
        columns: their names; the first column says what a row is of.
        rows: a list of cells each. Text is printed as it is; of numbers four digits, of NaN a dash.

    Raises:
        UsageError: a row with more or fewer cells than columns, or other cells.
    """
    cells = [[_plain_cell(cell) for cell in row] for row in rows]
    return _checked({"type": "table", "title": title, "columns": list(columns), "rows": cells})


def _listed(values: Any) -> Any:
    """Numbers as a list; whatever else arrived as it is, for the checks to name."""
    try:
        return np.asarray(values, dtype=np.float64).tolist()
    except (TypeError, ValueError):
        return values


def _plain_cell(cell: Any) -> Any:
    return cell.item() if isinstance(cell, np.generic) else cell


# --- checking them


def _checked(panel: Record) -> Record:
    _check(panel, f"panel {panel['title']!r:.40}")
    return panel


def _check(panel: Any, what: str) -> None:
    """Raise ``UsageError`` unless ``panel`` can be drawn; ``what`` it is called in the message."""
    kind = panel.get("type") if isinstance(panel, dict) else None
    if kind not in tuple(_CHECKS):
        raise UsageError(f"{what} is of type {kind!r:.40}; {choices(str(kind), _CHECKS)}")
    _check_texts(panel, ("title",), what)
    _CHECKS[kind](panel, what)


def _require(holds: bool, what: str, expected: str) -> None:
    if not holds:
        raise UsageError(f"{what} is not whole; expected {expected}")


def _check_texts(record: Record, keys: Sequence[str], what: str) -> None:
    for key in keys:
        _require(isinstance(record.get(key), str), what, f"a text as {key}")


def _is_number(value: Any) -> bool:
    """A number, or NaN; no infinity, and no integer beyond what floats hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return not math.isinf(value)
    except OverflowError:
        return False


def _is_finite(value: Any) -> bool:
    return _is_number(value) and not math.isnan(value)


def _are(values: Any, fits: Callable[[Any], bool], length: int | None = None) -> bool:
    """True if ``values`` is a list whose items all fit: of a length, or else not empty."""
    if not isinstance(values, list) or not all(map(fits, values)):
        return False
    return len(values) == length if length is not None else bool(values)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _check_heatmap(panel: Record, what: str) -> None:
    _check_texts(panel, ("name_a", "name_b", "kernel"), what)
    for key in ("layers_a", "layers_b"):
        _require(_are(panel.get(key), _is_text), what, f"addresses of layers as {key}")
    rows, columns = len(panel["layers_a"]), len(panel["layers_b"])
    for key in ("values", "low", "high"):
        _require(
            (key in ("low", "high") and key in panel and panel[key] is None)
            or _are(panel.get(key), lambda row: _are(row, _is_number, columns), rows),
            what,
            f"{rows} rows of {columns} numbers as {key}",
        )
    _require(panel.get("estimator") in ("unbiased", "biased"), what, "unbiased or biased values")
    _require(isinstance(panel.get("dots"), bool), what, "true or false as dots")


def _check_lines(panel: Record, what: str) -> None:
    _check_texts(panel, ("xlabel", "ylabel"), what)
    _require("ylim" in panel, what, "ylim, or null for it")
    x = panel.get("x")
    _require(_are(x, _is_finite) or _are(x, _is_text), what, "numbers or layers as x")
    _require(_are(panel.get("series"), lambda each: isinstance(each, dict)), what, "some series")
    for each in panel["series"]:
        _check_series(each, len(panel["x"]), f"{what}, line {each.get('label')!r:.40}")
    labels = [each["label"] for each in panel["series"]]
    _require(len(set(labels)) == len(labels), what, "a label of its own for every line")
    ylim = panel["ylim"]
    _require(
        ylim is None or (_are(ylim, _is_finite, 2) and ylim[0] < ylim[1]),
        what,
        "two rising numbers as ylim",
    )


def _check_series(series: Record, length: int, what: str) -> None:
    _check_texts(series, ("label",), what)
    _require({"look", "group", "low", "high"} <= set(series), what, "a look, group, low and high")
    look, group = series["look"], series["group"]
    if look not in LOOKS:
        raise UsageError(f"{what} has the look {look!r:.40}; {choices(str(look), LOOKS)}")
    _require(group is None or isinstance(group, str), what, "a text or nothing as group")
    low, high = series.get("low"), series.get("high")
    _require((low is None) == (high is None), what, "both ends of its intervals, or none")
    for key in ("values",) if low is None else ("values", "low", "high"):
        numbers = f"{length} numbers as {key}, one for each x, NaN where there is none"
        _require(_are(series.get(key), _is_number, length), what, numbers)


def _check_diagram(panel: Record, what: str) -> None:
    _require(_are(panel.get("boxes"), lambda box: isinstance(box, dict)), what, "some boxes")
    for box in panel["boxes"]:
        _check_texts(box, ("id", "text"), what)
        places = [box.get(key) for key in ("row", "column", "span")]
        _require(
            all(_is_finite(place) and 0 <= place <= 100 for place in places) and places[2] > 0,
            what,
            "row, column and span of every box, from 0 to 100",
        )
    known = {box["id"] for box in panel["boxes"]}
    _require(len(known) == len(panel["boxes"]), what, "an id of its own for every box")
    arrows = panel.get("arrows")
    _require(
        arrows == [] or _are(arrows, lambda ends: _are(ends, lambda end: end in tuple(known), 2)),
        what,
        "arrows from the id of a box to another",
    )


def _check_table(panel: Record, what: str) -> None:
    _require(_are(panel.get("columns"), _is_text), what, "names of columns")
    count = len(panel["columns"])
    _require(
        _are(
            panel.get("rows"),
            lambda row: _are(row, lambda cell: _is_text(cell) or _is_number(cell), count),
        ),
        what,
        f"rows of {count} texts or numbers",
    )


_CHECKS: dict[str, Callable[[Record, str], None]] = {
    "heatmap": _check_heatmap,
    "lines": _check_lines,
    "diagram": _check_diagram,
    "table": _check_table,
}


# --- from a file, and to a table


def _with_nan(panel: Any) -> Any:
    """A panel with NaN where the file has null for a number."""
    if not isinstance(panel, dict):
        return panel
    revived = dict(panel)
    for key in ("values", "low", "high", "rows"):
        if isinstance(panel.get(key), list):
            revived[key] = _nulls(panel[key])
    if isinstance(panel.get("series"), list):
        revived["series"] = [_with_nan(each) for each in panel["series"]]
    return revived


def _nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_nulls(each) for each in value]
    return math.nan if value is None else value


def _rows_of_heatmap(panel: Record) -> Iterator[Record]:
    held = [key for key in ("values", "low", "high") if panel.get(key) is not None]
    for i, layer_a in enumerate(panel["layers_a"]):
        for j, layer_b in enumerate(panel["layers_b"]):
            numbers = {key.removesuffix("s"): panel[key][i][j] for key in held}
            yield {"layer_a": layer_a, "layer_b": layer_b, **numbers}


def _rows_of_lines(panel: Record) -> Iterator[Record]:
    for series in panel["series"]:
        held = [key for key in ("values", "low", "high") if series.get(key) is not None]
        for k, x in enumerate(panel["x"]):
            numbers = {key.removesuffix("s"): series[key][k] for key in held}
            yield {"series": series["label"], "x": x, **numbers}


def _rows_of_table(panel: Record) -> Iterator[Record]:
    for first, *cells in panel["rows"]:
        for column, cell in zip(panel["columns"][1:], cells, strict=True):
            yield {"series": column, "x": first, "value": cell}


_ROWS: dict[str, Callable[[Record], Iterator[Record]]] = {
    "heatmap": _rows_of_heatmap,
    "lines": _rows_of_lines,
    "diagram": lambda panel: iter(()),
    "table": _rows_of_table,
}
