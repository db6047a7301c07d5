"""A paper of few lines, and steps that make a file: what tests of the engine are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from repsim.activations.analyses.base import Analysis, Context, Inputs, Part
from repsim.configuration import Config, setting
from repsim.errors import DegenerateError
from repsim.figures.papers.engine import Folder, Paper, Reproduction, Run, analysis, over_seeds
from repsim.figures.papers.engine.steps import Step
from repsim.progress import Progress
from repsim.results import SimilarityMap


@dataclass(frozen=True)
class CountConfig(Config):
    """Settings of a count."""

    times: int = setting(1, "how often each image is counted")


class Count(Analysis[CountConfig]):
    """The number of images, as a map of one layer: an analysis that takes no time."""

    config_class = CountConfig
    result = SimilarityMap
    parts: ClassVar[Mapping[str, Part]] = {"counted": Part("test", "images that are counted")}

    def compute(self, inputs: Inputs, context: Context) -> SimilarityMap:
        import numpy as np

        if self.config.times < 0:
            raise DegenerateError("nothing is counted fewer times than never")
        if self.config.times == 0:
            raise ZeroDivisionError("a bug")
        count = np.array([[float(self.config.times * len(inputs.images["counted"]))]])
        layers = ("a",)
        return SimilarityMap(layers, layers, count, None, 4, "", "", "linear")


NETWORK = Run("supervised", epochs=0)
OTHER = Run("supervised", "other", epochs=0, only=("digits",))
COUNT = analysis(Count)(NETWORK, on={"counted": "held_out"})
PAIRS = analysis("similarity")(NETWORK, NETWORK, augmentation="none", on={"compared": "held_out"})
ACROSS = analysis("similarity")(NETWORK, OTHER, augmentation="none", on={"compared": "held_out"})


@over_seeds("1: many", "there are many", "images of {held_out}", above=50.0)
def many(found: Any) -> list[float]:
    return [float(each.unbiased[0, 0]) for each in found[COUNT]]


SPLITS = {("tiny", "digits"): {"trained": "train[:100]", "held_out": "test[:80]"}}


def paper(*analyses: Any, **options: Any) -> Paper:
    """A paper of the networks above."""
    declared = {"figures": (), "claims": (many,), "runs": (NETWORK, OTHER), "splits": SPLITS}
    return Paper(
        name="toy", title="A toy", analyses=analyses or (COUNT,), **{**declared, **options}
    )


def toy(
    folder: Path, *analyses: Any, folder_of_paper: Path | None = None, **options: Any
) -> Reproduction:
    """Its reproduction."""
    asked = paper(*analyses, folder=folder_of_paper, **options)
    return Reproduction(asked, Folder(folder, device="cpu"), "tiny")


class Writing(Step):
    """A step that writes a file, or fails.

    Args:
        folder: of the file.
        name: of the file.
        needs: other steps.
        error: raised in its place.
        touches: runs that it writes into.
    """

    kind = "result"

    def __init__(
        self,
        folder: Path,
        name: str,
        *needs: Step,
        error: Exception | None = None,
        touches: tuple[str, ...] = (),
    ) -> None:
        self.folder, self.name, self.needs = Folder(folder, device="cpu"), name, needs
        self._error, self._touches = error, frozenset(map(Path, touches))

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"name": self.name}

    @property
    def path(self) -> Path:
        return self.folder.path / self.name

    @property
    def done(self) -> bool:
        return self.path.is_file()

    @property
    def touches(self) -> frozenset[Path]:
        return self._touches

    def make(self, progress: Progress) -> None:
        progress(1, 2, "")
        if self._error is not None:
            raise self._error
        self.path.write_text(self.name)
