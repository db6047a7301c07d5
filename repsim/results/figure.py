"""Contents of a figure: panels, which know how they are checked, tabulated and drawn.

The types of panels are defined in ``repsim.figures.panels``; defining one is enough for files to
hold it. They are found when a file is read.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from repsim.errors import UsageError, choices, few
from repsim.results.base import Result
from repsim.results.records import REQUIRED, Checked

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

#: Ways to draw something labelled: a result, as a line or as points; a control; what a paper
#: reports; the level of chance, over the axis or at each x; a constant to compare with; a control
#: of the same group; one of many behind the others.
Look = Literal[
    "line", "points", "control", "published", "chance", "level", "reference", "dotted", "faint"
]

#: Every type of panel by its name in files; filled where the types are defined.
PANELS: dict[str, type[Panel]] = {}

#: The package that defines them. It is found by its name, as methods and families of networks are,
#: since results know nothing of figures; its modules need torch and numpy alone to be imported.
_TYPES = "repsim.figures.panels"

#: Columns of the table of a figure, in order; panels may add others behind them.
COLUMNS = ("series", "layer_a", "layer_b", "x", "value", "low", "high")


class Labelled(Protocol):
    """An entry of a legend: its label, and what decides how it is drawn."""

    @property
    def label(self) -> str: ...
    @property
    def look(self) -> Look: ...
    @property
    def group(self) -> str | None: ...
    @property
    def hue(self) -> int | None: ...


@dataclass(frozen=True)
class Frame:
    """Circumstances that a panel is drawn in.

    Attributes:
        width: of the panel with the names of its axes, in inches.
        height: of the same, with its title.
        font: size of text inside the panel, in points: the smallest that a panel of its type has.
        looks: colour, marker and stroke by label.
        inside: width and height of the axes in inches, where they are known before it is drawn.
    """

    width: float
    height: float
    font: float
    looks: Mapping[str, Mapping[str, Any]]
    inside: tuple[float, float] | None = None


@dataclass(frozen=True)
class Scale:
    """Colours of values, which panels share, with a bar beside them.

    Attributes:
        label: of the bar: the quantity.
        low: value of the first colour.
        high: value of the last.
        colormap: name of the colours.
        beyond: ends at which values lie beyond the colours.
    """

    label: str
    low: float
    high: float
    colormap: str
    beyond: Literal["neither", "min", "max", "both"] = "neither"


@dataclass(frozen=True)
class Panel(Checked):
    """A part of a figure: its data, and how they are drawn.

    A type of panel is a frozen dataclass with a ``type``, its name in files. Its fields are its
    record in JSON.

    Attributes:
        title: what stands above it.
    """

    noun: ClassVar[str] = "panel"
    type: ClassVar[str]

    #: Takes the width of the figure where panels stand below each other.
    wide: ClassVar[bool] = False

    title: str

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "type" in vars(cls):
            PANELS[cls.type] = cls

    @property
    def called(self) -> str:
        return f"{self.noun} {self.title!r:.40}"

    def record(self) -> dict[str, Any]:
        return {"type": self.type, **super().record()}

    @classmethod
    def from_record(cls, record: Any) -> Any:
        """The panel of a JSON record, by its ``type``.

        Raises:
            UsageError: no such type, or a panel that is not whole.
        """
        if "type" in vars(cls):
            return super().from_record(record)
        kind = record.get("type") if isinstance(record, Mapping) else None
        if kind not in PANELS:
            importlib.import_module(_TYPES)
        if not isinstance(kind, str) or kind not in PANELS:
            raise UsageError(f"it is of type {kind!r:.40}; {choices(str(kind), PANELS)}")
        return PANELS[kind].from_record(record)

    def tabulate(self) -> Iterator[dict[str, Any]]:
        """The numbers as records, with columns of ``COLUMNS`` and others."""
        return iter(())

    def labelled(self) -> Sequence[Labelled]:
        """Everything that has a label, in the order of the legend."""
        return ()

    @abstractmethod
    def height(self, width: float) -> float:
        """Inches that a panel of a width in inches needs, without its title."""

    @abstractmethod
    def draw(self, ax: Axes, frame: Frame) -> None:
        """Draw it on axes that have the title already."""

    def settle(self, ax: Axes, frame: Frame) -> None:
        """Give the axes the shape that they must have, once the layout has placed them."""

    def handles(self, looks: Mapping[str, Mapping[str, Any]]) -> list[Artist]:
        """Entries of the legend for ``labelled``."""
        return []

    def font(self, width: float, largest: float) -> float:
        """The size of text, in points, at most ``largest``, at which it fits."""
        return largest

    def with_colours(self, limits: tuple[float, float]) -> Panel:
        """The panel with other values at the ends of its colours; itself if it has none."""
        return self

    @classmethod
    def notes(cls, panels: Sequence[Any]) -> list[Artist]:
        """Entries that the legend of a figure has for its panels of this type together."""
        return []

    @classmethod
    def scale(cls, panels: Sequence[Any]) -> Scale | None:
        """The colours that all panels of this type in a figure share, if they need a bar."""
        return None


@dataclass(frozen=True, eq=False)
class FigureData(Result):
    """Everything that a figure shows; drawn by ``repsim.figures.panels``.

    Attributes:
        name: what to call it: ``"Figure 2"``.
        caption: the text below it.
        panels: from left to right and from above; lettered from a, at most 26.
        provenance: where the numbers come from.
        heading: a line above all panels, such as the images and their number.

    Raises:
        UsageError: no panel, too many, something else, or a label of two looks or groups.
    """

    kind: ClassVar[str] = "figure-data"

    name: str
    caption: str
    panels: Sequence[Panel]
    provenance: dict[str, Any] = field(default_factory=dict, metadata=REQUIRED)
    heading: str | None = None

    def __post_init__(self) -> None:
        letters = len(ascii_lowercase)
        if not isinstance(self.panels, (list, tuple)) or not 0 < len(self.panels) <= letters:
            raise UsageError(f"panels is {self.panels!r:.40}; expected a list of 1 to {letters}")
        for letter, panel in self.lettered():
            if not isinstance(panel, Panel):
                raise UsageError(f"panel {letter} is {panel!r:.40}; expected a Panel, as Lines is")
        self._check_looks()

    def _check_looks(self) -> None:
        looks: dict[str, tuple[Any, ...]] = {}
        for each in (each for panel in self.panels for each in panel.labelled()):
            look = (each.look, each.group, each.hue)
            if looks.setdefault(each.label, look) != look:
                raise UsageError(
                    f"{each.label!r:.40} has two looks, groups or hues in one figure; "
                    "give it another label, or the same look, group and hue in every panel"
                )

    def lettered(self) -> Iterator[tuple[str, Panel]]:
        """The panels with their letters: a, b, ..."""
        return zip(ascii_lowercase, self.panels, strict=False)

    def headline(self) -> str:
        titles = few([f"{each.title:.30}" for each in self.panels])
        return f"{self.name:.40}: {len(self.panels)} panels, {titles}"

    def rows(self) -> list[dict[str, Any]]:
        """A row a number, with the same columns for every panel.

        ``panel`` (its letter), ``title``, ``series``, ``layer_a``, ``layer_b``, ``x``, ``value``,
        ``low`` and ``high``, and what panels add; those that a panel has not are None. A cell of a
        table has its column as ``series`` and the first cell of its row as ``x``.
        """
        found = [
            ({"panel": letter, "title": panel.title}, row)
            for letter, panel in self.lettered()
            for row in panel.tabulate()
        ]
        columns = dict.fromkeys([*COLUMNS, *(key for _, row in found for key in row)])
        return [{**about, **{key: row.get(key) for key in columns}} for about, row in found]
