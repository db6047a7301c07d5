"""Measure how little each layer sees of an augmentation.

    repsim invariance simclr
    repsim invariance simclr supervised --augmentation own --layers even

CKA of each layer between two augmented copies of the same images: 1 where the layer does not see
what the augmentation changes, near 0 where two copies are no more alike than two images. Runs the
networks batch by batch; nothing needs to be harvested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repsim.activations.analyses import base
from repsim.activations.analyses.augmentation import AUGMENTATIONS, run_shown
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.activations.analyses.minibatch import NetworkSide, about, placed, stream
from repsim.activations.analyses.tables import map_column, map_notes
from repsim.activations.capture.batch_axis import Arranged, BatchAxis, BatchAxisLike
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import place
from repsim.activations.harvesting.loaders import ShuffledLoader, moved
from repsim.ambient import full_precision
from repsim.configuration import setting
from repsim.measures.kernels import KernelLike, parse_kernel
from repsim.progress import Progress, notebook_bar
from repsim.results import SimilarityMap

if TYPE_CHECKING:
    import torch
    from torch import nn

    from repsim.data import ImageSet


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a measurement of invariance."""

    augmentation: str = setting(
        "simclr",
        "what both copies of an image are augmented by; own: as the network was trained",
        choices=AUGMENTATIONS,
        tag="{}",
    )
    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    kernel: str = setting("linear", base.KERNEL, tag="{}")
    batch_size: int = setting(256, "images at a time", ge=8)
    seed: int = setting(0, "of the order and augmentations of the images", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_kernel(self.kernel)


@full_precision()
def invariance(
    model: nn.Module,
    images: ImageSet,
    augment: nn.Module,
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
    """CKA between two augmented copies of the same images (Grigg et al. 2021, Figure 3).

    The diagonal of the map is the invariance of each layer: 1 where the layer does not see what the
    augmentation changes, near 0 where two copies of an image are no more alike than two images.

    In minibatches of shuffled images, as ``compare``. Order and augmentations follow from ``seed``
    and ``batch_size``, whatever the layers; torch's global random numbers are left as they were.

    Args:
        model: any module that takes images (n, c, size, size), float32.
        images: at least four.
        augment: from images in [-1, 1] to what the network reads, at random; each copy of an image
            is a draw of its own. See ``ShuffledLoader``.
        layers: as ``layers_a`` of ``compare``.
        batch_size: images at a time, at least 8.
        seed: of the order and of the augmentations.
        name: what to call the network; by default its class.
        kernel: as in ``compare``.
        device: where to run and to augment; by default where the network lies.
        allow_random: as in ``compare``.
        allow_batch: as in ``compare``.
        allow_grad: as in ``compare``.
        batch_axis: axis that holds the images in what ``augment`` gives, and in layers, as for
            ``repsim.harvest``.
        progress: told the batches done.

    Returns:
        A map whose rows are layers that see one copy, and whose columns those that see the other.

    Raises:
        UsageError: a layer that the network does not have, too small a batch size, a negative seed.
        CaptureError: as from ``compare``.
        DegenerateError: fewer than four images.
    """
    target, allowed = place(model, device), Allowed(allow_random, allow_batch, allow_grad)
    chosen = BatchAxis.said(batch_axis)
    loaders = [ShuffledLoader(images, augment, batch_size, seed, view, target) for view in (0, 1)]
    copies = [
        Arranged(moved(loader, target), (model,), chosen, grad=allow_grad) for loader in loaders
    ]
    side = NetworkSide(model, layers, target, name, allowed, copies[0])
    names = [side.name, f"{side.name} (other copy)"]
    pairs = zip(placed(copies[0], loaders[0]), copies[1], strict=True)
    result = stream((side, side), pairs, len(loaders[0]), names, kernel, progress)
    return about(result, "views", seed=seed)


class Invariance(Analysis[Config]):
    """CKA of each layer between two augmented copies of the same images."""

    config_class = Config
    result = SimilarityMap
    leading = ("augmentation",)
    figures = ("heatmap", "curves")

    def compute(self, inputs: Inputs, context: Context) -> SimilarityMap:
        return run_shown(invariance, inputs, context, self.config)

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return 2 * sizes["compared"]

    def report(self, result: SimilarityMap) -> Iterator[TextTable | str]:
        yield map_column(result, "invariance", range(len(result.layers_a)))

    def notes(self, result: SimilarityMap) -> Iterator[str]:
        return map_notes(result)


ANALYSIS = Invariance
