"""The lines of a paper: its runs, and the analyses of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any, TypeVar

from repsim.activations.analyses import find_analysis
from repsim.activations.analyses.base import Analysis
from repsim.configuration import build_config
from repsim.errors import UsageError

T = TypeVar("T")

#: Amounts of work. ``tiny`` shows within minutes that everything works; two cores carry ``small``
#: in an hour and ``long`` in a night; ``paper`` has the papers' own settings.
SCALES = ("tiny", "small", "long", "paper")

#: The preset that a scale starts from.
PRESETS = {"tiny": "tiny", "small": "small", "long": "small", "paper": "paper"}


class Run:
    """A kind of run: one for each seed.

    Args:
        method: of training.
        name: of its runs, without the seed; by default the method.
        only: image sets that it is trained on; none means all of the paper.
        scales: at which it is trained; none means all.
        tiny: settings at that scale, on top of those of every scale.
        small: the same.
        long: the same.
        paper: the same.
        **settings: of the method, at every scale, on top of its preset. A run in place of a text
            stands for the folder of the run of the same seed, which is trained before.
    """

    def __init__(
        self,
        method: str,
        name: str | None = None,
        *,
        only: Sequence[str] = (),
        scales: Sequence[str] = (),
        tiny: Mapping[str, Any] | None = None,
        small: Mapping[str, Any] | None = None,
        long: Mapping[str, Any] | None = None,
        paper: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self.method, self.name, self.only = method, name or method, tuple(only)
        self.scales = tuple(scales)
        self._methods = dict.fromkeys(SCALES, method)
        of_scales = zip(SCALES, (tiny, small, long, paper), strict=True)
        self._at = {scale: {**settings, **(own or {})} for scale, own in of_scales}

    def at(self, scale: str) -> dict[str, Any]:
        """The settings at a scale that differ from those of its preset."""
        return self._at[scale]

    def method_at(self, scale: str) -> str:
        """The method at a scale; a control may be of another one at some."""
        return self._methods[scale]

    def untrained(self, name: str, **others: Run) -> Run:
        """The same before training, by another name: the control of its networks.

        Args:
            name: of the control.
            **others: by scale, the run whose control it is there instead.
        """
        control = Run(self.method, name, only=self.only, scales=self.scales)
        of = {scale: others.get(scale, self) for scale in SCALES}
        control._at = {scale: {**run.at(scale), "epochs": 0} for scale, run in of.items()}
        control._methods = {scale: run.method_at(scale) for scale, run in of.items()}
        return control

    def network(self, name: str) -> Network:
        """One of its networks that is not the method's usual extractor."""
        return Network(self, name)

    def __repr__(self) -> str:
        return f"Run({self.name!r})"


@dataclass(frozen=True)
class Network:
    """An extractor of a run."""

    run: Run
    extractor: str | None = None


@dataclass(frozen=True, eq=False)
class AnalysisOf:
    """An analysis of some networks: one result for each seed, or pair of seeds.

    Attributes:
        analysis: with its settings.
        networks: one, or two. Two of one run are its pairs of seeds; of two runs, both with the
            same seed.
        on: the parts that the analysis reads, each by the name that the paper's splits have for it.
        name: of the results, before the names of the runs.
        only: image sets that it is made of; none means all of the paper.
        scales: at which it is made; none means all.
        own: the network whose augmentation the analysis means by ``own``, of the first seed.
        harvest: options of the harvest of stores that the analysis reads, such as ``layers``; by
            default all layers, with the reduction that suffices the analysis.
        tiny: settings at scale ``tiny`` that differ.
        data: by image set of the paper, another one that the networks are judged on, at the size of
            the images that they learned from and by its first target; none means the paper's.
    """

    analysis: Analysis[Any]
    networks: tuple[Network, ...]
    on: Mapping[str, str]
    name: str
    only: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    own: Network | None = None
    harvest: Mapping[str, Any] = field(default_factory=dict)
    tiny: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    def at(self, scale: str) -> Analysis[Any]:
        """The analysis with its settings at a scale."""
        if scale != "tiny" or not self.tiny:
            return self.analysis
        return type(self.analysis)(replace(self.analysis.config, **self.tiny))

    def cases(self, seeds: Iterable[int]) -> Iterator[tuple[int, ...]]:
        """The seeds of the networks of each result."""
        if len(self.networks) == 2 and self.networks[0] == self.networks[1]:
            yield from combinations(seeds, 2)
        else:
            yield from ((seed,) * len(self.networks) for seed in seeds)


def analysis(kind: str | type[Analysis[Any]]) -> Callable[..., AnalysisOf]:
    """The word for an analysis in a paper.

    ``Similarity = analysis("similarity")``, and then ``Similarity(SIMCLR, SUPERVISED)``, with the
    settings of the analysis and the further attributes of ``AnalysisOf`` as arguments.

    Args:
        kind: the name of an analysis, or a class of one that is the paper's own.
    """
    found = find_analysis(kind) if isinstance(kind, str) else kind

    def declare(
        *of: Run | Network,
        on: Mapping[str, str] | None = None,
        name: str | None = None,
        only: Sequence[str] = (),
        scales: Sequence[str] = (),
        own: Run | None = None,
        harvest: Mapping[str, Any] | None = None,
        tiny: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> AnalysisOf:
        networks = tuple(Network(each) if isinstance(each, Run) else each for each in of)
        wanted = 1 if found.networks == "one" else 2
        if len(networks) != wanted:
            raise UsageError(f"{found.name()} of {len(networks)} networks; expected {wanted}")
        made = found(build_config(found.config_class, settings, f"{found.name()} of {of}"))
        runs = dict.fromkeys(each.run for each in networks)
        return AnalysisOf(
            made,
            networks,
            on or {part: part for part in found.parts},
            name or made.prefix,
            tuple(only) or tuple(_common([run.only for run in runs])),
            tuple(scales) or tuple(_common([run.scales for run in runs])),
            None if own is None else Network(own),
            harvest or {},
            tiny or {},
            data or {},
        )

    return declare


def _common(sets: Sequence[tuple[str, ...]]) -> list[str]:
    """Image sets or scales that all of some runs have in common; none means all."""
    named = [each for each in sets if each]
    return [each for each in named[0] if all(each in other for other in named)] if named else []


def grid(make: Callable[..., T], **axes: Iterable[Any]) -> dict[Any, T]:
    """``make`` at every point of a grid, by the values there; of one axis by the value itself.

    ``grid(Run, method=("gan", "wgan"), width=(1, 2))`` has four runs, the first at ``("gan", 1)``.
    """
    points = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    names = [
        tuple(point.values()) if len(axes) > 1 else next(iter(point.values())) for point in points
    ]
    return dict(zip(names, (make(**point) for point in points), strict=True))
