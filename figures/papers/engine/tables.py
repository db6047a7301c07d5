"""Parts of tables that papers share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from repsim.configuration import plain, settings_of
from repsim.figures.papers.engine.findings import Number
from repsim.figures.papers.engine.training import Training


def mean_columns(name: str, values: Sequence[float]) -> dict[str, float]:
    """The mean of values of networks, and the ends of its interval, as columns of a table."""
    value, low, high = Number(values).interval()
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def settings_table(
    trainings: Mapping[str, Training], leave: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The settings of some runs beside each other, without seeds and places of training."""
    configs = {name: step.config for name, step in trainings.items()}
    deciding = dict.fromkeys(
        each.name
        for config in configs.values()
        for each in settings_of(type(config))
        if each.decides and each.name not in {"seed", *leave}
    )
    return [
        {"setting": key, **{name: plain(getattr(each, key, "")) for name, each in configs.items()}}
        for key in deciding
    ]
