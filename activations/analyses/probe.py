"""Measure how much each layer knows about the classes.

    repsim probe simclr supervised untrained
    repsim probe mgan@features --solver lbfgs,sgd:mao2022,knn --seeds 3

Train probes for the classes on every layer's features, and score them on held-out images. Needs
the activations of both parts: repsim harvest RUN --split train --split test --pooling avg.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, Part, TextTable
from repsim.activations.analyses.held_out import check_held_out
from repsim.activations.capture.axes import LayerAxes
from repsim.activations.capture.pooling import Pooling
from repsim.activations.store.axes import stored_axes
from repsim.configuration import setting
from repsim.data.arrays import MAX_CLASSES
from repsim.devices import float64_device
from repsim.errors import DegenerateError, MismatchError, RepsimWarning, UsageError, choices
from repsim.layers import select_layers
from repsim.nullspace import RowSpace, row_space
from repsim.probes import Features, ProbeResult, probe
from repsim.probes.probe import check_solver
from repsim.probes.splits import check_fraction
from repsim.progress import Progress, notebook_bar
from repsim.results import ProbeCurve, ProbeEntry
from repsim.results.images import told_apart

if TYPE_CHECKING:
    from repsim.activations.store.parts import JoinedStore
    from repsim.activations.store.reader import ActivationStore

    Store = ActivationStore | JoinedStore

#: Parts of the features that a probe can be shown.
COMPONENTS = ("full", "row", "null")


@dataclass(frozen=True)
class ProbePlan:
    """The probes to train at every layer: each combination of these.

    Attributes:
        solvers: names, ``sgd`` and ``mlp`` also with a schedule as in ``sgd:mao2022``.
        components: ``full``, and of the layer that feeds a linear head ``row`` and ``null``, what
            the head sees of the features and what it does not.
        label_fractions: shares of each class's training examples.
        seeds: of label fraction, validation split, initialisation and permutation.
        random_labels: train each probe on permuted labels as well, as a control.
        pooling: reduction of a map before a probe sees it; steps as in harvesting, such as ``avg``
            ``grid:4`` or ``max:9000``.
        options: passed on to ``repsim.probe``: ``l2``, ``k``, ``hidden``, ``dropout``.
    """

    solvers: Sequence[str] = ("lbfgs",)
    components: Sequence[str] = ("full",)
    label_fractions: Sequence[float] = (1.0,)
    seeds: Sequence[int] = (0,)
    random_labels: bool = False
    pooling: str = "avg"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("solvers", "components", "label_fractions", "seeds"):
            if not len(getattr(self, name)):
                raise UsageError(f"no {name} were given; expected at least one")
        for solver in self.solvers:
            check_solver(*parse_solver(solver))
        for component in self.components:
            if component not in COMPONENTS:
                near = choices(component, COMPONENTS)
                raise UsageError(f"unknown component {component!r}; {near}")
        for fraction in self.label_fractions:
            check_fraction(fraction)
        Pooling.parse(self.pooling)

    def probes(self) -> list[dict[str, Any]]:
        """Every combination, as a record."""
        labels = ("true", "random") if self.random_labels else ("true",)
        keys = ("solver", "component", "label_fraction", "labels", "seed")
        each = (self.solvers, self.components, self.label_fractions, labels, self.seeds)
        return [dict(zip(keys, values, strict=True)) for values in product(*each)]


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of probes of every layer.

    Raises:
        UsageError: an unknown solver, component or reduction, or a share that cannot be.
    """

    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    solver: tuple[str, ...] = setting(
        ("lbfgs",),
        "lbfgs, logistic regression to convergence; sgd, the same on a published schedule, as in "
        "sgd:mao2022; mlp, a perceptron; ridge, in closed form; knn, the nearest neighbours",
        tag="{}",
        metavar="SOLVER[:SCHEDULE],...",
    )
    component: tuple[str, ...] = setting(
        ("full",),
        "full features, or of the layer that feeds a linear head its row and null components",
        tag="{}",
        metavar="PART,...",
    )
    label_fraction: tuple[float, ...] = setting(
        (1.0,),
        "share of each class's training examples, such as 1,0.1,0.05",
        tag="labels-{}",
        metavar="FRACTION,...",
    )
    seeds: int = setting(
        1, "repetitions with other label fractions, validation splits and initial weights", ge=1
    )
    seed: int = setting(0, "the first of the seeds", ge=0, le=1 << 62)
    random_labels: bool = setting(False, "train each probe on permuted labels too, as a control")
    l2: float | None = setting(
        None,
        "penalty of lbfgs or ridge",
        gt=0,
        unset="the best on a fifth of the training part",
    )
    k: int = setting(1, "neighbours of knn", ge=1)
    hidden: int = setting(1000, "hidden units of mlp", ge=1)
    dropout: float = setting(0.0, "dropout of mlp's hidden units", ge=0, lt=1)
    pooling: str = setting(
        "avg",
        "reduction of a map before a probe sees it: avg, its average over positions; none, every "
        "value; grid:K, averages over K x K cells; max:K, maxima that leave K features at most",
        tag="{}",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.plan()

    def plan(self) -> ProbePlan:
        """The probes of every layer."""
        return ProbePlan(
            solvers=self.solver,
            components=self.component,
            label_fractions=self.label_fraction,
            seeds=range(self.seed, self.seed + self.seeds),
            random_labels=self.random_labels,
            pooling=self.pooling,
            options={"l2": self.l2, "k": self.k, "hidden": self.hidden, "dropout": self.dropout},
        )


def probe_layers(
    train: Store,
    test: Store,
    *,
    layers: str | Sequence[str] | None = None,
    plan: ProbePlan | None = None,
    device: torch.device | str = "cpu",
    progress: Progress = notebook_bar,
) -> ProbeCurve:
    """Probes at every layer, trained on one store and scored on the other.

    Features are read from the stores in blocks; those that fit in memory, once for all probes of a
    layer.

    Args:
        train: activations of the training part, with labels.
        test: of the held-out part, by the same network.
        layers: addresses or globs; by default all, or where only components are asked for, those
            that feed a head.
        plan: which probes; by default a converged linear one.
        device: where to compute.
        progress: told the probes done.

    Raises:
        UsageError: a store without labels, pooled stores where more is asked for, or components of
            a layer that feeds no linear head.
        MismatchError: the stores share examples by id or by input, come from different networks,
            or have no class in common.
        DegenerateError: all layers are the same for every training example.

    Warns:
        RepsimWarning: a few held-out examples have the inputs of training examples, or are of
            classes that no training example has; a layer is the same for every training example
            and left out.
    """
    plan = plan or ProbePlan()
    _check_pair(train, test)
    for store in (train, test):
        _check_pooling(store, plan.pooling)
    spaces = {
        head["input"]: row_space(torch.from_numpy(head["weight"])) for head in test.heads.values()
    }
    chosen, axes = _chosen(train, layers, plan, spaces), stored_axes(train)
    _check_axes(train, axes, chosen, plan.pooling)
    for store in (train, test):
        _check_padding(store, chosen, plan.pooling)
    check_held_out(train, test)
    total, classes, unseen = len(chosen) * len(plan.probes()), 0, 0
    entries: list[ProbeEntry] = []
    constant: list[str] = []
    for layer in chosen:
        features = [_features(s, layer, plan.pooling, axes[layer], device) for s in (train, test)]
        if not features[0].varies():
            constant.append(layer)
            continue
        for found, about in _probes_of_layer(features, (train, test), plan, spaces.get(layer)):
            classes, unseen = found.classes, found.unseen
            place = train.layers.index(layer)
            entries.append(
                probe_entry(found, network=train.name, layer=layer, depth=place, **about)
            )
            progress(len(entries), total, layer)
    _tell_constant(constant, chosen, train)
    curve = _curve(entries, classes, train, test, plan)
    return replace(curve, provenance={**curve.provenance, "unseen": unseen}) if unseen else curve


def _tell_constant(constant: Sequence[str], chosen: Sequence[str], train: Store) -> None:
    """Warn of layers without a probe, which are the same for every example; refuse if all are."""
    if not constant:
        return
    said = f"of {train.path} {'is' if len(constant) == 1 else 'are'} the same for every example"
    if len(constant) == len(chosen):
        raise DegenerateError(f"{', '.join(constant)} {said}; nothing to learn from")
    warnings.warn(f"{', '.join(constant)} {said}, and left out", RepsimWarning, stacklevel=3)


def _probes_of_layer(
    features: Sequence[Features], stores: Sequence[Store], plan: ProbePlan, space: RowSpace | None
) -> Iterator[tuple[ProbeResult, dict[str, Any]]]:
    """The probes of a plan at one layer, each with its settings and number of features.

    Args:
        features: of the training and the held-out part; held while its probes are made.
        stores: of these parts.
        plan: of the probes.
        space: of the head that the layer feeds, if any.
    """
    held = [each.held() for each in features]
    labels = [torch.from_numpy(store.labels) for store in stores]
    for asked in plan.probes():
        parts = [_component(each, asked["component"], space) for each in held]
        yield _probed(parts, labels, asked, plan.options), {"features": parts[0].p, **asked}


def _curve(
    entries: list[ProbeEntry], classes: int, train: Store, test: Store, plan: ProbePlan
) -> ProbeCurve:
    """The probes as a result, with the record of their stores."""
    return ProbeCurve(
        entries=entries,
        classes=classes,
        n_train=train.n,
        n_test=test.n,
        solver=", ".join(plan.solvers),
        provenance={
            "train": train.provenance(),
            "test": test.provenance(),
            "pooling": plan.pooling,
            "options": plan.options,
        },
    )


def _probed(
    features: Sequence[Features],
    labels: Sequence[torch.Tensor],
    asked: Mapping[str, Any],
    options: Mapping[str, Any],
) -> ProbeResult:
    """A probe of a plan, from the features and labels of the training and the held-out part."""
    solver, schedule = parse_solver(asked["solver"])
    return probe(
        features[0],
        labels[0],
        test_features=features[1],
        test_labels=labels[1],
        solver=solver,  # type: ignore[arg-type]
        schedule=schedule,
        label_fraction=asked["label_fraction"],
        random_labels=asked["labels"] == "random",
        seed=asked["seed"],
        **options,
    )


def probe_entry(found: ProbeResult, **about: Any) -> ProbeEntry:
    """The entry of a probe in a curve.

    Args:
        found: the probe.
        **about: attributes of the entry that the probe does not know, such as network and layer.
    """
    return ProbeEntry(
        n_train=found.n_train,
        accuracy=found.accuracy,
        low=found.low,
        high=found.high,
        train_accuracy=found.train_accuracy,
        l2=found.l2,
        converged=found.converged,
        per_class=_by_class(found),
        history=found.history,
        **about,
    )


def _by_class(found: ProbeResult) -> tuple[float, ...]:
    """The accuracy of each class; empty where labels are other numbers than those of classes."""
    few = int(found.labels.max()) < MAX_CLASSES
    return tuple(found.per_class.tolist()) if few else ()


def parse_solver(solver: str) -> tuple[str, str | None]:
    """The solver and the schedule of ``sgd:mao2022``."""
    name, colon, schedule = solver.partition(":")
    return name, schedule if colon else None


def _check_pair(train: Store, test: Store) -> None:
    for store in (train, test):
        if store.labels is None:
            raise UsageError(f"{store.path} has no labels; probes need them")
    networks = [
        [store.provenance().get(key) for key in ("checkpoint_sha256", "weights_sha256")]
        for store in (train, test)
    ]
    if networks[0] != networks[1]:
        raise MismatchError(f"{train.path} and {test.path} come from different networks")


def _check_axes(
    store: Store, axes: Mapping[str, LayerAxes], layers: Sequence[str], pooling: str
) -> None:
    """Raise ``UsageError`` for an average of a layer whose channels are on an unknown axis."""
    unknown = [layer for layer in layers if axes[layer].channels is None]
    if unknown and Pooling(pooling).needs_axes:
        raise UsageError(
            f"layer {unknown[0]!r} of {store.name} is stored as {axes[unknown[0]].names()}, and "
            f"nothing says which axis holds its channels; say --pooling channels_last+{pooling} or "
            f"channels_first+{pooling}, or choose other layers"
        )


def _check_pooling(store: Store, pooling: str) -> None:
    """Averages can be averaged again, but what was left out does not come back."""
    kept = store.provenance().get("pooling", "none")
    again = pooling == kept and not Pooling(pooling).splits  # which changes nothing
    if pooling != "avg" and kept != "none" and not again:
        raise UsageError(
            f"{store.path} was harvested with pooling {kept}, and cannot be probed with {pooling}; "
            "harvest it with pooling none, or probe it with avg"
        )


def _check_padding(store: Store, layers: Sequence[str], pooling: str) -> None:
    """Padding that was stored with a layer would come into its averages."""
    masks = store.provenance().get("padding", {}) if Pooling(pooling).asks_for_mask else {}
    for layer in layers:
        if layer in masks:
            raise UsageError(
                f"layer {layer!r} of {store.path} was stored whole, with positions that "
                f"{masks[layer]!r} may call padding, and cannot be probed with {pooling}; harvest "
                f"it with pooling {pooling}"
            )


def _chosen(
    store: Store,
    layers: str | Sequence[str] | None,
    plan: ProbePlan,
    spaces: dict[str, RowSpace],
) -> list[str]:
    """The layers to probe; only those that feed a head have a row and a null component."""
    parts = sorted(set(plan.components) - {"full"})
    if not parts:
        return select_layers(store.layers, layers, of=store.name)
    if not spaces:
        raise UsageError(
            f"{store.name} has no linear head in its store; the {' and '.join(parts)} components "
            "need one: a network whose head is nn.Linear, with head_input the layer that feeds it, "
            "or whose input of the head was harvested, as with --layers fc@input"
        )
    chosen = list(spaces) if layers is None else select_layers(store.layers, layers, of=store.name)
    for layer in chosen:
        if layer not in spaces:
            raise UsageError(
                f"layer {layer!r} of {store.name} feeds no linear head, so it has no "
                f"{' and '.join(parts)} components; {choices(layer, spaces)}"
            )
    return chosen


class _Reduced:
    """A stored layer (n, ...) that is reduced as it is read."""

    def __init__(
        self,
        store: Store,
        layer: str,
        pooling: str,
        axes: LayerAxes,
        device: torch.device | str,
    ) -> None:
        self._layer = store[layer]
        self._reduce = Pooling(pooling)
        self._axes = axes
        self._device = device
        self.shape = (store.n, *self[:1].shape[1:])

    def __getitem__(self, rows: slice) -> torch.Tensor:
        values = torch.from_numpy(self._layer[rows]).to(self._device)
        return self._reduce(values, axes=self._axes)


def _features(
    store: Store, layer: str, pooling: str, axes: LayerAxes, device: torch.device | str
) -> Features:
    rows = _Reduced(store, layer, pooling, axes, device)
    return Features.of(rows, f"layer {layer!r} of {store.name}")


def _component(rows: Features, component: str, space: RowSpace | None) -> Features:
    """The part of the features that the head sees, the part that it does not, or all."""
    if component == "full":
        return rows
    assert space is not None
    moved = space._replace(basis=space.basis.to(rows.device))
    return rows.map(lambda x: moved.part(x.double(), component), dtype=torch.float64)


class Probe(Analysis[Config]):
    """Probes of every layer, trained on one part of the images and scored on another."""

    uses = ("device", "target")
    config_class = Config
    parts: ClassVar[Mapping[str, Part]] = {
        "train": Part("train", "part to train probes on"),
        "test": Part("test", "part to score them on"),
    }
    result = ProbeCurve
    joins = True
    figures = ("curves",)
    reads_stores = True

    @property
    def pooling(self) -> str:
        return self.config.pooling

    def compute(self, inputs: Inputs, context: Context) -> ProbeCurve:
        stores: Any = inputs.stores[0]
        return probe_layers(
            stores["train"],
            stores["test"],
            layers=self.config.layers,
            plan=self.config.plan(),
            device=float64_device(context.device),
            progress=context.progress,
        )

    def join(self, results: Sequence[ProbeCurve]) -> ProbeCurve:
        return ProbeCurve.join(results)

    def seconds(self, sizes: Mapping[str, int]) -> float:
        layers = 1 if self.config.layers else 10
        return 1 + layers * len(self.config.plan().probes()) * sizes["train"] / 4000

    def tags(self) -> dict[str, str]:
        config, found = self.config, super().tags()
        span = f"seeds-{config.seed}-{config.seed + config.seeds - 1}"
        if config.pooling == "none":
            found["pooling"] = "unpooled"
        return {
            ("seeds" if key == "seed" else key): span if key in ("seed", "seeds") else word
            for key, word in found.items()
        }

    def report(self, result: ProbeCurve) -> Iterator[TextTable | str]:
        """The layers and accuracies of every series."""
        points = [(series.label, point) for series in result.series() for point in series.points]
        seeds = max(point.seeds for _, point in points)
        stopped = not all(point.converged for _, point in points)
        rows: list[tuple[Any, ...]] = []
        for label, p in points:
            interval = f"{p.low:.3f} to {p.high:.3f}{'' if p.converged else ' *'}"
            row = (label, p.layer, p.features, p.train_accuracy, p.accuracy, interval, p.sd)
            rows.append(row if seeds > 1 else row[:-1])
        columns = ("network", "layer", "features", "train accuracy", "accuracy", "95 % interval")
        yield TextTable(
            f"held-out accuracy of {result.solver} probes, "
            f"{told_apart(result.provenance, result.n_train, result.n_test)}, "
            f"chance {1 / result.classes:.2f}" + (f", mean of {seeds} seeds" if seeds > 1 else ""),
            (*columns, "sd") if seeds > 1 else columns,
            rows,
            "* the solver stopped before it met its tolerance" if stopped else "",
        )
        if result.unseen:
            yield (
                f"{result.unseen:,} of {result.n_test:,} held-out examples are of classes that no "
                "training example has, and count as wrong"
            )


ANALYSIS = Probe
