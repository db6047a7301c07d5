"""What the reproduction of a paper is made of, and how it is made: each thing once.

A recipe has tasks: runs to train and results to compute. Where each lies is decided by a hash of
its settings and of what it is made from, so that what exists is found again, whatever was asked for
before, and only what is missing is made. Figures, tables and verdicts are drawn from the results
every time.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from repsim.confidence import mean_interval
from repsim.data import ImageSet, load
from repsim.errors import StoreError, UsageError, choices
from repsim.figures.panels.lines import Line
from repsim.figures.papers.claims import Claim
from repsim.files import exclusive, sha256, write_atomic
from repsim.progress import Progress
from repsim.results import Result
from repsim.results.figure import FigureData, Look
from repsim.training.compose import configure
from repsim.training.config import TrainConfig
from repsim.training.loaders import spec_of
from repsim.training.loop import train
from repsim.training.method import Method
from repsim.training.methods import find_method
from repsim.training.presets import read_preset
from repsim.training.run import Run

#: How much is made: ``tiny`` shows that everything works, within minutes; ``small`` is what two
#: cores can carry; ``paper`` has the papers' own settings.
SCALES = ("tiny", "small", "paper")

#: Settings that say where a run is trained and what is kept of it, not what it becomes.
WHERE = ("device", "devices", "workers", "sheet", "coverage", "save_every")


@lru_cache(maxsize=4)  # many tasks ask for the same few parts
def _images(data: str, split: str, data_dir: Path | None) -> ImageSet:
    return load(data, split, data_dir=data_dir)


@dataclass(frozen=True)
class Workspace:
    """The folder of a reproduction, with its ``runs/`` and ``results/``.

    Attributes:
        folder: where all of it lies.
        data_dir: of the image sets; None for the usual one.
        device: where networks run.
    """

    folder: Path
    data_dir: Path | None = None
    device: str = "auto"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def images(self, data: str, split: str) -> ImageSet:
        """A part of an image set."""
        return _images(data, split, self.data_dir)


class Task(ABC):
    """A thing that is made once.

    Attributes:
        name: what people call it; with ``key`` the name of its files.
        needs: what it is made from.
    """

    name: str
    needs: tuple[Task, ...] = ()

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Any]:
        """What it depends on beside its needs; JSON values."""

    @cached_property
    def key(self) -> str:
        """The first digits of a hash of the settings and the keys of the needs."""
        content = {"settings": self.settings, "needs": [task.key for task in self.needs]}
        return sha256(json.dumps(content, sort_keys=True).encode())[:8]

    @property
    @abstractmethod
    def path(self) -> Path:
        """Where it lies."""

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether it is there, whole."""

    @abstractmethod
    def make(self, progress: Progress) -> None:
        """Make it, or what is missing of it."""

    @property
    def bytes(self) -> int:
        """About what it takes on the disk."""
        return 0


class Training(Task):
    """A run of a method.

    Args:
        workspace: where it lies.
        name: such as ``simclr-0``.
        method: of training.
        settings: of its configuration.
    """

    def __init__(
        self, workspace: Workspace, name: str, method: str, settings: Mapping[str, Any]
    ) -> None:
        self.workspace, self.name, self.method = workspace, name, method
        self.config: TrainConfig = configure(
            method, {"device": workspace.device, **settings}, f"the recipe of {name}"
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"method": self.method, **self.config.identity()}

    @property
    def path(self) -> Path:
        return self.workspace.runs / f"{self.name}-{self.key}"

    @property
    def run(self) -> Run:
        return Run(self.path)

    @property
    def done(self) -> bool:
        return self.run.complete

    @cached_property
    def images(self) -> int:
        """Images of an epoch."""
        return len(self.workspace.images(self.config.data, self.config.split))

    def build(self, config: TrainConfig | None = None) -> Method:
        """The method with untrained networks, of its configuration or another."""
        images = self.workspace.images(self.config.data, self.config.split)
        spec = spec_of(images, self.config.data)
        return find_method(self.method)(config or self.config, spec)

    @property
    def bytes(self) -> int:
        networks = self.build().networks.values()
        return sum(
            value.numel() * value.element_size()
            for network in networks
            for value in network.state_dict().values()
        )

    @property
    def epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return self.config.epochs if self.done else len(self.run.metrics())

    def make(self, progress: Progress) -> None:
        train(
            self.method,
            self._as_started(),
            self.path,
            data_dir=self.workspace.data_dir,
            resume=True,
            progress=progress,
        )

    def _as_started(self) -> TrainConfig:
        """The configuration; of a run that exists, on the device that it was started on."""
        if not self.run.exists:
            return self.config
        started = self.run.config
        return self.config.model_copy(update={key: getattr(started, key) for key in WHERE})


class Analysis(Task):
    """A result, of the very networks that are there: it is made again if they were.

    Args:
        workspace: where it lies.
        name: of its file.
        kind: of result.
        settings: what ``compute`` depends on beside its needs.
        needs: the runs and results that it reads.
        compute: makes the result.
        images: shown to each of the networks, for estimates.
        seconds: what it takes beside those, about.
        stored: bytes of the activations that it leaves.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str,
        kind: type[Result],
        settings: Mapping[str, Any],
        needs: Sequence[Training],
        compute: Callable[[Progress], Result],
        *,
        images: int = 0,
        seconds: float = 1.0,
        stored: Callable[[], int] | None = None,
    ) -> None:
        self.workspace, self.name, self.kind = workspace, name, kind
        self._settings, self.runs, self.compute = settings, tuple(needs), compute
        self.needs = self.runs
        self.images, self.seconds, self.stored = images, seconds, stored

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"name": self.name, **self._settings}

    @property
    def path(self) -> Path:
        return self.workspace.results / f"{self.name}-{self.key}.json"

    @property
    def done(self) -> bool:
        """Whether it is there with its table, whole, and made from the networks that are there."""
        if not self.path.with_suffix(".csv").is_file() or not all(run.done for run in self.runs):
            return False
        try:
            return _made_from(self.load()) == self._sources()
        except StoreError:  # damaged, or of another kind: it is made again
            return False

    def _sources(self) -> dict[str, str]:
        """What tells the networks that it is made from, by name of the run."""
        return {run.path.name: digest_of(run.run.checkpoint) for run in self.runs}

    @property
    def bytes(self) -> int:
        return 0 if self.stored is None else self.stored()

    def make(self, progress: Progress) -> None:
        result: Any = self.compute(progress)
        provenance = {**result.provenance, "made_from": self._sources()}
        replace(result, provenance=provenance).save(self.path, overwrite=True)

    def load(self) -> Any:
        """The result.

        Raises:
            StoreError: it was not made, is damaged or of another kind.
        """
        return self.kind.load(self.path)


def _made_from(result: Any) -> Any:
    return result.provenance.get("made_from")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read again only once it has changed."""
    state = path.stat()
    return _digest(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=256)
def _digest(path: Path, changed: int, size: int) -> str:
    return sha256(path)


class Recipe(ABC):
    """The runs, analyses, figures, tables and claims of a paper.

    Args:
        workspace: where everything lies.
        scale: ``tiny``, ``small`` or ``paper``.
        data: image set; by default the scale's own.
        seeds: how many of each run; by default the scale's own.

    Raises:
        UsageError: no such scale, an image set that the recipe does not know, or too few seeds.
    """

    paper: ClassVar[str]
    title: ClassVar[str]
    #: What differs from the paper at every scale, a sentence each.
    differences: ClassVar[tuple[str, ...]]
    #: Image sets it can be asked for, the first by default, and the one that is tiny.
    data_sets: ClassVar[tuple[str, ...]]
    fewest_seeds: ClassVar[int] = 1

    def __init__(
        self,
        workspace: Workspace,
        scale: str = "small",
        data: str | None = None,
        seeds: int | None = None,
    ) -> None:
        if scale not in SCALES:
            raise UsageError(f"unknown scale {scale!r}; {choices(scale, SCALES)}")
        self.workspace, self.scale = workspace, scale
        self.data = data or ("digits" if scale == "tiny" else self.data_sets[0])
        known = ("digits",) if scale == "tiny" else self.data_sets
        if self.data not in known:
            raise UsageError(
                f"{self.paper} at scale {scale} is not laid out for {self.data!r}; "
                f"expected {' or '.join(known)}"
            )
        count = self.default_seeds if seeds is None else seeds
        if count < self.fewest_seeds:
            raise UsageError(
                f"{self.paper} was asked for {count} seeds; expected at least {self.fewest_seeds}"
            )
        self.seeds = range(count)

    @property
    def default_seeds(self) -> int:
        """How many of each run there are unless another number is asked for."""
        return 2 if self.scale == "tiny" else 3

    @cached_property
    def held_out(self) -> str:
        """Images that no network was trained on, and that every number is of."""
        # At small scale settings were chosen; the test images of CIFAR-10 are left for the paper's.
        return "train[40000:]" if (self.scale, self.data) == ("small", "cifar10") else "test"

    @cached_property
    def known(self) -> str:
        """All images that are not held out."""
        return "train" if self.held_out == "test" else "train[:40000]"

    def training(self, name: str, method: str, seed: int, **settings: Any) -> Training:
        """A run with the preset of the scale, but for some settings."""
        preset = read_preset(method, self.scale)
        fixed = {"data": self.data, "test": self.held_out, "seed": seed}
        return Training(self.workspace, name, method, {**preset, **fixed, **settings})

    @property
    @abstractmethod
    def tasks(self) -> list[Task]:
        """Everything that is made, in order: a task comes after its needs."""

    @abstractmethod
    def figures(self) -> list[FigureData]:
        """The figures, from finished tasks."""

    @abstractmethod
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The tables by name, from finished tasks."""

    @abstractmethod
    def claims(self) -> list[Claim]:
        """What is to be said of the paper's claims, from finished tasks."""

    @property
    def command(self) -> str:
        """What makes it."""
        seeds = f" --seeds {len(self.seeds)}" if len(self.seeds) != self.default_seeds else ""
        return f"repsim reproduce {self.paper} --scale {self.scale} --data {self.data}{seeds}"

    def missing(self) -> list[Task]:
        """The tasks that are still to be made."""
        return [task for task in self.tasks if not task.done]

    def claim_folder(self) -> AbstractContextManager[None]:
        """A context in which no other process makes anything in the folder.

        Raises:
            UsageError: another does, or the folder holds another reproduction.
        """
        folder, own = self.workspace.folder, {"paper": self.paper, "scale": self.scale}
        own["data"] = self.data
        marker = folder / "recipe.json"
        if marker.is_file():
            try:
                found = json.loads(marker.read_text())
            except ValueError:
                found = None
            if found != own:
                raise UsageError(
                    f"{folder} holds another reproduction ({found}); choose another --output"
                )
        else:
            write_atomic(marker, json.dumps(own) + "\n")
        busy = f"{folder} is being worked on by another process; wait for it or stop it"
        return exclusive(folder / ".lock", busy)

    def provenance(self) -> dict[str, Any]:
        """What every figure records."""
        trainings = [task for task in self.tasks if isinstance(task, Training)]
        return {
            "paper": self.paper,
            "scale": self.scale,
            "data": self.data,
            "held_out": self.held_out,
            "seeds": list(self.seeds),
            "runs": [task.path.name for task in trainings],
            "settings": {
                task.method: {k: v for k, v in task.settings.items() if k not in ("method", "seed")}
                for task in reversed(trainings)  # the first of each method has the last word
            },
        }


def mean_line(label: str, values: Any, *, look: Look = "line", group: str | None = None) -> Line:
    """A line of a panel: means over the first axis of ``values`` (seeds, x), and 95 % intervals."""
    value, low, high = mean_interval(np.array(values, dtype=float))
    return Line(label, value.tolist(), low.tolist(), high.tolist(), look, group)
