"""Compare each layer of a network with the classes of its images.

    repsim classes simclr
    repsim classes simclr supervised --layers even
    repsim classes simclr --augmentation none

CKA of every layer with the classes, exact, on the activations that were harvested with labels, or
batch by batch on a network that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch.nn.functional import one_hot

from repsim.activations.analyses import base
from repsim.activations.analyses.augmentation import AUGMENTATIONS, run_shown
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.activations.analyses.minibatch import NetworkSide, about, placed, stream
from repsim.activations.analyses.tables import map_column, map_notes
from repsim.activations.capture.batch_axis import Arranged, BatchAxis, BatchAxisLike
from repsim.activations.capture.faults import At
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import place
from repsim.activations.harvesting.loaders import ShuffledLoader, moved
from repsim.ambient import full_precision
from repsim.configuration import setting
from repsim.measures import class_similarity
from repsim.measures.classes import CLASSES, checked_labels
from repsim.measures.kernels import KernelLike, parse_kernel
from repsim.progress import Progress, notebook_bar
from repsim.results import SimilarityMap

if TYPE_CHECKING:
    import torch
    from torch import nn

    from repsim.data import ImageSet


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a comparison with the classes.

    Raises:
        UsageError: p-values or biased values of images that are seen in batches.
    """

    augmentation: str | None = setting(
        None,
        "run the network on images that are augmented: by simclr, supervised or own, as it was "
        "trained; none shows them as they are",
        choices=("none", *AUGMENTATIONS),
        tag="{}",
        unset="read what was harvested",
    )
    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    kernel: str = setting("linear", base.KERNEL, tag="{}")
    estimator: str = setting(
        "unbiased", base.ESTIMATOR, choices=("unbiased", "biased"), decides=False, tag="{}"
    )
    stderr: bool = setting(True, "standard errors of the unbiased values")
    permutations: int = setting(0, base.PERMUTATIONS, ge=0)
    batch_size: int = setting(256, "images at a time, where the network runs", ge=8)
    seed: int = setting(0, "of the permutations, or of the order and augmentations of images", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_kernel(self.kernel)
        base.check_batches(self.augmentation, self.permutations, self.estimator)


@full_precision()
def compare_classes(
    model: nn.Module,
    images: ImageSet,
    augment: nn.Module | None = None,
    *,
    layers: str | Sequence[str] | None = None,
    batch_size: int = 256,
    seed: int = 0,
    name: str | None = None,
    kernel: KernelLike = "linear",
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    progress: Progress = notebook_bar,
) -> SimilarityMap:
    """CKA of every layer with the classes of the images, from minibatches.

    ``repsim.measures.class_similarity`` of a network whose activations are not stored; otherwise as
    ``invariance``.

    Args:
        model: as for ``invariance``.
        images: with labels.
        augment: None shows the images as they are.
        layers: as for ``invariance``, and so on.

    Returns:
        A map with one column, ``classes``.

    Raises:
        UsageError: images without labels, or as from ``invariance``.
        CaptureError: as from ``compare``.
        DegenerateError: fewer than four images, or images of one class.
    """
    checked_labels(images.labels, len(images), images.name)
    target, allowed = place(model, device), Allowed(allow_random, allow_batch, allow_grad)
    chosen = BatchAxis.said(batch_axis)
    loader = ShuffledLoader(images, augment, batch_size, seed, device=target)
    shown = Arranged(moved(loader, target), (model,), chosen, grad=allow_grad)
    side = NetworkSide(model, layers, target, name, allowed, shown)
    classes = ClassesSide(len(images.classes), target)
    pairs = zip(placed(shown, loader), loader.classes(), strict=True)
    names = [side.name, CLASSES]
    result = stream((side, classes), pairs, len(loader), names, kernel, progress)
    return about(result, "classes", seed=seed)


class ClassesSide:
    """Classes (n,) int64 of a batch as the one layer ``classes``."""

    digest = ""

    def __init__(self, classes: int, device: torch.device) -> None:
        self._classes, self._device = classes, device

    def __enter__(self) -> ClassesSide:
        return self

    def __exit__(self, *unused: object) -> None:
        pass

    def record(self) -> dict[str, str]:
        return {}

    def layers_of(self, batch: Any) -> list[str]:
        return [CLASSES]

    def take(self, batch: Any, reduce: Callable[[str, Any], Any], at: At) -> Mapping[str, Any]:
        return {CLASSES: reduce(CLASSES, one_hot(batch, self._classes).float().to(self._device))}


class Classes(Analysis[Config]):
    """CKA of every layer with the classes of the images."""

    config_class = Config
    result = SimilarityMap
    leading = ("augmentation",)
    figures = ("curves",)
    uses = ("memory", "device", "target")

    @property
    def reads_stores(self) -> bool:
        return self.config.augmentation is None

    def compute(self, inputs: Inputs, context: Context) -> SimilarityMap:
        return (self._of_store if self.reads_stores else self._of_network)(inputs, context)

    def _of_store(self, inputs: Inputs, context: Context) -> SimilarityMap:
        config = self.config
        return class_similarity(
            inputs.stores[0]["compared"],
            layers=config.layers,
            kernel=config.kernel,
            stderr=config.stderr,
            permutations=config.permutations,
            seed=config.seed,
            device=context.device,
            memory=context.memory,
            progress=context.progress,
        )

    def _of_network(self, inputs: Inputs, context: Context) -> SimilarityMap:
        result = run_shown(compare_classes, inputs, context, self.config)
        return result if self.config.stderr else replace(result, stderr=None)

    def drawing(self) -> dict[str, Any]:
        return {"estimator": self.config.estimator}

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return 2 * sizes["compared"]

    def report(self, result: SimilarityMap) -> Iterator[TextTable | str]:
        places = (0,) * len(result.layers_a)
        yield map_column(result, "CKA with the classes", places, self.config.estimator)

    def notes(self, result: SimilarityMap) -> Iterator[str]:
        return map_notes(result, self.config.estimator)


ANALYSIS = Classes
