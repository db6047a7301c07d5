"""The results of a reproduction, by the lines of the paper that asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from repsim.errors import RepsimError
from repsim.figures.papers.engine.computation import Computation
from repsim.figures.papers.engine.declared import AnalysisOf, Run
from repsim.figures.papers.engine.paper import Reproduction
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.results import FigureData
from repsim.results.figure import Panel


class Missing(RepsimError):
    """A result that a figure or a claim needs was not made."""


class Found:
    """The results of a reproduction; figures, tables and claims are functions of it.

    ``found[ACROSS]`` is the list of the results of an analysis, a result for each seed or pair of
    seeds, and ``found.trained(SIMCLR)`` that of its runs.

    Args:
        reproduction: whose steps were made.

    Attributes:
        scale: at which.
        data: image set.
        seeds: of the runs.
        splits: the parts of the image set by name.
    """

    def __init__(self, reproduction: Reproduction) -> None:
        self.reproduction = reproduction
        self.scale, self.data = reproduction.scale, reproduction.data
        self.seeds, self.splits = reproduction.seeds, reproduction.splits
        self._loaded: dict[AnalysisOf, list[Any]] = {}

    def __getitem__(self, asked: AnalysisOf) -> list[Any]:
        if asked not in self._loaded:
            self._loaded[asked] = [step.load() for step in _made(self._computations(asked))]
        return self._loaded[asked]

    def __contains__(self, asked: AnalysisOf) -> bool:
        """True if all results of an analysis are there."""
        steps = self.reproduction.computations.get(asked, ())
        return asked in self._loaded or (bool(steps) and all(step.done for step in steps))

    def _computations(self, asked: AnalysisOf) -> list[Computation]:
        """The steps of an analysis; ``Missing`` at scales that have none."""
        if asked not in self.reproduction.computations:
            runs = ", ".join(each.run.name for each in asked.networks)
            raise self._not_laid_out(f"{asked.name} of {runs}", asked.scales)
        return self.reproduction.computations[asked]

    def _not_laid_out(self, asked: str, scales: Sequence[str]) -> Missing:
        others = scales if self.scale not in scales else ()
        where = f"; --scale {' or '.join(others)} has it" if others else ""
        return Missing(f"it needs {asked}, which scale {self.scale} does not lay out{where}")

    def networks(self, asked: AnalysisOf) -> list[tuple[str, ...]]:
        """The names of the networks of each result of an analysis: of one, or of a pair."""
        steps = self._computations(asked)
        return [tuple(source.name for source in step.sources) for step in steps]

    def trained(self, run: Run) -> list[Training]:
        """The finished runs, one for each seed."""
        if run not in self.reproduction.trainings:
            raise self._not_laid_out(f"the run {run.name}", run.scales)
        steps = self.reproduction.trainings[run]
        _made(steps)
        return steps

    @cached_property
    def words(self) -> dict[str, Any]:
        """Words for the texts of claims: the image set, its splits, and the paper's own."""
        return {
            "data": self.data,
            "scale": self.scale,
            **self.splits,
            **self.reproduction.paper.words(self),
        }

    @cached_property
    def quality(self) -> str:
        """A sentence on how good the networks are; empty where the paper has none."""
        try:
            return self.reproduction.paper.quality(self)
        except Missing as error:
            return f"How good the networks are is not known: {error}."

    def caption(self, text: str) -> str:
        """A caption of a figure of networks; it ends with their quality."""
        return " ".join(filter(None, (text, self.quality)))

    def heading(self, images: str) -> str:
        """The line above the panels of a figure: its images, and the scale of the networks."""
        return f"{images}, scale {self.scale}"

    def figure(
        self,
        name: str,
        caption: str,
        panels: Sequence[Panel],
        *,
        part: str | None = "held_out",
        networks: bool = True,
    ) -> FigureData:
        """A figure with the record of where its numbers come from.

        Args:
            name: as of ``FigureData``, and so on.
            caption: the same.
            panels: the same.
            part: of the image set, whose images it shows; None of several, or none.
            networks: False of a figure that no network was trained for.
        """
        text = self.caption(caption) if networks else caption
        images = self.data if part is None else f"{self.data} {self.splits[part]}"
        heading = self.heading(images) if networks else None
        return FigureData(name, text, panels, self.reproduction.provenance(), heading)


def _made(steps: Sequence[Any]) -> Sequence[Any]:
    """The steps themselves; ``Missing`` where one was not made."""
    for step in steps:
        if not step.done:
            raise Missing(f"it needs {_named(step)}, which was not made")
    return steps


def _named(step: Step) -> str:
    return f"the {step.kind} {step.name}"
