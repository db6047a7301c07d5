"""Results of analyses, as steps: made from the very networks that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from repsim.activations.analyses.base import Analysis, Context, Inputs
from repsim.activations.harvesting.harvest import plan_harvest
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.runs import harvest_run, store_path
from repsim.activations.store.reader import ActivationStore
from repsim.data import ImageSet
from repsim.errors import StoreError
from repsim.figures.papers.engine.earlier import Earlier
from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.keys import digest_of, key_of
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.training import Training
from repsim.progress import Progress
from repsim.results import Result
from repsim.training.run import Extractor


@dataclass(frozen=True)
class Source:
    """A network that an analysis reads: of a run, by the name of its extractor."""

    training: Training
    extractor: str | None = None

    @property
    def name(self) -> str:
        """The name of the run, with that of the extractor where one is named."""
        return "-".join(each for each in (self.training.name, self.extractor) if each)

    @property
    def network(self) -> Extractor:
        return self.training.extractor(self.extractor)


@dataclass(frozen=True)
class _Place:
    """A file that may hold a result of a kind, made from some runs."""

    path: Path
    kind: type[Result]
    runs: tuple[Training, ...]

    def is_current(self) -> bool:
        """True of a whole result with its table, made from the networks that are there."""
        if not self.path.with_suffix(".csv").is_file() or not all(run.done for run in self.runs):
            return False
        try:
            made_from = self.load().provenance.get("made_from")
        except StoreError:  # damaged, or of another kind: it is made again
            return False
        return bool(made_from == checkpoints_of(self.runs))

    def load(self) -> Any:
        return self.kind.load(self.path)


def checkpoints_of(runs: Iterable[Training]) -> dict[str, str]:
    """Digests of the checkpoints of finished runs, by the names of their folders."""
    return {run.path.name: digest_of(run.run.checkpoint) for run in runs}


class Computation(Step):
    """A result, of the very networks that are there: it is made again if they were.

    Args:
        folder: where it lies.
        name: of its file.
        analysis: makes it, with all settings.
        sources: the networks.
        data: the image set.
        splits: its parts that the analysis reads, by the names that the analysis has for them.
        own: the run whose augmentation the analysis means by ``own``; by default the first.
        harvest: options of the harvest of stores that the analysis reads, such as ``layers``; by
            default all layers, with the reduction that suffices the analysis.
        elsewhere: True of another image set than the paper's, shown at the size of the images that
            the first network learned from, by its first target.
    """

    kind = "result"

    def __init__(
        self,
        folder: Folder,
        name: str,
        analysis: Analysis[Any],
        sources: tuple[Source, ...],
        data: str,
        splits: Mapping[str, str],
        *,
        own: Source | None = None,
        harvest: Mapping[str, Any] | None = None,
        elsewhere: bool = False,
    ) -> None:
        self.folder, self.name, self.analysis, self.sources = folder, name, analysis, sources
        self.data, self.splits, self.own, self.elsewhere = data, splits, own, elsewhere
        self.harvest = {"pooling": analysis.pooling, **(harvest or {})}
        runs = [each.training for each in (*sources, *([own] if own else []))]
        self.needs = self.runs = tuple(dict.fromkeys(runs))
        self.earlier: Earlier | None = None

    @property
    def settings(self) -> Mapping[str, Any]:
        return {
            "analysis": self.analysis.name(),
            "networks": [each.name for each in self.sources],
            "own": self.own.name if self.own else None,
            "data": self.data,
            "splits": dict(self.splits),
            **({"harvest": self.harvest} if self.analysis.reads_stores else {}),
            "settings": self.analysis.config.identity(),
            **self._statistics,
        }

    @property
    def _statistics(self) -> dict[str, str]:
        """The statistics of batch normalisation: of networks with sides, each image's own.

        Results that do not say so were made with running statistics, which mix both sides.
        """
        sided = any(each.training.has_sides for each in self.sources)
        return {"statistics": "own"} if sided else {}

    @property
    def _own(self) -> _Place:
        path = self.folder.results / f"{self.name}-{self.key}.json"
        return _Place(path, self.analysis.result, self.runs)

    @property
    def _place(self) -> _Place:
        """Its own place, or that of an earlier release where the result lies there."""
        own, earlier = self._own, self.earlier
        if earlier is None or own.path.is_file():
            return own
        path = self.folder.results / f"{earlier.stem}.json"
        there = _Place(path, self.analysis.result, earlier.runs)
        return there if there.is_current() else own

    @property
    def path(self) -> Path:
        return self._place.path

    @property
    def done(self) -> bool:
        return self._place.is_current()

    @property
    def touches(self) -> frozenset[Path]:
        if not self.analysis.reads_stores:
            return frozenset()
        return frozenset(each.training.path for each in self.sources)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Images of each part."""
        return {part: self.folder.count(self.data, split) for part, split in self.splits.items()}

    def _images(self) -> dict[str, ImageSet]:
        first = self.sources[0].training
        shown = first.fitted if self.elsewhere else first.shown
        return {part: shown(self.data, split) for part, split in self.splits.items()}

    @cached_property
    def bytes(self) -> int:
        stored = self.analysis.stored_bytes
        return sum(stored(self.sizes, partial(self._stored, each)) for each in self.sources)

    def _stored(self, source: Source, part: str) -> int:
        """Bytes of the store of a part of the images."""
        method = source.training.build()
        network = method.extractor(source.extractor or method.extractors[0]).eval()
        loader = ImageLoader(self._images()[part], 256)
        # The harvest checks that the network is a function of the example; its size needs no check.
        plan = plan_harvest(network, loader, allow_random=True, allow_batch=True, **self.harvest)
        return plan.bytes

    def make(self, progress: Progress) -> None:
        context = Context(device=self.folder.device, progress=progress)
        with ExitStack() as stack:
            result = self.analysis.run(self._inputs(stack), context)
        provenance = {**result.provenance, "made_from": checkpoints_of(self.runs)}
        replace(result, provenance=provenance).save(self._own.path, overwrite=True)

    def _inputs(self, stack: ExitStack) -> Inputs:
        images = self._images()
        stores: tuple[Mapping[str, ActivationStore], ...] = ()
        if self.analysis.reads_stores:
            stores = tuple(self._stores(each, images, stack) for each in self.sources)
        return Inputs(
            names=tuple(each.name for each in self.sources),
            extractors=tuple(each.network for each in self.sources),
            images=images,
            stores=stores,
            own=None if self.own is None else self.own.network,
            data=self.data,
        )

    def _stores(
        self, source: Source, images: Mapping[str, ImageSet], stack: ExitStack
    ) -> dict[str, ActivationStore]:
        """The stores of a network by part, harvested as far as they are not there."""
        return {
            part: stack.enter_context(self._store(source, shown)) for part, shown in images.items()
        }

    def _store(self, source: Source, images: ImageSet) -> ActivationStore:
        return harvest_run(
            source.training.run,
            images,
            extractor=source.network.name,
            path=self._store_path(source, images),
            device=self.folder.device,
            data_dir=self.folder.data_dir,
            resume=True,
            **self.harvest,
        )

    def _store_path(self, source: Source, images: ImageSet) -> Path:
        """The usual place for averages of all layers; another for every other harvest."""
        usual = store_path(source.network, images.slug)
        if self.harvest == {"pooling": "avg"}:
            return usual
        kept = {**self.harvest, **self._statistics}
        return usual.with_name(f"{usual.stem}.{key_of(kept, ())}.h5")

    def load(self) -> Any:
        """The result.

        Raises:
            StoreError: it was not made, is damaged or of another kind.
        """
        return self._place.load()
