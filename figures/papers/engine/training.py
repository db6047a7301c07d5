"""Runs of a method, as steps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from repsim.configuration import settings_of
from repsim.data import ImageSet
from repsim.data.size import size_text
from repsim.figures.papers.engine.folder import Folder
from repsim.figures.papers.engine.steps import Step
from repsim.networks.image_spec import ImageSpec
from repsim.progress import Progress
from repsim.training.compose import configure
from repsim.training.config import TrainConfig
from repsim.training.loaders import spec_of
from repsim.training.loop import train
from repsim.training.method import Method
from repsim.training.methods import find_method
from repsim.training.run import Extractor, Run


class Training(Step):
    """A run of a method.

    Args:
        folder: where it lies.
        name: such as ``simclr-0``.
        method: of training.
        settings: of its configuration.

    Attributes:
        earlier: name of the folder in which an earlier release had the same networks, where it had
            another; else empty.
    """

    kind = "run"
    earlier: str = ""

    def __init__(self, folder: Folder, name: str, method: str, settings: Mapping[str, Any]) -> None:
        self.folder, self.name, self.method = folder, name, method
        self.config: TrainConfig = configure(
            method, {"device": folder.device, **settings}, f"the settings of {name}"
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"method": self.method, **self.config.identity()}

    @property
    def path(self) -> Path:
        own, before = (self.folder.runs / each for each in (self._own_name, self.earlier))
        found = bool(self.earlier) and not Run(own).exists and Run(before).complete
        return before if found else own

    @property
    def _own_name(self) -> str:
        return f"{self.name}-{self.key}"

    @property
    def earlier_key(self) -> str:
        """The key by which results of an earlier release knew it."""
        return (self.earlier or self._own_name).rpartition("-")[2]

    def extractor(self, name: str | None) -> Extractor:
        """One of its networks; the folder of an earlier release may have a single one."""
        chosen = None if self.path.name == self.earlier else name
        return self.run.extractor(chosen, data_dir=self.folder.data_dir)

    @property
    def has_sides(self) -> bool:
        """True if its extractors treat real and generated images each in their own way."""
        return find_method(self.method).has_sides(self.config)

    @property
    def run(self) -> Run:
        return Run(self.path)

    @property
    def done(self) -> bool:
        return self.run.complete and self.run.outdated_by is None

    @property
    def touches(self) -> frozenset[Path]:
        return frozenset({self.path})

    def shown(self, data: str, split: str) -> ImageSet:
        """A part of an image set, as its networks read it."""
        return self.folder.images(data, split, self.config.image_size, self.config.target)

    def fitted(self, data: str, split: str) -> ImageSet:
        """A part of another image set, at the size of the images that its networks read."""
        return self.folder.images(data, split, size_text(self.spec.size))

    @cached_property
    def images(self) -> int:
        """Images of an epoch."""
        return self.folder.count(self.config.data, self.config.split)

    @cached_property
    def spec(self) -> ImageSpec:
        """The facts of its images."""
        asked = (self.config.data, self.config.split, self.config.image_size, self.config.target)
        return spec_of(self.folder.outline(*asked), self.config.data)

    def build(self, config: TrainConfig | None = None) -> Method:
        """The method with untrained networks, of its configuration or another."""
        return find_method(self.method)(config or self.config, self.spec)

    @cached_property
    def bytes(self) -> int:
        networks = self.build().networks.values()
        tensors = (each for network in networks for each in network.state_dict().values())
        return sum(each.numel() * each.element_size() for each in tensors)

    @property
    def epochs_done(self) -> int:
        """Epochs that need not be trained again."""
        return self.config.epochs if self.done else len(self.run.metrics())

    def make(self, progress: Progress) -> None:
        data_dir = self.folder.data_dir
        config = self._as_started()
        outdated = self.run.exists and self.run.outdated_by is not None
        train(
            self.method,
            config,
            self.path,
            data_dir=data_dir,
            resume=not outdated,
            overwrite=outdated,
            progress=progress,
        )

    def _as_started(self) -> TrainConfig:
        """The configuration; of a run that exists, with the device that it was started on."""
        if not self.run.exists:
            return self.config
        started = self.run.config
        free = [each.name for each in settings_of(type(self.config)) if not each.decides]
        return self.config.model_copy(update={name: getattr(started, name) for name in free})
