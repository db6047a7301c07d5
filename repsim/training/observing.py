"""Images and measurements after each epoch of a method that makes images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from repsim.batch_statistics import under
from repsim.training.image_grid import pairs, sheet, write_png
from repsim.training.loaders import Feed
from repsim.training.mode_collapse import Coverage, alpha
from repsim.training.sides import Side, measure_sides
from repsim.training.trainer import Trainer

#: Real images, and about as many generated ones, whose ratio α is taken.
_IMAGES = 500


class Observer:
    """Sample sheets and signs of mode collapse; for the first process alone.

    The same noise is taken after every epoch, so that sheets show what training changed.

    Args:
        trainer: whose method is observed.
        feed: its training images.
        folder: of the sheets.
    """

    def __init__(self, trainer: Trainer, feed: Feed, folder: Path) -> None:
        self.trainer = trainer
        self.config = trainer.config
        self.feed = feed
        self.classes = trainer.method.spec.classes
        self.folder = folder
        self._coverage: Coverage | None = None
        self._real: Tensor | None = None

    def look(self, epoch: int) -> dict[str, float]:
        """Write the sheet after ``epoch`` epochs; returns indicators, none without a generator."""
        if not self.config.sheet and not self.config.coverage:
            return {}
        with self.trainer.at_rest():
            samples = self._samples()
            if samples is None:
                self._show_reconstructions(epoch)
                return {}
            if self.config.sheet:
                self._write(epoch, sheet(samples, self.config.sheet))
            row = self._alpha(samples)
        if self.config.coverage and self.classes:
            row |= self._classifier().seen(first(samples, self.config.coverage))
        return row

    def _samples(self) -> Tensor | Mapping[str, Tensor] | None:
        torch.manual_seed(self.config.seed_for("samples"))
        return self.trainer.method.samples(max(self.config.sheet, self.config.coverage))

    def _show_reconstructions(self, epoch: int) -> None:
        if not self.config.sheet:
            return
        images = self._training_images()
        found = self.trainer.method.reconstructions(images)
        if found is not None:
            self._write(epoch, pairs(images, found, self.config.sheet))

    def _write(self, epoch: int, picture: Tensor) -> None:
        write_png(self.folder / f"epoch-{epoch:04d}.png", picture)

    def _alpha(self, samples: Tensor | Mapping[str, Tensor]) -> dict[str, float]:
        parts = [samples] if isinstance(samples, Tensor) else list(samples.values())
        fake = torch.cat([part[: max(1, _IMAGES // len(parts))] for part in parts])
        method = self.trainer.method
        if method.judge is None:
            return {}
        judge = method.networks[method.judge]
        sides = measure_sides(method, self.feed, [method.judge])[method.judge]
        row: dict[str, float] = {}
        kinds: tuple[tuple[str, Side, Tensor], ...]
        kinds = (("real", "real", self._training_images()), ("fake", "generated", fake))
        for name, side, images in kinds:
            with under(judge, sides[side]):
                row[f"alpha_{name}"], row[f"alpha_{name}_cv"] = alpha(judge(images))
        return {**row, "alpha_batches": self.config.statistics_batches}

    def _training_images(self) -> Tensor:
        if self._real is None:
            torch.manual_seed(self.config.seed_for("observed images"))
            chosen = torch.randperm(len(self.feed))[:_IMAGES]
            self._real = next(iter(self.feed.batches(chosen[None]))).images
        return self._real

    def _classifier(self) -> Coverage:
        if self._coverage is None:
            seed = self.config.seed_for("coverage")
            self._coverage = Coverage(self.feed, self.classes, seed)
        return self._coverage


def first(samples: Tensor | Mapping[str, Tensor], n: int) -> Tensor | dict[str, Tensor]:
    """The first ``n`` images of each generator."""
    if isinstance(samples, Tensor):
        return samples[:n]
    return {name: images[:n] for name, images in samples.items()}
