"""Scenes with several objects among clutter, and several labels each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from repsim.configuration import setting
from repsim.data.cluttered import QUARTERS, compose_scenes
from repsim.data.composed import Composed
from repsim.data.imageset import ImageSet, numbered
from repsim.data.pairs import Draws
from repsim.data.sets import find_set
from repsim.data.size import Size
from repsim.data.splits import Split
from repsim.data.targets import Target


@dataclass(frozen=True)
class Scenes(Composed):
    """One to ``most`` single images on black, among fragments of others.

    The target ``objects`` is a row of zeros and ones a scene, a column for each class, and
    ``count`` the number of objects. A scene is twice as high and wide as a single image; networks
    are shown it at a size of their own. No single image is in two splits.
    """

    most: int = setting(3, "objects of a scene, at most", ge=1, le=QUARTERS)
    clutter: int = setting(8, "fragments of other images in each scene", ge=0, le=100)
    scenes: int = setting(10_000, "scenes of each split", ge=1, le=1_000_000)
    seed: int = setting(0, "of the scenes", ge=0)

    @property
    def count_of_each(self) -> int:
        return self.scenes

    @property
    def own_size(self) -> Size:  # type: ignore[override]
        """Height and width of scenes as they are composed: twice those of a single image."""
        height, width = self.single_size
        return 2 * height, 2 * width

    @property
    def flips(self) -> bool:  # type: ignore[override]
        """True where mirrored single images are still of their classes."""
        named = find_set(self.base)
        return named is not None and named.flips

    def outline(self) -> Scenes:
        """A single scene of the same images."""
        return Scenes(base=self.base, most=self.most, scenes=1)

    def read(self, split: Split, data_dir: Path) -> ImageSet:
        """Compose the scenes of a split.

        Raises:
            UsageError: a slice beyond the split, or a base that has no labels or only one class.
            DataError: files of the base that are absent or damaged.
        """
        split = split.within(self.scenes)
        single = self.singles(split.base, data_dir)
        stop = self.scenes if split.stop is None else split.stop
        draws = Draws(f"repsim scenes {self.seed} {split.base}", split.start, stop)
        images, placed = compose_scenes(single.images, draws, most=self.most, clutter=self.clutter)
        counts = tuple(str(count) for count in range(1, self.most + 1))
        return ImageSet(
            name=self.name,
            split=str(split),
            images=images,
            targets=(
                Target("objects", placed.present(len(single.classes)), single.classes),
                Target("count", placed.shown.sum(1) - 1, counts),
            ),
            ids=numbered(self.name, split, self.scenes),
            files=single.files,
        )


SET = Scenes
