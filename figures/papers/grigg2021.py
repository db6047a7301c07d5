"""Grigg et al. (2021): do self-supervised and supervised methods learn similar representations?

SimCLR and supervised training of one residual network on CIFAR-10, layer against layer. The points
compared are those of the paper: "odd" layers are what a residual block adds, "even" layers what it
gives. Hyperparameters, examples and the estimator are not in what is known of the paper; those here
are of Chen et al. (2020), appendix B.9, and the usual for supervised training.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy.stats import spearmanr

from repsim.activations import harvest_run
from repsim.activations.analyses.classes import compare_classes
from repsim.activations.analyses.invariance import invariance
from repsim.activations.analyses.probe import probe_layers
from repsim.activations.analyses.similarity import compare
from repsim.activations.harvesting.harvest import Plan, plan_harvest
from repsim.activations.harvesting.loaders import ImageLoader, ShuffledLoader
from repsim.activations.store.reader import ActivationStore
from repsim.data import ImageSet
from repsim.devices import find_device, float64_device
from repsim.errors import RepsimWarning
from repsim.figures.panels.heatmap import Heatmap
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers.claims import Claim, exactly, over_seeds
from repsim.figures.papers.recipe import WHERE, Analysis, Recipe, Task, Training, mean_line
from repsim.layers import select_layers
from repsim.measures import MinibatchCKA, cka, layer_identification
from repsim.measures.identification import identified
from repsim.progress import Progress
from repsim.results import ProbeCurve, ProbeEntry, Result, SimilarityMap, Table
from repsim.results.figure import FigureData, Look, Panel

#: What is changed of the presets of a scale.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {"simclr": {}, "supervised": {}},
    "small": {
        # Blocks in groups of 3, 4, 6 and 3, as in the paper's ResNet-50, at an eighth of its width.
        "simclr": {
            "split": "train[:20000]",
            "epochs": 12,
            "batch_size": 128,
            "warmup_epochs": 1,
            "depth": 34,
            "width": 8,
        },
        "supervised": {"split": "train[:20000]", "epochs": 10, "depth": 34, "width": 8},
    },
    "paper": {"simclr": {}, "supervised": {}},
}

#: Training images that probes learn from.
PROBED = {"tiny": "train[:200]", "small": "train[:10000]", "paper": "train"}

#: What networks are called in figures.
NAMES = {"simclr": "SimCLR", "supervised": "supervised", "untrained": "untrained"}

#: Measures that are asked which layers correspond, and what Kornblith et al. (2019), section 6.1,
#: have for them: per cent of the layers of ten networks of ten layers.
IDENTIFICATION = {
    "cka-biased": 99.3,
    "cka": None,
    "cka-rbf": 99.3,
    "cca": 1.4,
    "svcca": 9.9,
    "pwcca": 11.1,
    "regression": 45.4,
}

Estimator = Literal["biased", "unbiased"]

#: Numbers of examples and features of the check of the estimators.
GAUSSIANS = ((50, 5000), (256, 256), (256, 2048), (1000, 100))


class Grigg2021(Recipe):
    """Figures 1 to 5, the table of settings and the check of the estimators."""

    paper: ClassVar[str] = "grigg2021"
    title: ClassVar[str] = (
        "Grigg et al. (2021): Do self-supervised and supervised methods learn similar visual "
        "representations?"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("cifar10", "mnist")
    fewest_seeds: ClassVar[int] = 2
    differences: ClassVar[tuple[str, ...]] = (
        "Hyperparameters of the training, the number of examples and the estimator are not known "
        "of the paper: SimCLR is trained as in Chen et al. (2020), appendix B.9, supervised "
        "networks as is usual for CIFAR-10, and CKA is the unbiased estimator summed over "
        "minibatches of 256 (Nguyen et al. 2021).",
        "Invariance is measured under SimCLR's augmentation for all networks.",
        "Bands and intervals are of means over seeds; the paper shows single networks.",
    )

    @property
    def compared(self) -> str:
        """Held-out images on which layers are compared."""
        if self.scale == "small":
            return "train[40000:44000]" if self.data == "cifar10" else "test[:4000]"
        return "test[:100]" if self.scale == "tiny" else "test"

    # --- runs and results

    @cached_property
    def runs(self) -> dict[str, list[Training]]:
        """The runs by method."""
        return {
            **{name: self._trained(name, name) for name in SETTINGS[self.scale]},
            # The initialisation that SimCLR and supervised training share.
            "untrained": self._trained("untrained", "simclr", epochs=0),
        }

    def _trained(self, name: str, method: str, **changes: Any) -> list[Training]:
        """A run of a method for each seed, with the settings of the scale but for ``changes``."""
        settings = {**SETTINGS[self.scale][method], **changes}
        return [self.training(f"{name}-{seed}", method, seed, **settings) for seed in self.seeds]

    @cached_property
    def similar(self) -> dict[tuple[str, str], list[Analysis]]:
        """CKA of all layers: of two seeds of a method, and of two methods from one seed."""
        simclr, supervised = self.runs["simclr"], self.runs["supervised"]
        pairs = {
            ("simclr", "simclr"): combinations(simclr, 2),
            ("simclr", "supervised"): zip(simclr, supervised, strict=True),
            ("supervised", "supervised"): combinations(supervised, 2),
        }
        return {key: [self._compare(a, b) for a, b in runs] for key, runs in pairs.items()}

    @cached_property
    def augmented(self) -> dict[str, list[Analysis]]:
        """SimCLR against supervised on images under the augmentation of either."""
        pairs = list(zip(self.runs["simclr"], self.runs["supervised"], strict=True))
        return {
            which: [self._compare(a, b, augmentation=which) for a, b in pairs]
            for which in ("simclr", "supervised")
        }

    @cached_property
    def invariant(self) -> dict[str, list[Analysis]]:
        """CKA of two augmented copies of the images, of each run."""
        return self._of_each(self._invariance)

    @cached_property
    def classes(self) -> dict[str, list[Analysis]]:
        """CKA of each layer with the classes, of each run."""
        return self._of_each(self._classes)

    @cached_property
    def probes(self) -> dict[str, list[Analysis]]:
        """Linear probes of each run's layers."""
        return self._of_each(self._probe)

    @cached_property
    def identification(self) -> list[Analysis]:
        """What each measure makes of two SimCLR networks, in both directions."""
        return [self._identify(a, b) for a, b in combinations(self.runs["simclr"], 2)]

    @property
    def tasks(self) -> list[Task]:
        groups = [
            *self.similar.values(),
            *self.augmented.values(),
            *self.invariant.values(),
            *self.classes.values(),
            *self.probes.values(),
        ]
        return [
            *(run for runs in self.runs.values() for run in runs),
            *(task for tasks in groups for task in tasks),
            *self.identification,
        ]

    def _of_each(self, make: Callable[[Training], Analysis]) -> dict[str, list[Analysis]]:
        """An analysis of every run, by method."""
        return {method: [make(run) for run in runs] for method, runs in self.runs.items()}

    def _analysis(
        self,
        name: str,
        kind: type[Result],
        needs: list[Training],
        compute: Callable[[Progress], Result],
        settings: Mapping[str, Any] | None = None,
        *,
        times: int,
        seconds: float = 2,
        stored: Sequence[str] = (),
    ) -> Analysis:
        """An analysis that shows the images ``times`` times to a network, or costs as much, and
        leaves the activations of some splits."""

        def size() -> int:
            return sum(self._plan(run, split).bytes for run in needs for split in stored)

        return Analysis(
            self.workspace,
            name,
            kind,
            {"data": self.data, "compared": self.compared, **(settings or {})},
            needs,
            compute,
            images=times * len(self._images),
            seconds=seconds,
            stored=size,
        )

    def _plan(self, run: Training, split: str) -> Plan:
        """What a harvest of a run will store."""
        loader = ImageLoader(self.workspace.images(self.data, split), 256)
        return plan_harvest(run.build().networks["encoder"].eval(), loader, pooling="avg")

    @cached_property
    def _images(self) -> ImageSet:
        return self.workspace.images(self.data, self.compared)

    @property
    def _device(self) -> torch.device:
        return find_device(self.workspace.device)

    def _compare(self, a: Training, b: Training, augmentation: str | None = None) -> Analysis:
        def compute(progress: Progress) -> SimilarityMap:
            shown = None
            if augmentation is not None:
                shown = self.runs[augmentation][0].run.augmentation()
            return compare(
                a.run.load_extractor(),
                b.run.load_extractor(),
                ShuffledLoader(self._images, shown, device=self._device),
                name_a=a.name,
                name_b=b.name,
                device=self._device,
                progress=progress,
            )

        suffix = "" if augmentation is None else f"-augmented-{augmentation}"
        settings = {"augmentation": augmentation}
        name = f"cka-{a.name}-{b.name}{suffix}"
        return self._analysis(name, SimilarityMap, [a, b], compute, settings, times=3)

    def _invariance(self, run: Training) -> Analysis:
        augmented = self.runs["simclr"][0]

        def compute(progress: Progress) -> SimilarityMap:
            return invariance(
                run.run.load_extractor(),
                self._images,
                augmented.run.augmentation(),
                name=run.name,
                device=self._device,
                progress=progress,
            )

        needs = [run] if run is augmented else [run, augmented]
        return self._analysis(f"invariance-{run.name}", SimilarityMap, needs, compute, times=2)

    def _classes(self, run: Training) -> Analysis:
        def compute(progress: Progress) -> SimilarityMap:
            return compare_classes(
                run.run.load_extractor(),
                self._images,
                name=run.name,
                device=self._device,
                progress=progress,
            )

        return self._analysis(f"classes-{run.name}", SimilarityMap, [run], compute, times=2)

    def _probe(self, run: Training) -> Analysis:
        def compute(progress: Progress) -> ProbeCurve:
            stores = [self._harvest(run, split) for split in (PROBED[self.scale], self.held_out)]
            with stores[0] as known, stores[1] as held_out:
                return probe_layers(
                    known,
                    held_out,
                    layers=with_head(known.layers),
                    device=float64_device(self._device),
                    progress=progress,
                )

        settings = {"probed": PROBED[self.scale], "held_out": self.held_out}
        return self._analysis(
            f"probe-{run.name}",
            ProbeCurve,
            [run],
            compute,
            settings,
            times=5,
            seconds=20,
            stored=tuple(settings.values()),
        )

    def _identify(self, a: Training, b: Training) -> Analysis:
        def compute(progress: Progress) -> Table:
            records = []
            with self._harvest(a, self.compared) as one, self._harvest(b, self.compared) as other:
                for done, measure in enumerate(IDENTIFICATION):
                    progress(done, len(IDENTIFICATION), measure)
                    found = [
                        layer_identification(x, y, measure=measure, layers_a="even")
                        for x, y in ((one, other), (other, one))
                    ]
                    records.append({"measure": measure, "layers identified": 50 * sum(found)})
            return Table.of(
                "layer identification",
                records,
                units={"layers identified": "%"},
                provenance={"a": a.name, "b": b.name},
            )

        name = f"identification-{a.name}-{b.name}"
        settings = {"measures": list(IDENTIFICATION)}
        return self._analysis(
            name,
            Table,
            [a, b],
            compute,
            settings,
            times=1,
            seconds=20,
            stored=(self.compared,),
        )

    def _harvest(self, run: Training, split: str) -> ActivationStore:
        """A run's layers, averaged over positions, on a part of the images."""
        return harvest_run(
            run.run,
            self.workspace.images(self.data, split),
            pooling="avg",
            device=self._device,
            resume=True,
        )

    # --- figures

    def figures(self) -> list[FigureData]:
        return [
            self._same("simclr", "Figure 1"),
            self._different(),
            self._depth(),
            self._same("supervised", "Figure 4"),
            self._augmentations(),
            self._estimators(),
            self._identified(),
        ]

    def _maps(self, a: str, b: str) -> list[SimilarityMap]:
        return [task.load() for task in self.similar[a, b]]

    def _mean_map(self, a: str, b: str) -> SimilarityMap:
        name_b = f"other {NAMES[b]}" if a == b else NAMES[b]
        mean = SimilarityMap.average(self._maps(a, b), name_a=NAMES[a], name_b=name_b)
        return replace(mean, stderr=None)  # intervals over seeds are with the curves

    def _same(self, method: str, name: str) -> FigureData:
        mean = self._mean_map(method, method)
        pairs = len(self.similar[method, method])
        return self._figure(
            name,
            f"{NAMES[method][0].upper()}{NAMES[method][1:]} networks from two initialisations: "
            f"linear CKA of all layers, of those that residual blocks add (odd) and of those they "
            f"give (even), "
            f"{_mean_of(pairs, 'pair')}; {self._about}",
            [
                Heatmap.of(_part(mean, kind), f"{kind} layers", dots=False)
                for kind in ("all", "odd", "even")
            ],
        )

    def _different(self) -> FigureData:
        mean = self._mean_map("simclr", "supervised")
        maps = self._maps("simclr", "supervised")
        series = []
        for kind in ("even", "odd"):
            parts = [_part(each, kind) for each in maps]
            same = [_same(part) for part in parts]
            best = [np.nanmax(part.unbiased, axis=1) for part in parts]
            series += [
                mean_line(f"{kind}, most similar", best, group=kind),
                mean_line(f"{kind}, same layer", same, group=kind),
            ]
        blocks = [layer.removesuffix(".even") for layer in _part(mean, "even").layers_a]
        return self._figure(
            "Figure 2",
            "SimCLR against supervised training from the same initialisation: linear CKA of what "
            "residual blocks add (odd) and give (even), "
            f"{_mean_of(len(maps), 'seed')}; {self._about} A dot marks the supervised layer that "
            "is most similar to each of SimCLR's. Right: the diagonals, and the most similar "
            f"layers. {_BANDS}",
            [
                *(Heatmap.of(_part(mean, kind), f"{kind} layers") for kind in ("odd", "even")),
                Lines("", "block", "CKA", blocks, series, ylim=(0, 1)),
            ],
        )

    def _depth(self) -> FigureData:
        layers = _probed(self.probes["simclr"][0].load())
        probed, alike, known = [], [], []
        for method in NAMES:
            look: Look = "control" if method == "untrained" else "line"
            accuracy = [
                [100 * _entry(task.load(), layer).accuracy for layer in layers]
                for task in self.probes[method]
            ]
            probed.append(mean_line(NAMES[method], accuracy, look=look))
            alike.append(mean_line(NAMES[method], self._invariances(method), look=look))
            known.append(mean_line(NAMES[method], self._class_similarities(method), look=look))
        return self._figure(
            "Figure 3",
            "What the even layers and the head (SimCLR's projection, the supervised logits) know "
            f"and ignore. Left: accuracy of linear probes on {self.held_out}, on features averaged "
            "over positions. Middle: linear CKA of two copies of the "
            "images under SimCLR's augmentation, at the same layer. Right: linear CKA with the "
            f"classes. {_mean_of(len(self.seeds), 'seed').capitalize()}; {self._about} {_BANDS}",
            [
                Lines("linear probes", "layer", "accuracy (%)", layers, probed, ylim=(0, 100)),
                Lines("augmentation invariance", "layer", "CKA", layers, alike, ylim=(0, 1)),
                Lines("classes", "layer", "CKA", layers, known, ylim=(0, 1)),
            ],
        )

    def _augmentations(self) -> FigureData:
        series = []
        kinds = {
            "images as they are": self.similar["simclr", "supervised"],
            "SimCLR's augmentation": self.augmented["simclr"],
            "the supervised augmentation": self.augmented["supervised"],
        }
        for label, tasks in kinds.items():
            even = [_part(task.load(), "even") for task in tasks]
            series.append(mean_line(label, [_same(part) for part in even]))
        layers = list(even[0].layers_a)
        return self._figure(
            "Figure 5",
            "SimCLR against supervised training, even layers, same layer: linear CKA of held-out "
            "images as they are and under the augmentation that either was trained with, "
            f"{_mean_of(len(self.seeds), 'seed')}; {self._about} {_BANDS}",
            [Lines("", "layer", "CKA", layers, series, ylim=(0, 1))],
        )

    def _estimators(self) -> FigureData:
        """The biased estimator against its limit on independent features, and the unbiased."""
        rows = self._check
        sizes = [f"{row['n']} x {row['p']}" for row in rows]
        series = [
            Line("biased", [row["biased"] for row in rows], look="points"),
            Line("p / (n + p)", [row["limit"] for row in rows], look="published"),
            Line("unbiased", [row["unbiased"] for row in rows], look="points"),
        ]
        return self._figure(
            "Estimators",
            "CKA of two layers of independent Gaussian features, where nothing is shared: the "
            "biased estimator goes to p / (n + p) (examples x features), the unbiased to 0.",
            [Lines("", "examples x features", "CKA", sizes, series, ylim=(-0.05, 1))],
        )

    def _identified(self) -> FigureData:
        found = [task.load().column("layers identified") for task in self.identification]
        published = [math.nan if value is None else value for value in IDENTIFICATION.values()]
        chance = 100 / len(_part(self._mean_map("simclr", "simclr"), "even").layers_a)
        measures = list(IDENTIFICATION)
        return self._figure(
            "Layer identification",
            "Layers of a SimCLR network whose most similar layer in a network from another "
            "initialisation is their counterpart: even layers, averaged over positions, both "
            f"directions, {_mean_of(len(found), 'pair')}; {self.data} {self.compared}. Published: "
            "Kornblith et al. (2019), section 6.1, of ten networks of another kind; RBF at 0.8 of "
            "the median distance there, at half of it here.",
            [
                Lines(
                    "",
                    "measure",
                    "layers identified (%)",
                    measures,
                    [
                        mean_line("here", found, look="points"),
                        Line("published", published, look="published"),
                        Line("chance", [chance] * len(measures), look="chance"),
                    ],
                    ylim=(0, 102),
                )
            ],
        )

    def _figure(self, name: str, caption: str, panels: Sequence[Panel]) -> FigureData:
        return FigureData(name, caption, panels, self.provenance())

    @property
    def _about(self) -> str:
        """What similarities in a figure are of."""
        return f"{self.data} {self.compared}, unbiased."

    def _invariances(self, method: str) -> list[np.ndarray]:
        return [_at_layers(task.load()) for task in self.invariant[method]]

    def _class_similarities(self, method: str) -> list[np.ndarray]:
        return [_at_layers(task.load()) for task in self.classes[method]]

    # --- tables

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {"settings": self._settings(), "estimators": self._check}

    def _settings(self) -> list[dict[str, Any]]:
        """The settings of each method's runs, from their configurations."""
        configs = {
            NAMES[method]: runs[0].config.model_dump(mode="json")
            for method, runs in self.runs.items()
        }
        keys = dict.fromkeys(key for config in configs.values() for key in config)
        leave = {"seed", *WHERE}
        return [
            {"setting": key, **{name: config.get(key, "") for name, config in configs.items()}}
            for key in keys
            if key not in leave
        ]

    @cached_property
    def _check(self) -> list[dict[str, Any]]:
        return [gaussian_check(n, p) for n, p in GAUSSIANS]

    # --- claims

    def claims(self) -> list[Claim]:
        return [*self._on_similarity(), *self._on_depth(), *self._on_measures()]

    def _on_similarity(self) -> list[Claim]:
        maps = self._maps("simclr", "supervised")
        even, odd = ([_same(_part(each, kind)) for each in maps] for kind in ("even", "odd"))
        layers = _part(maps[0], "even").layers_a
        middle = [k for k, layer in enumerate(layers) if layer.startswith(("bg2.", "bg3."))]
        between = "SimCLR and supervised"
        return [
            over_seeds(
                "4a: odd layers differ",
                f"{between}: what blocks give is alike, what they add is not",
                "mean CKA of same layers in groups 2 and 3, even minus odd",
                [e[middle].mean() - o[middle].mean() for e, o in zip(even, odd, strict=True)],
                "above",
                0.1,
            ),
            over_seeds(
                "4b: alike at first",
                f"{between} begin alike",
                "CKA at the first even layer",
                [e[0] for e in even],
                "above",
                0.8,
            ),
            over_seeds(
                "4b: late divergence",
                f"{between} part in the last layers",
                "highest CKA at even layers of groups 2 and 3, minus that at the last",
                [e[middle].max() - e[-1] for e in even],
                "above",
                0.2,
            ),
        ]

    def _on_depth(self) -> list[Claim]:
        layers = _probed(self.probes["simclr"][0].load())
        last = len(layers) - 2  # the last even layer; the head comes after it
        middle = [k for k, layer in enumerate(layers) if layer.startswith(("bg2.", "bg3."))]
        ours, theirs = self._invariances("simclr"), self._invariances("supervised")
        known = {method: self._class_similarities(method) for method in ("simclr", "supervised")}
        claims = [
            over_seeds(
                "4c: invariance against supervised",
                "SimCLR's last layer is more invariant to augmentation than supervised training's",
                "invariance at the last even layer, SimCLR minus supervised",
                [a[last] - b[last] for a, b in zip(ours, theirs, strict=True)],
                "above",
                0.0,
            ),
            over_seeds(
                "4c: invariance comes late",
                "SimCLR's invariance is highest late",
                "SimCLR's invariance at the last even layer, minus its mean in groups 2 and 3",
                [a[last] - a[middle].mean() for a in ours],
                "above",
                0.0,
            ),
            over_seeds(
                "4d: supervised ends at the classes",
                "supervised training's last layer is far closer to the classes than SimCLR's",
                "CKA with the classes at the last even layer, supervised minus SimCLR",
                [
                    b[last] - a[last]
                    for a, b in zip(known["simclr"], known["supervised"], strict=True)
                ],
                "above",
                0.2,
            ),
            over_seeds(
                "4d: SimCLR nears the classes",
                "SimCLR comes closer to the classes with depth",
                "CKA with the classes, last even layer minus first",
                [a[last] - a[0] for a in known["simclr"]],
                "above",
                0.0,
            ),
        ]
        for method in ("simclr", "supervised"):
            curves = [task.load() for task in self.probes[method]]
            accuracy = [
                [_entry(each, layer).accuracy for layer in layers[: last + 1]] for each in curves
            ]
            claims.append(
                over_seeds(
                    f"4e: {NAMES[method]} probes rise",
                    "linear probes are the more accurate the deeper the layer",
                    "Spearman correlation of depth and accuracy over even layers",
                    [float(spearmanr(range(last + 1), each)[0]) for each in accuracy],
                    "above",
                    0.8,
                )
            )
        return claims

    def _on_measures(self) -> list[Claim]:
        maps = [_part(each, "even") for each in self._maps("simclr", "simclr")]
        shares = [
            100 * float(np.mean([_found(each.unbiased), _found(each.unbiased.T)])) for each in maps
        ]
        found = [task.load().column("layers identified") for task in self.identification]
        at = list(IDENTIFICATION).index
        checks = self._check
        return [
            over_seeds(
                "4f: layers identified",
                "CKA finds the counterpart of a layer in a network from another initialisation",
                "even layers of SimCLR identified (%), unbiased linear CKA of whole maps",
                shares,
                "above",
                70.0,
                published="99.3",
                note="published: biased linear CKA, ten networks of ten layers without shortcuts",
            ),
            over_seeds(
                "4f: CKA above CCA",
                "linear CKA finds counterparts that CCA does not",
                "layers identified (%) on averaged features, linear CKA minus CCA",
                [values[at("cka")] - values[at("cca")] for values in found],
                "above",
                0.0,
                published="97.9",
                note="published: as above",
            ),
            exactly(
                "4g: biased estimator",
                "on independent features the biased estimator is near p / (n + p)",
                f"largest distance from it, {len(checks)} sizes, means of ten draws",
                [abs(row["biased"] - row["limit"]) for row in checks],
                "below",
                0.01,
            ),
            exactly(
                "4g: unbiased estimator",
                "on independent features the unbiased estimator is near 0",
                f"largest distance from 0, {len(checks)} sizes, means of ten draws",
                [abs(row["unbiased"]) for row in checks],
                "below",
                0.02,
            ),
            exactly(
                "4g: invariance of CKA",
                "linear CKA does not change with rotation and scale",
                "largest change",
                invariance_check(),
                "below",
                1e-6,
            ),
            exactly(
                "4g: one batch",
                "minibatch CKA of one batch is the unbiased estimator",
                "largest difference",
                one_batch_check(),
                "below",
                1e-6,
            ),
        ]


# --- the estimators themselves


def _gaussians(*shapes: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def gaussian_check(n: int, p: int) -> dict[str, Any]:
    """Both estimators on two layers of independent Gaussian features, (n, p) each, and p / (n + p),
    which the biased one tends to; means of ten draws."""
    found: dict[Estimator, list[float]] = {"biased": [], "unbiased": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # that the biased one is high is the point
        for seed in range(10):
            x, y = _gaussians((n, p), (n, p), seed=seed)
            for estimator, values in found.items():
                values.append(float(cka(x, y, estimator=estimator)))
    means: dict[str, float] = {
        estimator: float(np.mean(values)) for estimator, values in found.items()
    }
    return {"n": n, "p": p, "limit": p / (n + p), **means}


def invariance_check() -> list[float]:
    """How much both estimators change when features are rotated and scaled."""
    x, y, mixed = _gaussians((200, 30), (200, 40), (30, 30))
    y[:, :30] += x
    rotated = 3.0 * x @ np.linalg.qr(mixed)[0]
    return [
        abs(float(cka(x, y, estimator=each)) - float(cka(rotated, y, estimator=each)))
        for each in ("biased", "unbiased")
    ]


def one_batch_check() -> list[float]:
    """How far minibatch CKA of a single batch is from the unbiased estimator."""
    x, y = _gaussians((128, 300), (128, 20))
    y += x[:, :20]
    engine = MinibatchCKA(["x"], ["y"])
    engine.update({"x": torch.from_numpy(x)}, {"y": torch.from_numpy(y)})
    return [abs(float(engine.compute().unbiased[0, 0]) - float(cka(x, y)))]


# --- parts of results


def with_head(layers: Sequence[str]) -> list[str]:
    """The even layers of a network, and its head where there is one."""
    return [*select_layers(layers, "even"), *(["head"] if "head" in layers else [])]


def _part(whole: SimilarityMap, kind: str) -> SimilarityMap:
    return whole.select(
        tuple(select_layers(whole.layers_a, kind)), tuple(select_layers(whole.layers_b, kind))
    )


def _same(whole: SimilarityMap) -> np.ndarray:
    """Values of the same layers on both sides."""
    found = whole.diagonal()
    assert found is not None  # both are of one architecture
    return found


def _at_layers(found: SimilarityMap) -> np.ndarray:
    """A value at each even layer and the head: of the diagonal, or of the only column."""
    rows = [found.layers_a.index(layer) for layer in with_head(found.layers_a)]
    single = len(found.layers_b) == 1
    return np.array([found.unbiased[row, 0 if single else row] for row in rows])


def _probed(curve: ProbeCurve) -> list[str]:
    """The layers of a curve, in order of depth."""
    return [entry.layer for entry in curve.of(curve.networks()[0])]


def _entry(curve: ProbeCurve, layer: str) -> ProbeEntry:
    return next(entry for entry in curve.entries if entry.layer == layer)


def _found(values: np.ndarray) -> float:
    names = [str(k) for k in range(len(values))]
    return float(identified(values, names, names).mean())


def _mean_of(count: int, what: str) -> str:
    return f"mean of {count} {what}s" if count > 1 else f"one {what}"


#: What bands and whiskers are, for captions.
_BANDS = "Bands are 95 % intervals over seeds."


RECIPE = Grigg2021
