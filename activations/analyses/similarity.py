"""Compare the layers of two networks.

    repsim similarity simclr supervised --layers even
    repsim similarity simclr@bg4.* mgan:classifier@features
    repsim similarity simclr supervised --augmentation supervised

Centered kernel alignment (CKA) of all pairs of layers, exact, on the same images, with its standard
errors. Prints each layer's counterpart and most similar layer; writes the result, its CSV, the
heatmap and the curves. A network may also be a store, or a .npy file of one layer's activations.

With --augmentation runs are shown augmented images, batch by batch; they need no harvest.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from repsim.activations.analyses import base
from repsim.activations.analyses.augmentation import (
    AUGMENTATIONS,
    describe_shown,
    find_augmentation,
)
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.activations.analyses.minibatch import NetworkSide, at_most, placed, stream
from repsim.activations.analyses.tables import certainty, map_notes, map_title
from repsim.activations.capture.batch_axis import Arranged, BatchAxis, BatchAxisLike
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.mask_rules import MaskRules
from repsim.activations.capture.modules import place
from repsim.activations.capture.pooling import PoolingRules
from repsim.activations.harvesting.loaders import ShuffledLoader, batches_in, moved
from repsim.ambient import full_precision
from repsim.configuration import setting
from repsim.devices import find_device
from repsim.errors import UsageError, choices
from repsim.measures import MEASURES, cka_map
from repsim.measures.identification import identified
from repsim.measures.kernels import KernelLike, parse_kernel
from repsim.progress import Progress, notebook_bar
from repsim.results import SimilarityMap

if TYPE_CHECKING:
    import torch
    from torch import nn


#: Variants of CKA: settings that make them.
VARIANTS = {"cka-rbf": ("kernel", "rbf"), "cka-biased": ("estimator", "biased")}


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a comparison.

    Raises:
        UsageError: another measure than CKA, or p-values of images that are seen in batches.
    """

    measure: str = setting(
        "cka",
        "measure of similarity: cka, cka-rbf or cka-biased; others are functions of "
        "repsim.measures",
        tag="",
    )
    augmentation: str | None = setting(
        None,
        "run the networks on images that are augmented alike for both: by simclr, supervised or "
        "own, as the first was trained; none shows them as they are",
        choices=("none", *AUGMENTATIONS),
        tag="{}",
        unset="read what was harvested",
    )
    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    layers_a: str | None = setting(
        None, "layers of the first network alone", tag="a-{}", metavar="PATTERN", unset=""
    )
    layers_b: str | None = setting(
        None, "layers of the second network alone", tag="b-{}", metavar="PATTERN", unset=""
    )
    common: bool = setting(False, base.COMMON, before=False)
    kernel: str = setting("linear", base.KERNEL, tag="{}")
    estimator: str = setting(
        "unbiased",
        base.ESTIMATOR,
        choices=("unbiased", "biased"),
        decides=False,
        tag="{}",
    )
    stderr: bool = setting(True, "standard errors of the unbiased values")
    permutations: int = setting(0, base.PERMUTATIONS, ge=0)
    batch_size: int = setting(256, "images at a time, where networks run", ge=8)
    seed: int = setting(0, "of the permutations, or of the order and augmentations of images", ge=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_kernel(self.kernel)
        check_measure(self.measure)
        base.check_batches(self.augmentation, self.permutations, self.estimator)
        if self.common and self.augmentation is not None:
            raise UsageError("common is about stores; leave it out, or augmentation")


def check_measure(measure: str) -> None:
    """Raise ``UsageError`` for a measure that has no map, naming the function that computes it."""
    if measure == "cka":
        return
    if measure in VARIANTS:
        raise UsageError(f"{measure} is the measure cka with {' '.join(VARIANTS[measure])}; say so")
    if measure not in MEASURES:
        raise UsageError(f"unknown measure {measure!r}; {choices(measure, MEASURES)}")
    function = MEASURES[measure].function
    function = inspect.unwrap(function)
    name = getattr(function, "func", function).__name__
    raise UsageError(
        f"maps of layers are of cka; for {measure}, call repsim.measures.{name} on two layers"
    )


@full_precision()
def compare(
    model_a: nn.Module,
    model_b: nn.Module,
    loader: Iterable[Any],
    *,
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    name_a: str | None = None,
    name_b: str | None = None,
    pooling: str | Mapping[str, str] = "none",
    masks: str | Mapping[str, str] = "",
    kernel: KernelLike = "linear",
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    examples: int | None = None,
    progress: Progress = notebook_bar,
) -> SimilarityMap:
    """Minibatch CKA of all pairs of layers (Nguyen et al. 2021), in one pass over the images.

    Both networks see each batch once, and each layer is reduced to its Gram matrix as it comes, so
    nothing is stored. Shuffle the loader: batches sorted by class are not samples of the whole set,
    and the value would depend on the batch size; the map has a note where they seem to be, and
    where batches are of fewer than 32 examples, too few to see it. For the value of all examples at
    once, store the activations and call ``repsim.cka_map``. A ``ShuffledLoader`` shows both
    networks the same augmented images (Grigg et al. 2021, Figure 5).

    Args:
        model_a: any module that takes the loader's batches.
        model_b: the other one; may be the same object.
        loader: gives batches: images (n, ...) as tensors or arrays, tuples or lists that begin with
            them, or dictionaries by the names of the networks' arguments.
        layers_a: addresses or patterns, as for ``repsim.activations.Capture``; by default the
            layers the network names itself, or its leaf modules.
        layers_b: the same of ``model_b``.
        name_a: what to call ``model_a`` in tables and figures; by default its class.
        name_b: the same of ``model_b``.
        pooling: what is compared of each layer of both, as for ``repsim.harvest``.
        masks: entries of the batches that mark padding, as for ``repsim.harvest``.
        kernel: as in ``repsim.cka``; an RBF bandwidth is taken from each batch.
        device: where to run; by default where ``model_a`` lies.
        allow_random: compare a network that is random; otherwise it is refused.
        allow_batch: compare a network whose layers depend on the batch of an example, or on batches
            before it; otherwise it is refused.
        allow_grad: let the networks compute gradients in their forward.
        batch_axis: axis that holds the examples, as for ``repsim.harvest``.
        examples: so many at most, of a loader that does not end; batches are taken whole, and the
            first that would exceed it ends the comparison.
        progress: told the batches done, where their number is known.

    Raises:
        UsageError: a layer that a network does not have, or a batch it cannot take.
        CaptureError: a layer that was named and is never called, or has no row for each example;
            or a network that is no function of the example, see ``repsim.harvest``.
        DegenerateError: no batch of at least four images.

    Warns:
        RepsimWarning: of layers that were not named and are left out for these reasons.
    """
    target, allowed = place(model_a, device), Allowed(allow_random, allow_batch, allow_grad)
    reduce, told = PoolingRules(pooling), MaskRules(masks)
    chosen = BatchAxis.said(batch_axis, {*reduce.masks, *told.names})
    models = (model_a, model_b)
    arranged = Arranged(moved(loader, target), models, chosen, grad=allow_grad)
    a, b = (
        NetworkSide(model, layers, target, name, allowed, arranged, reduce, told)
        for model, layers, name in ((model_a, layers_a, name_a), (model_b, layers_b, name_b))
    )

    pairs = ((batch, batch) for batch in at_most(examples, placed(arranged, loader)))
    total = batches_in(loader) or 0
    return stream((a, b), pairs, total, [a.name, b.name], kernel, progress)


class Similarity(Analysis[Config]):
    """CKA of all pairs of layers of two networks, or of one with itself."""

    config_class = Config
    networks = "pair"
    result = SimilarityMap
    layer_settings = ("layers_a", "layers_b")
    leading = ("augmentation",)
    figures = ("heatmap", "curves")
    uses = ("memory", "device")

    @classmethod
    def spelled_out(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings, a variant of CKA as CKA with the kernel or estimator that makes it.

        Raises:
            UsageError: another kernel or estimator was given beside the variant.
        """
        measure = values.get("measure")
        if measure not in VARIANTS:
            return dict(values)
        key, value = VARIANTS[measure]
        found = values.get(key, value)
        if found.partition(":")[0] != value:
            raise UsageError(f"{measure} has {key} {value}, got {found}; leave out one of the two")
        return {**values, "measure": "cka", key: found}

    @property
    def prefix(self) -> str:
        return self.config.measure

    @property
    def reads_stores(self) -> bool:
        return self.config.augmentation is None

    def compute(self, inputs: Inputs, context: Context) -> SimilarityMap:
        return (self._of_stores if self.reads_stores else self._of_networks)(inputs, context)

    def _layers(self) -> dict[str, Any]:
        config = self.config
        return {
            "layers_a": config.layers_a or config.layers,
            "layers_b": config.layers_b or config.layers,
        }

    def _of_stores(self, inputs: Inputs, context: Context) -> SimilarityMap:
        config = self.config
        sources = [store["compared"] for store in inputs.stores]
        return cka_map(
            *sources,
            **self._layers(),
            kernel=config.kernel,
            stderr=config.stderr,
            permutations=config.permutations,
            seed=config.seed,
            device=context.device,
            memory=context.memory,
            progress=context.progress,
        )

    def _of_networks(self, inputs: Inputs, context: Context) -> SimilarityMap:
        config, device = self.config, find_device(context.device)
        assert config.augmentation is not None  # without one, stores are read
        augment = find_augmentation(config.augmentation, inputs)
        images = inputs.images["compared"]
        networks = [each.load() for each in inputs.extractors]
        result = compare(
            networks[0],
            networks[-1],
            ShuffledLoader(images, augment, config.batch_size, config.seed, device=device),
            **self._layers(),
            name_a=inputs.names[0],
            name_b=inputs.names[-1],
            kernel=config.kernel,
            device=device,
            progress=context.progress,
        )
        result = result if config.stderr else replace(result, stderr=None)
        return describe_shown(result, inputs, config)

    def drawing(self) -> dict[str, Any]:
        return {"estimator": self.config.estimator}

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return 3 * sizes["compared"]

    def report(self, result: SimilarityMap) -> Iterator[TextTable | str]:
        estimator = self.config.estimator
        values, diagonal = result.values(estimator), result.diagonal(estimator)
        best = result.most_similar(estimator)
        further, cells = certainty(result, estimator, best)
        places = {layer: k for k, layer in enumerate(result.layers_b)}
        # Of other layers, and of a network with itself, there is no counterpart to compare with.
        known = not result.itself and any(layer in places for layer in result.layers_a)
        rows: list[tuple[Any, ...]] = []
        for i, (layer, j) in enumerate(zip(result.layers_a, best, strict=True)):
            match = ("-", None) if j is None else (result.layers_b[j], float(values[i, j]))
            same = float(values[i, places[layer]]) if layer in places else None
            rows.append((layer, *([same] if known else []), *match, *cells[i]))
        other = "most similar other layer" if result.itself else f"most similar in {result.name_b}"
        columns = [f"{result.name_a} layer", *(["same layer"] if known else []), other, "CKA"]
        yield TextTable(map_title(result, estimator), columns + further, rows)
        if diagonal is not None and len(diagonal) > 1 and result.name_a != result.name_b:
            alike = int(identified(values, result.layers_a, result.layers_b).sum())
            yield f"{alike} of {len(diagonal)} layers are most similar to their counterpart"

    def notes(self, result: SimilarityMap) -> Iterator[str]:
        return map_notes(result, self.config.estimator)


ANALYSIS = Similarity
