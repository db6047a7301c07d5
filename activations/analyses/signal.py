"""Measure the bits that a layer adds about labels, beyond another layer.

    repsim signal cnn --target left
    repsim signal gan --of generated
    repsim signal simclr --layers pooled
    repsim signal simclr --layers pooled --given bg1.b0.even

I(y; layer | given) = H(y | given) - H(y | given, layer), each entropy being the held-out
cross-entropy of a converged linear probe; y are labels, or real against generated images. By
default of the right half of an image given the left half, as the network halves has them; of
other networks name the layer. Runs the networks themselves: nothing needs to be harvested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, Part, TextTable
from repsim.activations.analyses.held_out import APART
from repsim.activations.harvesting.features import BATCH, layer_features
from repsim.activations.harvesting.heads import evenly_generated
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.configuration import setting
from repsim.data.apart import check_apart
from repsim.data.sets import find_set
from repsim.data.splits import Split
from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.layers import select_layers
from repsim.probes.signal import Signal, measured_signal
from repsim.progress import Progress, notebook_bar, silent
from repsim.results import Table
from repsim.results.images import told_apart

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.training.run import Extractor
    from repsim.training.sides import Side


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of the bits that a layer adds."""

    layers: str = setting("right", "the layer, or several side by side", tag="{}", metavar="LAYER")
    given: str | None = setting(
        None,
        "the layers before it; none for none",
        metavar="LAYER",
        unset="left, where the network has it; else none",
    )
    of: Literal["labels", "generated"] = setting(
        "labels", "labels of the images, or real against generated images of the run"
    )
    seed: int = setting(0, "of the validation part and of generated images", ge=0, le=(1 << 62))

    def identity(self) -> dict[str, Any]:
        """Every setting that decides the result; unset, the layers before are called left."""
        return {**super().identity(), "given": self.given or "left"}

    def __post_init__(self) -> None:
        super().__post_init__()
        if both := set(_names(self.layers)) & set(_names(self.given or "none")):
            raise UsageError(
                f"{min(both)} is in layers and in given; a layer adds nothing to itself"
            )

    def of_network(self, extractor: Extractor | Brought) -> Config:
        """The settings with the layers before spelled out: the left half, where there is one.

        Raises:
            UsageError: the network has no right half, and no other layer was named.
        """
        if self.given is not None and self.layers != "right":
            return self
        halves = {"left", "right"} & dict(extractor.load().named_modules()).keys()
        if self.layers == "right" and "right" not in halves:
            raise UsageError(
                f"{extractor.label} has no layer 'right'; name the layer whose bits are measured, "
                "as in --layers head, and with --given LAYER those before it"
            )
        return replace(self, given=self.given or ("left" if "left" in halves else "none"))


def signal_of_run(
    extractor: Extractor | Brought,
    train: ImageSet,
    test: ImageSet,
    config: Config | None = None,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = notebook_bar,
) -> Signal:
    """Bits that a layer of a run's network adds, beyond earlier layers.

    Args:
        extractor: the network.
        train: images that probes learn from.
        test: held-out images.
        config: the layers, and labels or real against generated images.
        device: where the network runs.
        progress: told the images done.

    Raises:
        UsageError: no such layer, images without labels, or a run that generates no images.
        MismatchError: the two parts share images.
    """
    config = config or Config()
    known, held = shown_of_run(extractor, train, test, config, device=device, progress=progress)
    return measured(known, held, config.seed)


@dataclass(frozen=True)
class Shown:
    """Features and labels of a part of the images.

    Attributes:
        layers: (n, p) features that are added.
        given: (n, q) earlier ones; None for none.
        labels: (n,) int64; 1 for real and 0 for generated images.
    """

    layers: Tensor
    given: Tensor | None
    labels: Tensor


def measured(known: Shown, held: Shown, seed: int) -> Signal:
    """The bits that layers add, by probes that learn from one part and are judged on another."""
    return measured_signal(
        known.layers,
        known.labels,
        held.layers,
        held.labels,
        given=known.given,
        test_given=held.given,
        seed=seed,
    )


def shown_of_run(
    extractor: Extractor | Brought,
    train: ImageSet,
    test: ImageSet,
    config: Config,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> tuple[Shown, Shown]:
    """The features and labels that ``signal_of_run`` measures, of both parts.

    Args, errors: as of ``signal_of_run``.
    """
    check_apart(train, test, APART)
    config = config.of_network(extractor)
    made: Sequence[Tensor | None] = (None, None)
    if config.of == "generated":
        made = _generated(extractor, (len(train), len(test)), config.seed, device)
    shown = partial(_shown, extractor, config=config, device=device, progress=progress)
    known, held = (shown(part, images) for part, images in zip((train, test), made, strict=True))
    return known, held


def _shown(
    extractor: Extractor | Brought,
    images: ImageSet,
    generated: Tensor | None,
    *,
    config: Config,
    device: torch.device | str,
    progress: Progress,
) -> Shown:
    """A part of the images, and generated ones if any, as a network sees them.

    Each with the statistics of batch normalisation of its own side.
    """
    layers, given = _names(config.layers), _names(config.given or "none")
    shown: dict[Side, Any] = {"real": ImageLoader(images, BATCH)}
    labels = images.labels
    if generated is not None:
        shown["generated"] = generated
        labels = torch.cat([torch.ones(len(images)), torch.zeros(len(generated))]).long()
    if labels is None:
        raise UsageError(f"{images.name} has no labels; expected them, or --of generated")
    found = [
        layer_features(
            extractor.load(side), each, [*layers, *given], device=device, progress=progress
        )
        for side, each in shown.items()
    ]
    rows = {layer: torch.cat([part[layer] for part in found]) for layer in found[0]}
    before = _beside(rows, given) if given else None
    return Shown(_beside(rows, layers), before, labels)


def _beside(rows: Mapping[str, Tensor], layers: Sequence[str]) -> Tensor:
    """The rows of some layers beside each other."""
    return torch.cat([rows[layer] for layer in select_layers(rows, layers)], 1)


def _check_alike(inputs: Inputs) -> None:
    """Raise ``UsageError`` where probes would learn from pairs of another kind than they meet.

    Their cross-entropy is then no bound of an entropy: it may exceed that of the labels.
    """
    named = None if inputs.data is None else find_set(inputs.data)
    bases = {Split.parse(images.split).base for images in inputs.images.values()}
    if named is not None and named.shifts and "train" in bases and len(bases) > 1:
        raise UsageError(
            f"{named.name} is drawn otherwise in {' and '.join(sorted(bases - {'train'}))} than in "
            "train, and bits are of one distribution; name the data with clean=false, whose splits "
            f"are alike: --data {named.alike().name}"
        )


def _names(layers: str) -> list[str]:
    return [] if layers == "none" else [each.strip() for each in layers.split(",")]


def _generated(
    extractor: Extractor | Brought,
    sizes: Sequence[int],
    seed: int,
    device: torch.device | str,
) -> list[Tensor]:
    """Generated images, as many as each part has real ones; of all generators alike."""
    total = sum(sizes)
    found = evenly_generated(extractor, total, seed, device=device)
    if found is None:
        raise UsageError(f"{extractor.label} generates no images; leave out --of generated")
    generators = int(found.generator.max()) + 1
    in_turn = torch.arange(len(found.images)).view(generators, -1).T.flatten()
    return list(found.images[in_turn[:total]].split(list(sizes)))


def table_of(found: Signal, config: Config, inputs: Inputs) -> Table:
    """The bits of a network as the one row of a table."""
    (extractor,) = inputs.extractors
    record = {"network": inputs.names[0], "layers": config.layers, "given": config.given}
    return Table.of(
        "signal",
        [{**record, "of": config.of, **asdict(found)}],
        units=dict.fromkeys(("value", "low", "high", "labels", "before", "after"), "bits"),
        provenance={
            "network": extractor_provenance(extractor),
            "train": data_provenance(inputs.images["train"]),
            "test": data_provenance(inputs.images["test"]),
        },
    )


class SignalOf(Analysis[Config]):
    """The bits that a layer of each network adds about labels."""

    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "part to train probes on"),
        "test": Part("test", "part to score them on"),
    }
    result = Table
    figures = ("table",)
    uses = ("device", "target")

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,) = inputs.extractors
        _check_alike(inputs)
        config = self.config.of_network(extractor)
        found = signal_of_run(
            extractor,
            inputs.images["train"],
            inputs.images["test"],
            config,
            device=find_device(context.device),
            progress=context.progress,
        )
        return table_of(found, config, inputs)

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return sum(sizes.values()) * (2 if self.config.of == "generated" else 1)

    def seconds(self, sizes: Mapping[str, int]) -> float:
        return 2 + sizes["train"] / 1000

    def report(self, result: Table) -> Iterator[TextTable | str]:
        (row,) = result.rows()
        of = "labels" if self.config.of == "labels" else "real and generated images"
        yield TextTable(
            f"bits about {of} that {row['layers']} adds to {row['given']}, "
            f"{told_apart(result.provenance, row['n_train'], row['n_test'])}",
            ("network", "signal", "95 % interval", "labels", "given", "with it"),
            [
                (
                    row["network"],
                    row["value"],
                    f"{row['low']:.3f} to {row['high']:.3f}",
                    row["labels"],
                    row["before"],
                    row["after"],
                )
            ],
            "" if row["converged"] else "a solver stopped before it met its tolerance",
        )


ANALYSIS = SignalOf
