"""Settings and artists of matplotlib, which is imported when something is drawn.

Panels are data that load where matplotlib is not installed; what they need of it comes from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.colors import Colormap

#: Colours of values from 0 to 1: rising in lightness, so that it survives greyscale.
COLORMAP = "magma"

#: Markers and strokes that tell lines apart where their colours do not: in greyscale, to the
#: colour-blind.
MARKERS = "osD^vP*X<>"
STROKES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (6, 1.2, 1.2, 1.2)), (0, (1.5, 1)))

#: Fillings that do so for bars.
HATCHES = ("", "///", "...", "\\\\\\", "xxx", "---", "|||", "oo", "++", "**")


def rc(name: str) -> Any:
    """A setting of the style that is applied."""
    import matplotlib as mpl

    return mpl.rcParams[cast(Any, name)]  # its stubs want literal keys


def palette() -> list[str]:
    """The colours of the style that is applied."""
    colours: list[str] = rc("axes.prop_cycle").by_key()["color"]
    return colours


def line_entry(**look: Any) -> Artist:
    """An entry of a legend that looks like a line or its markers."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def patch_entry(**look: Any) -> Artist:
    """An entry of a legend that looks like a filled area."""
    from matplotlib.patches import Patch

    return Patch(**look)


def colormap(name: str, *, bad: str) -> Colormap:
    """Colours by name; ``bad`` is the colour of values that are not there."""
    from matplotlib import pyplot as plt

    return plt.get_cmap(name).with_extremes(bad=bad)
