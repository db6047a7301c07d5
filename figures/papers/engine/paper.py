"""A paper as it is declared, and its reproduction at one scale, on one image set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from repsim.errors import UsageError, choices
from repsim.figures.papers.engine.claims import Judged
from repsim.figures.papers.engine.computation import Computation, Source
from repsim.figures.papers.engine.declared import PRESETS, SCALES, AnalysisOf, Network, Run
from repsim.figures.papers.engine.earlier import Earlier
from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.results import FigureData
from repsim.training.compose import without_network
from repsim.training.presets import read_preset

D = TypeVar("D", Run, AnalysisOf)
Rows = list[dict[str, Any]]

#: Parts of an image set, by their names in a paper.
Splits = Mapping[str, str]


@dataclass(frozen=True)
class Paper:
    """A paper: its runs and analyses, and the figures, tables and claims made of them.

    Attributes:
        name: on the command line: that of its module.
        title: authors, year and title.
        splits: by scale and image set, the parts of the set by their names; of each part its split.
            ``trained`` and ``held_out`` have to be among them. The first set of a scale is its
            usual one; a scale that is not there is not laid out.
        runs: in the order in which they are trained.
        analyses: in the order in which they are made.
        figures: each makes one from what was found.
        tables: the same by name.
        claims: in the order in which they are reported.
        differences: sentences on what differs from the paper at every scale.
        words: for the texts of claims, what depends on the image set.
        quality: a sentence on how good the networks are, from what was found: captions have it, so
            that nobody takes networks stopped early for trained ones.
        fewest_seeds: that it makes sense with.
        earlier: where an earlier release had a result, if it had it.
        earlier_run: name of the folder that an earlier release had the networks of a run in at a
            scale, where it is another; else empty.
        folder: with ``page.md``, the text of the page that is made from its results.
    """

    name: str
    title: str
    splits: Mapping[tuple[str, str], Splits]
    runs: Sequence[Run]
    analyses: Sequence[AnalysisOf]
    figures: Sequence[Callable[[Any], FigureData]]
    claims: Sequence[Judged]
    tables: Mapping[str, Callable[[Any], Rows]] = field(default_factory=dict)
    differences: Sequence[str] = ()
    words: Callable[[Any], Mapping[str, Any]] = lambda found: {}
    quality: Callable[[Any], str] = lambda found: ""
    fewest_seeds: int = 1
    earlier: Callable[[Computation, Splits], Earlier | None] = lambda step, splits: None
    earlier_run: Callable[[Training, str], str] = lambda step, scale: ""
    folder: Path | None = None

    def data_sets(self, scale: str) -> list[str]:
        """The image sets that a scale is laid out for, its usual one first.

        Raises:
            UsageError: no such scale, or one that the paper does not lay out.
        """
        if scale not in SCALES:
            raise UsageError(f"unknown scale {scale!r}; {choices(scale, SCALES)}")
        found = [data for at, data in self.splits if at == scale]
        if not found:
            laid_out = [each for each in SCALES if any(at == each for at, _ in self.splits)]
            raise UsageError(
                f"{self.name} is not laid out at scale {scale}; expected {_listed(laid_out)}"
            )
        return found


class Reproduction:
    """A paper at one scale, on one image set, with some seeds, in a folder.

    Args:
        paper: which.
        folder: where everything lies.
        scale: one of ``SCALES``.
        data: image set; by default the scale's usual one.
        seeds: runs of each kind; by default two at scale ``tiny`` and otherwise three.

    Raises:
        UsageError: a scale or an image set that is not laid out, or too few seeds.
    """

    def __init__(
        self,
        paper: Paper,
        folder: Folder,
        scale: str = "small",
        data: str | None = None,
        seeds: int | None = None,
    ) -> None:
        known = paper.data_sets(scale)
        if data is not None and data not in known:
            raise UsageError(
                f"{paper.name} at scale {scale} is not laid out for {data!r}; "
                f"expected {_listed(known)}"
            )
        self.paper, self.folder, self.scale, self.data = paper, folder, scale, data or known[0]
        count = self.default_seeds if seeds is None else seeds
        if count < paper.fewest_seeds:
            raise UsageError(
                f"{paper.name} was asked for {count} seeds; expected at least {paper.fewest_seeds}"
            )
        self.seeds = range(count)
        self.splits = paper.splits[scale, self.data]

    @property
    def default_seeds(self) -> int:
        """Runs of each kind, unless another number is asked for."""
        return 2 if self.scale == "tiny" else 3

    def _here(self, declared: Iterable[D]) -> list[D]:
        """The lines that are about the image set and the scale."""
        return [
            each
            for each in declared
            if self.data in (each.only or [self.data])
            and self.scale in (each.scales or [self.scale])
        ]

    @cached_property
    def trainings(self) -> dict[Run, list[Training]]:
        """The runs, one for each seed."""
        made: dict[Run, list[Training]] = {}
        for run in self._here(self.paper.runs):
            made[run] = [self._training(run, seed, made) for seed in self.seeds]
        return made

    def _training(self, run: Run, seed: int, made: Mapping[Run, list[Training]]) -> Training:
        own, method = run.at(self.scale), run.method_at(self.scale)
        needs = {name: made[value][seed] for name, value in own.items() if isinstance(value, Run)}
        own = {**own, **{name: step.path.name for name, step in needs.items()}}
        preset = read_preset(method, PRESETS[self.scale])
        usual = without_network(preset, method, own.get("network"))
        parts = {"split": self.splits["trained"], "test": self.splits["held_out"]}
        settings = {**usual, "data": self.data, "seed": seed, **parts, **own}
        step = Training(self.folder, f"{run.name}-{seed}", method, settings)
        step.earlier = self.paper.earlier_run(step, self.scale)
        step.needs = tuple(needs.values())
        return step

    @cached_property
    def computations(self) -> dict[AnalysisOf, list[Computation]]:
        """The results, one for each seed or pair of seeds."""
        return {
            each: [self._computation(each, seeds) for seeds in each.cases(self.seeds)]
            for each in self._here(self.paper.analyses)
        }

    def _computation(self, declared: AnalysisOf, seeds: Sequence[int]) -> Computation:
        sources = tuple(map(self._source, declared.networks, seeds))
        step = Computation(
            self.folder,
            "-".join([declared.name, *(each.name for each in sources)]),
            declared.at(self.scale),
            sources,
            declared.data.get(self.data, self.data),
            {part: self.splits[name] for part, name in declared.on.items()},
            own=None if declared.own is None else self._source(declared.own, self.seeds[0]),
            harvest=declared.harvest,
            elsewhere=self.data in declared.data,
        )
        step.earlier = self.paper.earlier(step, self.splits)
        return step

    def _source(self, network: Network, seed: int) -> Source:
        return Source(self.trainings[network.run][seed], network.extractor)

    @cached_property
    def steps(self) -> list[Step]:
        """Everything that is made, in order: a step comes after those that it needs."""
        trained = [step for steps in self.trainings.values() for step in steps]
        return [*trained, *(step for steps in self.computations.values() for step in steps)]

    def missing(self, *, train: bool = True) -> list[Step]:
        """The steps that are still to be made.

        Args:
            train: also those that train a network, and those that need it.
        """
        missing = [step for step in self.steps if not step.done]
        left: set[Step] = set()
        for step in missing if not train else ():
            untrained = isinstance(step, Training) and step.config.epochs > 0
            if untrained or not left.isdisjoint(step.needs):
                left.add(step)
        return [step for step in missing if step not in left]

    @property
    def command(self) -> str:
        """The command that makes it."""
        seeds = f" --seeds {len(self.seeds)}" if len(self.seeds) != self.default_seeds else ""
        return f"repsim reproduce {self.paper.name} --scale {self.scale} --data {self.data}{seeds}"

    def lock(self) -> AbstractContextManager[None]:
        """A context in which no other process makes anything in the folder.

        Raises:
            UsageError: another process does, or the folder holds another reproduction.
        """
        return self.folder.lock(self._contents)

    def check_folder(self) -> None:
        """Raise ``UsageError`` if the folder holds another reproduction."""
        self.folder.check_holds(self._contents)

    @property
    def _contents(self) -> dict[str, str]:
        return {"paper": self.paper.name, "scale": self.scale, "data": self.data}

    def provenance(self) -> dict[str, Any]:
        """The record that every figure keeps."""
        runs = [step for steps in self.trainings.values() for step in steps]
        return {
            "paper": self.paper.name,
            "scale": self.scale,
            "data": self.data,
            "held_out": self.splits["held_out"],
            "seeds": list(self.seeds),
            "runs": [step.path.name for step in runs],
            "settings": {
                step.method: {k: v for k, v in step.settings.items() if k not in ("method", "seed")}
                for step in reversed(runs)  # the first of each method has the last word
            },
        }


def _listed(names: Sequence[str]) -> str:
    """``tiny, small or paper``."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
