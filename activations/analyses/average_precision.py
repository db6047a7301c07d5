"""Judge a network on images with several labels each, by mean average precision.

    repsim average-precision bigan --data scenes
    repsim average-precision mine --data photos.npz --target tags --layers body.1,body.3

Labels are rows of zeros and ones. The first value trains a linear classifier alone, on the last of
the layers, as it chooses its penalty on a validation part; the others train the network too, beyond
each of the layers and all of it, from the weights that it has, to the epoch that is best on that
part. An analogue of the classification of PASCAL VOC (Donahue et al. 2017, Table 3: fc8, fc6-8 and
all). Runs the networks themselves: nothing needs to be harvested.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, Part, TextTable
from repsim.activations.capture.modules import default_layers
from repsim.activations.harvesting.features import BATCH, layer_features
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.configuration import setting
from repsim.data import to_input
from repsim.data.apart import check_apart
from repsim.devices import find_device, float64_device
from repsim.errors import UsageError
from repsim.layers import select_layers
from repsim.networks.heads import HEADS
from repsim.probes.features import Features
from repsim.probes.frozen import Frozen, Recipe, first_layers, fit_rest, logits_of
from repsim.probes.several import (
    Best,
    Reading,
    average_precisions,
    check_labels,
    fit_several,
    mean_average_precision,
)
from repsim.progress import Progress, silent
from repsim.results import Table

if TYPE_CHECKING:
    from repsim.data import ImageSet

#: The end of a refusal of two parts that share images.
_APART = "choose another --split, --validation-split or --test-split"

#: The layer that stands for nothing frozen, and the words for what is trained.
NOTHING, CLASSIFIER, ALL = "none", "classifier", "all"


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a judgement by average precision."""

    layers: str | None = setting(
        None,
        "layers up to which the network stays as it is, in turn; the classifier reads the last",
        tag="{}",
        metavar="PATTERN",
        unset="the middle one and the last",
    )
    l2: float | None = setting(
        None, "penalty of the linear classifier", gt=0, unset="the best on the validation part"
    )
    epochs: int = setting(10, "passes over the images where the network is trained too", ge=1)
    lr: float = setting(1e-3, "learning rate of Adam; falls to a hundredth from half-way", gt=0)
    batch_size: int = setting(128, "images a step", ge=2)
    seed: int = setting(0, "of the new classifiers and the order of the images", ge=0, le=1 << 62)

    @property
    def recipe(self) -> Recipe:
        """The training of the layers that are not frozen."""
        return Recipe(self.epochs, self.lr, self.batch_size, self.seed)


@dataclass(frozen=True)
class Parts:
    """Images with zeros and ones: to learn from, to choose by, and to be judged on."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        check_apart(self.train, self.test, _APART)
        check_apart(self.train, self.validation, _APART)
        check_apart(self.validation, self.test, _APART)
        for part in (self.train, self.validation):
            check_labels(several(part), part.classes, f"{part.name} {part.split}")


def several(images: ImageSet) -> Tensor:
    """The rows of zeros and ones of the chosen target, (n, k).

    Raises:
        UsageError: it has none, or one class an image.
    """
    target = images.target
    if target is None or target.is_class:
        found = "no labels" if target is None else f"one class an image in target {target.name!r}"
        names = [each.name for each in images.targets if not each.is_class]
        instead = f"choose {' or '.join(names)} with --target" if names else "choose another --data"
        raise UsageError(f"{images.name} has {found}; expected rows of zeros and ones: {instead}")
    return target.values


@dataclass(frozen=True)
class Judged:
    """Average precisions on the test part.

    Attributes:
        trained: the classifier alone, all, or the layers after one.
        frozen: the last layer that stayed as it was.
        precisions: of each class; NaN of one without a positive.
        choice: made on the validation part, in words.
    """

    trained: str
    frozen: str
    precisions: list[float]
    choice: str

    @property
    def mean(self) -> float:
        """Over the classes that have a positive."""
        return float(np.nanmean(self.precisions))


def judge_several(
    network: nn.Module,
    parts: Parts,
    *,
    layers: str | Sequence[str] | None = None,
    l2: float | None = None,
    recipe: Recipe | None = None,
    name: str = "network",
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> list[Judged]:
    """Average precisions of a classifier alone, with the last layers, and with all.

    Args:
        network: any that takes images.
        parts: the images.
        layers: addresses or patterns; by default the middle one that the network names, and the
            last but the head.
        l2: penalty of the linear classifier; by default chosen on the validation part.
        recipe: how layers that are not frozen are trained.
        name: of the network, in messages.
        device: where to compute.
        progress: told the values done.

    Raises:
        UsageError: no such layer, or no layer at all.
    """
    chosen = _chosen(network, layers, name)
    *others, last = chosen
    found = [_alone(network, last, parts, l2, device)]
    progress(1, len(chosen) + 1, last)
    source = copy.deepcopy(network).cpu().eval()
    for done, layer in enumerate([*reversed(others), NOTHING], start=2):
        found.append(_trained(source, layer, last, parts, recipe or Recipe(), device))
        progress(done, len(chosen) + 1, layer)
    return found


def _chosen(network: nn.Module, layers: str | Sequence[str] | None, name: str) -> list[str]:
    named = [each for each in default_layers(network) if each not in HEADS]
    if layers is not None:
        return list(select_layers(named, layers, of=name))
    if not named:
        raise UsageError(f"{name} names no layer but its head; expected one for a classifier")
    return list(dict.fromkeys([named[(len(named) - 1) // 2], named[-1]]))


def _alone(
    network: nn.Module, layer: str, parts: Parts, l2: float | None, device: torch.device | str
) -> Judged:
    """A linear classifier on a layer of a network that stays as it is."""
    train, validation, test = _features(network, layer, parts, device)
    labels, held = several(parts.train), several(parts.validation)
    fitted = fit_several(train, labels, validation, held, l2=l2).fitted
    scores = torch.cat([fitted.logits(block) for _, block in test.blocks()]).cpu()
    precisions = average_precisions(scores, several(parts.test))
    return Judged(CLASSIFIER, layer, precisions, f"l2 {fitted.l2:.3g}")


def _features(
    network: nn.Module, layer: str, parts: Parts, device: torch.device | str
) -> list[Features]:
    """Features of the three parts, which are shown as one: a network is checked once."""
    each = (parts.train, parts.validation, parts.test)
    joined = replace(
        parts.train,
        images=torch.cat([part.images for part in each]),
        targets=(),
        ids=tuple(name for part in each for name in part.ids),
        chosen="",
    )
    found = layer_features(network, ImageLoader(joined, BATCH), [layer], device=device)[layer]
    at = float64_device(find_device(str(device)))
    return [Features.of(rows.to(at)) for rows in found.split([len(part) for part in each])]


def _trained(
    network: nn.Module,
    frozen: str,
    last: str,
    parts: Parts,
    recipe: Recipe,
    device: torch.device | str,
) -> Judged:
    """A network on the CPU trained beyond a layer, or all of it, with a classifier on the last."""
    labels, held = several(parts.train), several(parts.validation)
    x = to_input(parts.train.images[:2])
    features = first_layers(network, last, x).features
    reading = Reading(network, last, features, labels.shape[1], recipe.seed)
    stay = first_layers(network, frozen, x).modules if frozen != NOTHING else ()
    given = Frozen.of(reading, reading, [f"network.{each}" for each in stay])
    best = Best(given.network)

    def judge(epoch: int) -> None:
        scores = logits_of(given.network, parts.validation, device)
        best.offer(epoch, mean_average_precision(scores, held))

    fit_rest(given, parts.train, labels, recipe, device, after_epoch=judge)
    best.restore()
    scores = logits_of(given.network, parts.test, device)
    trained = ALL if frozen == NOTHING else f"after {frozen}"
    precisions = average_precisions(scores, several(parts.test))
    return Judged(trained, frozen, precisions, f"epoch {best.epoch}")


class AveragePrecision(Analysis[Config]):
    """Mean average precision on images with several labels each."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "part to learn from"),
        "validation": Part("validation", "part to choose penalties and epochs by"),
        "test": Part("test", "part to be judged on"),
    }
    result = Table
    figures = ("table",)
    uses = ("device", "target")

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,), (name,) = inputs.extractors, inputs.names
        parts = Parts(*(inputs.images[part] for part in self.parts))
        found = judge_several(
            extractor.load(),
            parts,
            layers=self.config.layers,
            l2=self.config.l2,
            recipe=self.config.recipe,
            name=name,
            device=find_device(context.device),
            progress=context.progress,
        )
        record: dict[str, Any] = {part: data_provenance(inputs.images[part]) for part in self.parts}
        return _table(name, found, parts, {**record, "network": extractor_provenance(extractor)})

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        """A step of training costs about three times as much as showing its images."""
        epoch = 3 * sizes["train"] + sizes["validation"]
        return sum(sizes.values()) + 2 * (self.config.epochs * epoch + sizes["test"])

    def report_all(self, results: Sequence[Table]) -> Iterator[TextTable | str]:
        rows = [row for result in results for row in result.rows()]
        columns = ("network", "trained", "mAP", "chance", "chosen")
        heads = ("network", "trained", "mAP (%)", "chance (%)", "chosen")
        yield TextTable(
            "mean average precision of several labels at once",
            heads,
            [[row[column] for column in columns] for row in rows],
        )


def _table(name: str, found: Sequence[Judged], parts: Parts, record: Mapping[str, Any]) -> Table:
    """Average precisions in per cent, the mean first and then those of the classes."""
    classes = [f"AP of {each}" for each in parts.test.classes]
    chance = 100 * float(several(parts.test).double().mean())
    rows = [
        {
            "network": name,
            "trained": each.trained,
            "mAP": 100 * each.mean,
            "chance": chance,
            "chosen": each.choice,
            **{key: 100 * value for key, value in zip(classes, each.precisions, strict=True)},
        }
        for each in found
    ]
    return Table.of(
        "average precision",
        rows,
        units=dict.fromkeys(("mAP", "chance", *classes), "%"),
        descriptions={
            "trained": "on the training part: the classifier alone, the layers after one, or all",
            "mAP": "mean of the average precisions of the classes on the test part",
            "chance": "share of ones, the average precision of scores that say nothing",
            "chosen": "on the validation part: the penalty of the classifier, or the epoch",
        },
        provenance=record,
    )


ANALYSIS = AveragePrecision
