"""Split features into what a head sees and what it cannot.

    repsim nullspace mgan
    repsim nullspace mgan:classifier --noise gaussian:0.25,gaussian:0.5 --no-layers

Split the features that feed a linear head into its row space, which its outputs depend on, and
its null space, which they cannot see; on held-out, noisy and generated images, against chance
and the untrained network. A run with several extractors gives a report for each. Runs the
networks themselves: nothing needs to be harvested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from repsim.activations.analyses import base
from repsim.activations.analyses.base import (
    Analysis,
    Context,
    Inputs,
    Part,
    TextTable,
    split_slug,
)
from repsim.activations.analyses.held_out import APART
from repsim.activations.analyses.layer_nullspace import layer_null_spaces
from repsim.activations.harvesting.brought import Brought
from repsim.activations.harvesting.calls import logits_both_ways
from repsim.activations.harvesting.heads import (
    Generated,
    evenly_generated,
    head_features,
    head_of,
    linear_head,
)
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.batch_statistics import kept
from repsim.configuration import setting
from repsim.data.apart import check_apart
from repsim.data.noise import Noise
from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.networks.heads import HEADS
from repsim.nullspace import null_space
from repsim.nullspace.as_trained import calls
from repsim.nullspace.report import judged, with_layers
from repsim.progress import Progress, notebook_bar, silent
from repsim.results import Alpha, NullSpaceReport
from repsim.results.images import told

if TYPE_CHECKING:
    from repsim.data import ImageSet
    from repsim.results import NullSpaceEntry
    from repsim.training.run import Extractor
    from repsim.training.sides import Side

#: Noise that is put on held-out images, in units of their range from -1 to 1 and in shares.
NOISES = (
    *(f"gaussian:{sd}" for sd in (0.1, 0.25, 0.5, 1.0)),
    *(f"salt-and-pepper:{share}" for share in (0.02, 0.05, 0.1, 0.2)),
)

#: Images at a time that other layers than the head are shown.
_BATCH = 50


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a null-space report.

    Raises:
        UsageError: noise that is not understood, or none that is named ``none``.
    """

    noise: tuple[str, ...] = setting(
        NOISES,
        "gaussian:SD and salt-and-pepper:SHARE, on images from -1 to 1; none for no noise",
        metavar="KIND:LEVEL,...",
        unset="four levels of each",
    )
    head: str | None = setting(
        None,
        "address of the linear head",
        before=None,
        metavar="LAYER",
        unset="head, fc or classifier, else the linear layer whose output the network returns",
    )
    control: bool = setting(True, "compare with the run's own network before training")
    layers: bool = setting(
        True, "report on the convolutions and linear layers before the head, too"
    )
    layer_images: int = setting(
        500, "images that those layers are looked at with, at most", ge=1, before=500
    )
    seed: int = setting(0, "of noise, generated images and resampling", ge=0, le=(1 << 63) - 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.noise:
            raise UsageError("noise is empty; expected such as gaussian:0.25, or none")
        for each in self.noises:
            Noise.parse(each)

    @property
    def noises(self) -> tuple[str, ...]:
        """The kinds and levels of noise; none for ``none``."""
        return () if self.noise == ("none",) else self.noise


def null_space_of_run(
    extractor: Extractor | Brought,
    train: ImageSet,
    test: ImageSet,
    *,
    head: str | None = None,
    noises: Sequence[str] = NOISES,
    control: bool = True,
    layers: bool = True,
    layer_images: int = 500,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = notebook_bar,
) -> NullSpaceReport:
    """Report on the parts of images that the head of a run's network sees, and does not see.

    Images are clean, noisy and generated. Each kind is seen with the statistics of batch
    normalisation that the extractor asks for: by default real images with those of real ones, and
    generated images with those of generated ones.

    Generated images, about as many as the held-out ones, come from the run's own generators, where
    it has some. The untrained network is the run's own before its first step, and is shown the same
    images, generated ones included.

    Args:
        extractor: a network of a run, or one from elsewhere, whose head is one linear layer.
        train: images that the probes are trained on.
        test: held-out images, which every number is of.
        head: the address of the head; by default the one that was named in a harvest, else
            ``head``, ``fc`` or ``classifier``, else the linear layer whose output is returned.
        noises: as ``Noise.parse`` reads them.
        control: whether to compare with the untrained network; a run without epochs is one, and
            has no other.
        layers: whether to report on the convolutions and linear layers before the head as well.
        layer_images: images that those are looked at with, at most: their patches are many.
        seed: of noise, generated images, resamples and random subspaces.
        device: where the networks run.
        progress: told the steps done.

    Raises:
        UsageError: the network has no linear head, or a noise that is not understood.
        MismatchError: the two parts share images.
    """
    check_apart(train, test, APART)
    parsed = [Noise.parse(noise) for noise in noises]
    trained = _Sided.of(extractor.load)
    name, linear = _head(extractor, trained.real, head, test)  # fails before anything takes long
    networks = {"trained": trained}
    if control and extractor.trained:
        networks["untrained"] = _Sided.of(extractor.untrained)
    generated = evenly_generated(extractor, len(test), seed, device=device)
    about = (layer_images if layers else 0, seed, device)
    shown = _Shown(train, test, name, generated, parsed, *about)
    step = _Steps(progress, shown.steps(len(networks)))
    step("generated images")
    reports = {}
    for name, sided in networks.items():
        report = _report(sided, extractor.label, shown, step)
        called = _calls(extractor, sided, shown)
        reports[name] = replace(report, entries=[*report.entries, *called])
    report = judged(reports["trained"], reports.get("untrained"))
    alpha = _alpha(extractor) if len(linear.weight) == 1 else []
    return replace(report, alpha=alpha, provenance=_provenance(extractor, shown))


def _head(
    extractor: Extractor | Brought, network: nn.Module, named: str | None, test: ImageSet
) -> tuple[str, nn.Linear]:
    """The address of the head of a network, and the head.

    Runs have theirs by one name. Of a network from elsewhere the harvest may have named it, and
    what it returns for a few images tells it otherwise.
    """
    if not isinstance(extractor, Brought):
        return head_of(network, named)
    shown = next(iter(ImageLoader(test, min(4, len(test)))))[0]
    return head_of(network, named or extractor.head, shown)


@dataclass(frozen=True)
class _Shown:
    """The images of a report, which are the same for each of its networks.

    Attributes:
        train: images that the probes are trained on.
        test: held-out images.
        head: address of the head of the networks.
        generated: generated images; None of a run that makes none.
        noises: of the held-out images.
        layer_images: images for the layers before the head; 0 leaves these out.
        seed: of noise, resamples and random subspaces.
        device: of the networks.
    """

    train: ImageSet
    test: ImageSet
    head: str
    generated: Generated | None
    noises: Sequence[Noise]
    layer_images: int
    seed: int
    device: torch.device | str

    def steps(self, networks: int) -> int:
        """The steps of a report with so many networks; making the images is one."""
        generated, layers = self.generated is not None, self.layer_images > 0
        return 1 + networks * (3 + generated + len(self.noises) + layers)

    def labels(self) -> tuple[Tensor | None, Tensor | None]:
        """The labels of both parts; None for both unless both have labels."""
        train, test = self.train.labels, self.test.labels
        return (None, None) if train is None or test is None else (train, test)

    def makers(self) -> Tensor | None:
        """The generator of each generated image, where there are several."""
        if self.generated is None or not int(self.generated.generator.max()):
            return None
        return self.generated.generator


class _Steps:
    """Progress by steps: each call reports one more."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, what: str) -> None:
        self._done += 1
        self._progress(self._done, self._total, what)


def _provenance(extractor: Extractor | Brought, shown: _Shown) -> dict[str, Any]:
    """The record of a report: its network, its images and their noise."""
    record = extractor_provenance(extractor)
    if "batch_statistics" in record and not isinstance(extractor, Brought):
        record["batch_statistics"] = extractor.statistics
    layer_images = shown.layer_images and min(len(shown.test), _whole(shown.layer_images))
    return {
        "network": record,
        "train": data_provenance(shown.train),
        "test": data_provenance(shown.test),
        "noises": [str(noise) for noise in shown.noises],
        "generated": 0 if shown.generated is None else len(shown.generated.images),
        "layer_images": layer_images,
        "seed": shown.seed,
        **({} if shown.head in HEADS else {"head": shown.head}),
    }


@dataclass(frozen=True)
class _Sided:
    """A network for real images, and the same with the statistics for generated ones."""

    real: nn.Module
    generated: nn.Module

    @classmethod
    def of(cls, load: Callable[[Side], nn.Module]) -> _Sided:
        return cls(load("real"), load("generated"))

    @property
    def differ(self) -> bool:
        """True if real and generated images are seen with other statistics."""
        real, generated = kept(self.real), kept(self.generated)
        return any(not value.equal(generated[name]) for name, value in real.items())


def _report(networks: _Sided, name: str, shown: _Shown, step: _Steps) -> NullSpaceReport:
    """The report on one network."""
    report = _of_head(networks, name, shown, step)
    if shown.layer_images:
        report = with_layers(report, _of_layers(networks, shown))
        step("other layers")
    return report


def _of_head(networks: _Sided, name: str, shown: _Shown, step: _Steps) -> NullSpaceReport:
    """The report on the features that feed the head."""
    network, seed = networks.real, shown.seed
    same: dict[str, Any] = {"head": shown.head, "device": shown.device}

    def features(images: Any, what: str, noise: Noise | None = None) -> Tensor:
        found = head_features(network, images, **same, noise=noise, seed=seed, progress=silent)
        step(what)
        return found

    head, loader = linear_head(network, shown.head), ImageLoader(shown.test, 256)
    known = features(ImageLoader(shown.train, 256), "training images")
    held = features(loader, "held-out images")
    noisy = {noise.name: features(loader, noise.name, noise) for noise in shown.noises}
    made = alike = None
    if shown.generated is not None:
        images = shown.generated.images
        made = head_features(networks.generated, images, **same, progress=silent)
        if networks.differ:
            alike = head_features(network, images, **same, progress=silent)
        step("generated images")
    labels, test_labels = shown.labels()
    report = null_space(
        known,
        head.weight,
        head.bias,
        labels=labels,
        test_features=held,
        test_labels=test_labels,
        generated=made,
        generated_labels=shown.makers(),
        generated_alike=alike,
        noisy=noisy,
        seed=seed,
        name=name,
    )
    step("statistics and probes")
    known_as = () if test_labels is None else shown.test.classes
    return replace(report, examples=report.examples.named(known_as))


def _of_layers(networks: _Sided, shown: _Shown) -> list[NullSpaceEntry]:
    """Entries on the layers before the head, sorted by layer."""
    images, whole = shown.layer_images, _whole(shown.layer_images)
    batch, (_, labels) = min(_BATCH, images), shown.labels()
    some = ImageLoader(shown.test, batch, stop=whole // batch)
    classes = None if labels is None else labels[:whole]
    found = layer_null_spaces(
        networks.real, some, labels=classes, device=shown.device, progress=silent
    )
    if shown.generated is None:
        return found
    seen = _spread(shown.generated.images, images)
    apart = layer_null_spaces(networks.generated, seen, device=shown.device, progress=silent)
    return _by_layer([*found, *(replace(each, group="generated") for each in apart)])


def _calls(extractor: Extractor | Brought, networks: _Sided, shown: _Shown) -> list[NullSpaceEntry]:
    """Entries on the images that a discriminator calls real, as reported and as trained."""
    generated = shown.generated
    if isinstance(extractor, Brought) or generated is None:
        return []
    run = extractor.run
    if run.judge != extractor.name or not run.has_sides:
        return []
    config: Any = run.config
    found = logits_both_ways(
        {"real": networks.real, "generated": networks.generated},
        {"real": shown.test.inputs(), "generated": generated.images},
        config.batch_size // config.accumulate,
        together=config.passes == "together",
        seed=shown.seed,
        device=shown.device,
    )
    return calls({"all": found["real"], "generated": found["generated"]})


def _by_layer(entries: Sequence[NullSpaceEntry]) -> list[NullSpaceEntry]:
    """Sort entries of several groups by layer, in the order in which the layers come."""
    layers = list(dict.fromkeys(each.layer for each in entries))
    return sorted(entries, key=lambda each: layers.index(each.layer))


def _whole(images: int) -> int:
    """The most images, of so many, that fill their batches."""
    return images - images % min(_BATCH, images)


def _spread(images: Tensor, n: int) -> Tensor:
    """At most ``n`` images, evenly from all."""
    return images[:: -(-len(images) // n)]


def _alpha(extractor: Extractor | Brought) -> list[Alpha]:
    """α after each epoch up to the epoch of the extractor, where training recorded it."""
    if isinstance(extractor, Brought):
        return []
    rows = extractor.run.metrics()
    keys = [f.name for f in fields(Alpha) if f.default is MISSING]
    if not rows or any(key not in rows[0] for key in keys):
        return []
    last = math.inf if extractor.epoch is None else extractor.epoch
    return [
        Alpha(**{key: row[key] for key in keys}, alpha_batches=row.get("alpha_batches", math.nan))
        for row in rows
        if row["epoch"] <= last
    ]


class Nullspace(Analysis[Config]):
    """The report on the head of each network, and bars of all of them."""

    uses = ("device", "target")
    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part(None, "part to train probes on"),
        "test": Part("test", "part to report on"),
    }
    result = NullSpaceReport
    layer_settings = ()
    figures = ("strips", "histogram", "noise", "alpha", "layers")
    joint_figures = ("bars",)
    style = "page"

    def compute(self, inputs: Inputs, context: Context) -> NullSpaceReport:
        config = self.config
        return null_space_of_run(
            inputs.extractors[0],
            inputs.images["train"],
            inputs.images["test"],
            head=config.head,
            noises=config.noises,
            control=config.control,
            layers=config.layers,
            layer_images=config.layer_images,
            seed=config.seed,
            device=find_device(context.device),
            progress=context.progress,
        )

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        networks = 2 if self.config.control else 1
        return networks * (sizes["train"] + (2 + len(self.config.noises)) * sizes["test"])

    def seconds(self, sizes: Mapping[str, int]) -> float:
        return 10.0

    def split_tags(self, splits: Mapping[str, str | None]) -> list[str]:
        return [
            split_slug(split) if part == "train" else f"{part}-{split_slug(split)}"
            for part, split in splits.items()
            if split and split != self.parts[part].usual
        ]

    def content(self, results: Sequence[NullSpaceReport]) -> list[dict[str, Any]]:
        return [report.to_dict() for report in results]

    def report_all(self, results: Sequence[NullSpaceReport]) -> Iterator[TextTable | str]:
        for k in range(0, len(results), 2):  # of more, a terminal has no room
            yield _summary(results[k : k + 2])
        for report in results:
            if any(each.quantity == "noise_share" for each in report.entries):
                yield _noise(report)
            if report.claims:
                yield _verdicts(report)

    def notes(self, result: NullSpaceReport) -> Iterator[str]:
        under = result.provenance["network"].get("batch_statistics")
        if under is not None:
            yield f"{result.name}: {_UNDER[under]}"
        if (head := result.provenance.get("head")) is not None:
            yield f"{result.name}: the head is {head!r}"
        if any(math.isnan(row.alpha_batches) for row in result.alpha):
            yield f"{result.name}: α over training is of mixed batch statistics, at least in part"


#: Words on the batch statistics of a report.
_UNDER = {
    "own": "real and generated images each with the batch statistics of their own side",
    "real": "all images with the batch statistics of real ones",
    "generated": "all images with the batch statistics of generated ones",
    "mixed": "mixed batch statistics, of real and generated images together",
}


def _summary(reports: Sequence[NullSpaceReport]) -> TextTable:
    """Each network with its intervals, chance and the untrained one; a row a quantity."""
    ranks = [(f"{report.rank} / {report.dim}", "", "") for report in reports]
    rows = [("rank of the head / features", *(cell for each in ranks for cell in each))]
    summaries = [dict(report.summary()) for report in reports]
    for name, *_ in reports[0].SUMMARY:
        if any(name in each for each in summaries):
            rows.append((name, *(cell for each in summaries for cell in _cells(each.get(name)))))
    columns = [title for report in reports for title in (report.name, "chance", "untrained")]
    shown = {told(report.provenance, report.n) for report in reports}
    of = f", {shown.pop()}" if len(shown) == 1 else ""
    title = f"row space and null space{of}"
    return TextTable(title, ("", *columns), rows)


def _noise(report: NullSpaceReport) -> TextTable:
    """The row space's share of what each noise does, as it is and about its mean."""
    rows = []
    for entry in report.entries:
        if (entry.quantity, entry.part) == ("noise_share", "row"):
            centred = report.find("noise_share_centred", "row", entry.group)
            shift = report.value("noise_shift", "full", entry.group)
            shares = (cell for each in (entry, centred) for cell in _cells(each)[:2])
            rows.append((entry.group, *shares, _number(shift)))
    columns = ("noise", "share", "chance", "centred", "chance", "shift of all")
    return TextTable(f"noise in the row space of {report.name}", columns, rows)


def _verdicts(report: NullSpaceReport) -> TextTable:
    """The verdict on each claim, by the interval of a number; the result has whole sentences."""
    rows = []
    for each in report.claims:
        if each.claim == "noise":  # has a table of its own
            continue
        value, _, control = _cells(report.find(each.quantity, each.part, each.group))
        group = {"all": "", "clean": ""}.get(each.group, f", {each.group}")
        bound = "" if math.isnan(each.against) else f"{each.side} {_number(each.against)}"
        name = f"{each.quantity.replace('_', ' ')}, {each.part}{group}"
        rows.append((each.claim, name, value, bound, control, each.verdict))
    columns = ("claim", "number", "value", "to be", "untrained", "verdict")
    return TextTable(f"claims of Mao et al. on {report.name}", columns, rows)


def _cells(entry: NullSpaceEntry | None) -> tuple[str, str, str]:
    if entry is None:
        return "-", "-", "-"
    ends = [_number(end) for end in (entry.low, entry.high)]
    interval = "" if "-" in ends else f" ({ends[0]} to {ends[1]})"
    return _number(entry.value) + interval, _number(entry.chance), _number(entry.control)


def _number(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.3f}" if 1e-3 <= abs(value) < 1000 or value == 0 else f"{value:.2e}"


ANALYSIS = Nullspace
