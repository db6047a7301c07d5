"""Check measures by the layers they find again in another network.

    repsim layer-identification simclr simclr-2 --layers even
    repsim layer-identification simclr simclr-2 --measure cka,cca,regression

The share of the layers of one network whose most similar layer of the other is the one of the same
name, as each measure has it; the mean of both directions. A check of measures rather than of
networks: the two have one architecture and differ in initialisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs
from repsim.configuration import setting
from repsim.errors import UsageError, choices
from repsim.measures import MEASURES, layer_identification
from repsim.progress import Progress, notebook_bar
from repsim.results import Table

if TYPE_CHECKING:
    from repsim.sources import ActivationSource


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a check of measures.

    Raises:
        UsageError: an unknown measure, or none.
    """

    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    measure: tuple[str, ...] = setting(
        ("cka",), f"measures to check: {', '.join(MEASURES)}", tag="{}", metavar="MEASURE,..."
    )
    common: bool = setting(False, base.COMMON, before=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        for each in self.measure:
            if each not in MEASURES:
                raise UsageError(f"unknown measure {each!r}; {choices(each, MEASURES)}")
        if not self.measure:
            raise UsageError("no measure was given; expected at least one, such as cka")


def identification_table(
    a: ActivationSource,
    b: ActivationSource,
    *,
    layers: str | Sequence[str] | None = None,
    measures: Sequence[str] = ("cka",),
    progress: Progress = notebook_bar,
) -> Table:
    """The share of layers that each measure identifies, as ``repsim.layer_identification``.

    Args:
        a: activations of one network.
        b: of another of the same architecture, on the same examples.
        layers: addresses or patterns; by default all.
        measures: names in ``repsim.measures.MEASURES``.
        progress: told the measures done.

    Returns:
        A row a measure: ``measure`` and ``layers identified``, in per cent, the mean of both
        directions.
    """
    records = []
    for done, measure in enumerate(measures):
        progress(done, len(measures), measure)
        found = [
            layer_identification(x, y, measure=measure, layers_a=layers)
            for x, y in ((a, b), (b, a))
        ]
        records.append({"measure": measure, "layers identified": 50 * sum(found)})
    return Table.of(
        "layer identification",
        records,
        units={"layers identified": "%"},
        provenance={"a": a.provenance(), "b": b.provenance(), "names": [a.name, b.name]},
    )


class LayerIdentification(Analysis[Config]):
    """The share of layers that each measure identifies."""

    config_class = Config
    networks = "pair"
    result = Table
    reads_stores = True
    layer_settings = ("layers",)
    uses = ()

    def compute(self, inputs: Inputs, context: Context) -> Table:
        sources = [store["compared"] for store in inputs.stores]
        return identification_table(
            sources[0],
            sources[-1],
            layers=self.config.layers,
            measures=self.config.measure,
            progress=context.progress,
        )

    def seconds(self, sizes: Mapping[str, int]) -> float:
        return 3.0 * len(self.config.measure)


ANALYSIS = LayerIdentification
