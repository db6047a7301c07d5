"""The tables of Donahue et al. (2017)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from repsim.figures.papers.donahue2017.analyses import INVERSIONS, SEVERAL, SEVERAL_CONV
from repsim.figures.papers.donahue2017.numbers import (
    TRAINED,
    frozen,
    frozen_layers,
    is_flat,
    linear,
    nearest,
    on_scenes,
    ratios,
)
from repsim.figures.papers.donahue2017.published import (
    FROZEN,
    FROZEN_AFTER,
    LOG_NEAREST,
    NEAREST,
    VOC,
    VOC_COLUMNS,
)
from repsim.figures.papers.donahue2017.runs import COMPLEX, CONVOLVED, FLAT, METHODS
from repsim.figures.papers.engine import Found, mean_columns, only, settings_table
from repsim.figures.papers.engine.declared import AnalysisOf

Rows = list[dict[str, Any]]


@only(*FLAT)
def neighbours(found: Found) -> Rows:
    """Table 1, and the encoder before training."""
    theirs = {**NEAREST, "untrained": LOG_NEAREST[0]}
    return [
        {"method": name, **mean_columns("1NN", nearest(found, name)), "published": theirs[name]}
        for name in (*METHODS, "untrained")
    ]


@only(*FLAT)
def inversion(found: Found) -> Rows:
    """Errors of reconstructions over errors of shuffled ones, of every kind of examples."""
    return [
        {"method": name, "of": of, **mean_columns("ratio", values)}
        for name in INVERSIONS
        for of in ("images", "generated", "codes")
        if (values := ratios(found, name, of))
    ]


@only(*CONVOLVED)
def transfer(found: Found) -> Rows:
    """Table 2: ours by the last frozen layer."""
    both = {"BiGAN": True, "random": False}
    return [
        {
            "frozen up to": layer,
            **{
                key: value
                for name, trained in both.items()
                for key, value in mean_columns(
                    name, [each[place] for each in frozen(found, trained=trained)]
                ).items()
            },
        }
        for place, layer in enumerate(frozen_layers(found))
    ]


@only(*CONVOLVED)
def published(found: Found) -> Rows:
    """Table 2 of the paper, on ImageNet."""
    return [
        {"network": name, **dict(zip(FROZEN_AFTER, values, strict=True))}
        for name, values in FROZEN.items()
    ]


@only(*CONVOLVED)
def photographs(found: Found) -> Rows:
    """Linear probes on the last features of photographs."""
    return [
        {"method": name, **mean_columns("linear probe", linear(found, name))} for name in COMPLEX
    ]


@only(*FLAT)
def scenes(found: Found) -> Rows:
    """The classification columns of Table 3 on scenes of digits."""
    return _scenes(found, SEVERAL)


@only(*CONVOLVED)
def scenes_photographs(found: Found) -> Rows:
    """The same of the convolutional networks."""
    return _scenes(found, SEVERAL_CONV)


def _scenes(found: Found, several: Mapping[str, AnalysisOf]) -> Rows:
    return [{"network": name, **_beside(on_scenes(found, several, name), name)} for name in several]


def _beside(ours: Sequence[Sequence[float]], name: str) -> dict[str, Any]:
    """Our values of each column, and behind each the published one on VOC."""
    theirs = VOC.get(name, ("",) * len(VOC_COLUMNS))
    row: dict[str, Any] = {}
    for trained, values, column, voc in zip(TRAINED, ours, VOC_COLUMNS, theirs, strict=True):
        row |= {**mean_columns(trained, values), f"VOC: {column}": voc}
    return row


def voc(found: Found) -> Rows:
    """The classification columns of Table 3 of the paper, on PASCAL VOC 2007."""
    return [
        {"network": name, **dict(zip(VOC_COLUMNS, values, strict=True))}
        for name, values in VOC.items()
    ]


def settings(found: Found) -> Rows:
    runs = METHODS if is_flat(found) else COMPLEX
    return settings_table({name: found.trained(run)[0] for name, run in runs.items()})


TABLES: dict[str, Callable[[Any], Rows]] = {
    "neighbours": neighbours,
    "inversion": inversion,
    "transfer": transfer,
    "published": published,
    "photographs": photographs,
    "scenes": scenes,
    "scenes-photographs": scenes_photographs,
    "voc": voc,
    "settings": settings,
}
