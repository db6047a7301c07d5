"""Freeze the first layers of a network and train the others on labels: accuracy over depth.

    repsim transfer bigan
    repsim transfer bigan --layers 'conv*' --epochs 5 --no-untrained

For each layer, all that the network computes up to it stays as training left it, and the rest
begins anew from the weights that the run began with, under a new linear head, and is trained. The
first value, at none, has nothing frozen. Beside it stands the same network before training, frozen
up to the same layers. Runs the networks themselves: nothing needs to be harvested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, Part, TextTable
from repsim.activations.analyses.held_out import APART
from repsim.activations.capture.modules import default_layers
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.batch_statistics import BatchMeans, put
from repsim.confidence import wilson
from repsim.configuration import setting
from repsim.data import to_input
from repsim.data.apart import check_apart
from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.layers import select_layers
from repsim.probes.frozen import (
    FirstLayers,
    Frozen,
    Recipe,
    accuracy_of,
    first_layers,
    fit_rest,
    with_new_head,
)
from repsim.progress import Progress, silent
from repsim.results import ProbeCurve
from repsim.results.probes import ProbeEntry

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.training.run import Extractor

#: The layer that stands for nothing frozen.
NOTHING = "none"

#: The solver in results.
SOLVER = "transfer"

#: Images of a batch, and batches, over which an untrained network takes its statistics.
_BATCH, _BATCHES = 128, 50


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of frozen transfer."""

    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    untrained: bool = setting(True, "beside it the same network before training, frozen alike")
    epochs: int = setting(10, "passes over the images for each layer", ge=1)
    lr: float = setting(1e-3, "learning rate of Adam; falls to a hundredth from half-way", gt=0)
    batch_size: int = setting(128, "images a step", ge=2)
    seed: int = setting(0, "of the new head and the order of the images", ge=0, le=1 << 62)

    @property
    def recipe(self) -> Recipe:
        """The training of the layers that are not frozen."""
        return Recipe(self.epochs, self.lr, self.batch_size, self.seed)


def frozen_transfer(
    given: nn.Module,
    start: nn.Module,
    train: ImageSet,
    test: ImageSet,
    *,
    layers: str | Sequence[str] | None = None,
    recipe: Recipe | None = None,
    name: str = "network",
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> ProbeCurve:
    """Accuracy by the last frozen layer (Donahue et al. 2017, Table 2).

    Args:
        given: the network whose first layers are frozen, in turn up to each layer.
        start: a network of the same kind, whose other layers are trained; as a rule the same before
            training. With ``given`` itself in its place, the other layers are fine-tuned.
        train: images with labels, which the others learn from.
        test: held-out ones.
        layers: addresses or patterns; by default all that the network names, but the head.
        recipe: how the others are trained.
        name: of the network, in the result.
        device: where to compute.
        progress: told the layers done.

    Raises:
        UsageError: images without labels, no such layer, or a network without a head.
        MismatchError: the two parts share images.
    """
    check_apart(train, test, APART)
    labels, held = _labels(train), _labels(test)
    recipe = recipe or Recipe()
    chosen = [NOTHING, *select_layers(_named(given), layers, of=name)]
    begun = with_new_head(start, len(train.classes), recipe.seed)
    source = with_new_head(given, len(train.classes), recipe.seed).eval()
    x = to_input(train.images[:2])
    nothing, entries = FirstLayers((), x[0].numel()), []
    for depth, layer in enumerate(chosen):
        first = first_layers(source, layer, x) if layer != NOTHING else nothing
        frozen = Frozen.of(begun, source, first.modules)
        fit_rest(frozen, train, labels, recipe, device)
        accuracy = accuracy_of(frozen.network, test, held, device)
        low, high = wilson(accuracy, len(test))
        entries.append(
            ProbeEntry(
                network=name,
                layer=layer,
                depth=depth,
                features=first.features,
                solver=SOLVER,
                seed=recipe.seed,
                n_train=len(train),
                accuracy=accuracy,
                low=low,
                high=high,
            )
        )
        progress(depth + 1, len(chosen), layer)
    return ProbeCurve(entries, len(train.classes), len(train), len(test), SOLVER, {})


def _labels(images: ImageSet) -> Tensor:
    if images.labels is None:
        raise UsageError(f"{images.name} has no labels; the layers that are trained need them")
    return images.labels


def _named(network: nn.Module) -> list[str]:
    """The layers that a network names, but its head."""
    return [name for name in default_layers(network) if name not in ("head", "fc", "classifier")]


def before_training(extractor: Extractor | Brought, images: ImageSet) -> nn.Module:
    """The network before training, which normalises by statistics of the images it is to learn.

    It has none of its own: the first ones of torch are means of 0 and variances of 1.
    """
    network = extractor.untrained()
    means = BatchMeans(network)
    for part in torch.arange(len(images)).split(_BATCH)[:_BATCHES]:
        if len(part) == min(_BATCH, len(images)):
            means.update(to_input(images.images[part]))
    put(network, means.statistics())
    return network


class Transfer(Analysis[Config]):
    """Accuracy of a network with its first layers frozen and the others trained on labels."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "part that the layers which are not frozen learn from"),
        "test": Part("test", "part to score them on"),
    }
    result = ProbeCurve
    joins = True
    figures = ("curves",)
    uses = ("device", "target")

    def compute(self, inputs: Inputs, context: Context) -> ProbeCurve:
        (extractor,), (name,) = inputs.extractors, inputs.names
        train, test = inputs.images["train"], inputs.images["test"]
        begun = before_training(extractor, train)
        networks = {name: extractor.load()}
        if self.config.untrained and extractor.trained:
            networks[f"{name} (untrained)"] = begun
        curves = [
            frozen_transfer(
                network,
                begun,
                train,
                test,
                layers=self.config.layers,
                recipe=self.config.recipe,
                name=each,
                device=find_device(context.device),
                progress=context.progress,
            )
            for each, network in networks.items()
        ]
        joined = ProbeCurve.join(curves) if len(curves) > 1 else curves[0]
        record = {"train": data_provenance(train), "test": data_provenance(test)}
        record["network"] = extractor_provenance(extractor)
        return _with(joined, record)

    def join(self, results: Sequence[ProbeCurve]) -> ProbeCurve:
        return ProbeCurve.join(results)

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        """A step of training costs about three times as much as showing its images."""
        layers = 5 * (2 if self.config.untrained else 1)
        return layers * (3 * self.config.epochs * sizes["train"] + sizes["test"])

    def report(self, result: ProbeCurve) -> Iterator[TextTable | str]:
        networks = result.networks()
        table = {each: {entry.layer: entry for entry in result.of(each)} for each in networks}
        layers = list(dict.fromkeys(entry.layer for entry in result.entries))
        yield TextTable(
            f"held-out accuracy with all layers frozen up to each, n = {result.n_train:,} + "
            f"{result.n_test:,}, chance {1 / result.classes:.2f}",
            ("frozen up to", *networks),
            [(layer, *(_cell(table[each].get(layer)) for each in networks)) for layer in layers],
        )


def _cell(entry: ProbeEntry | None) -> str:
    if entry is None:
        return ""
    return f"{entry.accuracy:.3f} ({entry.low:.3f} to {entry.high:.3f})"


def _with(curve: ProbeCurve, record: Mapping[str, Any]) -> ProbeCurve:
    return ProbeCurve(
        curve.entries, curve.classes, curve.n_train, curve.n_test, curve.solver, dict(record)
    )


ANALYSIS = Transfer
