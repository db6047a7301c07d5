"""Mao et al. (2019, 2022): discriminators and classifiers of GANs as feature extractors.

An M-GAN has a discriminator and a classifier that tells its generators apart. Both read images by
four convolutions, which they share, or some of them; what is learned is judged by new heads on
frozen features, and by what the old heads see of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.stats import spearmanr

from repsim.activations import harvest_run
from repsim.activations.analyses.nullspace import NOISES, null_space_of_run
from repsim.activations.analyses.probe import ProbePlan, probe_layers
from repsim.activations.harvesting.heads import head_features, linear_head
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.confidence import mean_interval
from repsim.data.size import DEFAULT_SIZE
from repsim.devices import find_device, float64_device
from repsim.figures.null_space import bars_figure, noise_figure, strips_figure
from repsim.figures.panels.diagram import ELLIPSIS, Diagram
from repsim.figures.panels.lines import Line, Lines
from repsim.figures.papers.claims import Claim, exactly, over_seeds
from repsim.figures.papers.recipe import WHERE, Analysis, Recipe, Task, Training, mean_line
from repsim.networks.describe import describe
from repsim.networks.families.dcgan import FEATURE_DIM, LATENT
from repsim.progress import Progress
from repsim.results import NullSpaceReport, ProbeCurve, ProbeEntry, Result, Table, Verdict
from repsim.results.figure import FigureData, Panel

#: What two cores carry in an hour: 100,000 images a run, in 5,000 small steps, half of the paper's
#: number. Its length is what claim 2c depends on.
_SMALL = {"split": "train[:20000]", "epochs": 5, "width": 16, "batch_size": 20, "lr": 3e-4}

#: What is changed of the presets of a scale, by image set.
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "tiny": {"digits": {}},
    "small": {
        "mnist": _SMALL,
        "cifar10": _SMALL,
    },
    "paper": {"mnist": {}, "cifar10": {}},
}

#: Convolutions that discriminator and classifier no longer share, out of four.
REMOVED = {"digits": range(5), "mnist": range(5), "cifar10": range(3)}

#: How many images heads, and the probes of the null-space report, learn from; else from all.
HEADS = {"tiny": 200}
REPORTED = {"tiny": 200, "small": 10000}

#: The two extractors, and what they are called in figures.
NAMES = {"discriminator": "D", "classifier": "C"}

#: Heads on frozen features: the paper's schedule, and logistic regression to convergence.
SOLVERS = {"sgd:mao2022": "SGD", "lbfgs": "L-BFGS"}

#: Table 2 and the text beside it: accuracy in per cent by number of convolutions removed.
PUBLISHED: dict[str, dict[str, list[float]]] = {
    "mnist": {
        "discriminator": [95.92, 94.27, 93.94, 93.65, 93.09],
        "classifier": [95.89, 95.74, 96.12, 96.17, 95.78],
        "difference": [-0.03, 1.47, 2.18, 2.52, 2.69],
    },
    "cifar10": {"difference": [-0.17, 6.23, 6.62]},
}

#: How far features are shifted along a direction, in norms of the mean feature.
SHIFTS = (0.01, 0.1, 1.0, 10.0)

#: The directions: along A⁺1, and one of the row space.
ALONG, ACROSS = "along A⁺1", "at right angles to it"


class Mao2022(Recipe):
    """Tables 1 and 2, Figures 2 and 3, the null-space report."""

    paper: ClassVar[str] = "mao2022"
    title: ClassVar[str] = (
        "Mao et al.: Discriminator and classifier of a GAN with several generators as extractors"
    )
    data_sets: ClassVar[tuple[str, ...]] = ("mnist", "cifar10")
    differences: ClassVar[tuple[str, ...]] = (
        "How shared convolutions are updated is left open by the paper: here by one step on the "
        "sum of both losses, as in the code of Hoang et al. (2018).",
        "Real and generated images pass through the discriminator apart, with batch statistics of "
        "their own.",
        "Images are padded to 32 x 32 pixels, from -1 to 1.",
        "Beside the paper's head (SGD, learning rate 2e-4, 20 epochs), which need not have "
        "converged, there is one by L-BFGS that has.",
        "Bands and intervals are of means over seeds; the paper has single runs.",
    )

    # --- runs and results

    @cached_property
    def removed(self) -> list[int]:
        """Numbers of convolutions that are not shared any more."""
        return list(REMOVED[self.data])

    @cached_property
    def runs(self) -> dict[int, list[Training]]:
        """The runs by number of convolutions removed."""
        settings = SETTINGS[self.scale][self.data]
        return {
            removed: [
                self.training(
                    f"mgan-removed-{removed}-{seed}", "mgan", seed, shared=4 - removed, **settings
                )
                for seed in self.seeds
            ]
            for removed in self.removed
        }

    @cached_property
    def untrained(self) -> list[Training]:
        """The M-GAN before training, one a seed."""
        settings = {**SETTINGS[self.scale][self.data], "epochs": 0}
        return [self.training(f"untrained-{seed}", "mgan", seed, **settings) for seed in self.seeds]

    @cached_property
    def heads(self) -> dict[tuple[str, int], list[Analysis]]:
        """New heads on the features of each extractor, by its name and the number removed."""
        return {
            (name, removed): [self._heads(run, name) for run in runs]
            for removed, runs in self.runs.items()
            for name in NAMES
        }

    @cached_property
    def controls(self) -> list[Analysis]:
        """New heads on the features of untrained discriminators."""
        return [self._heads(run, "discriminator") for run in self.untrained]

    @cached_property
    def reports(self) -> dict[str, list[Analysis]]:
        """Null-space reports of the extractors that share least."""
        last = self.removed[-1]
        return {name: [self._report(run, name) for run in self.runs[last]] for name in NAMES}

    @cached_property
    def shifts(self) -> list[Analysis]:
        """What shifts of the features do to the classifier's probabilities."""
        return [self._shift(run) for run in self.runs[self.removed[-1]]]

    @property
    def tasks(self) -> list[Task]:
        return [
            *(run for runs in self.runs.values() for run in runs),
            *self.untrained,
            *(task for tasks in self.heads.values() for task in tasks),
            *self.controls,
            *(task for tasks in self.reports.values() for task in tasks),
            *self.shifts,
        ]

    def _analysis(
        self,
        name: str,
        kind: type[Result],
        run: Training,
        compute: Callable[[Progress], Result],
        settings: Mapping[str, Any],
        **costs: Any,
    ) -> Analysis:
        common = {"data": self.data, "held_out": self.held_out}
        return Analysis(self.workspace, name, kind, {**common, **settings}, [run], compute, **costs)

    def _count(self, *splits: str) -> int:
        return sum(len(self.workspace.images(self.data, split)) for split in splits)

    def _known(self, counts: Mapping[str, int]) -> str:
        count = counts.get(self.scale)
        return self.known if count is None else f"train[:{count}]"

    def _heads(self, run: Training, extractor: str) -> Analysis:
        known, solvers = self._known(HEADS), list(SOLVERS)

        def compute(progress: Progress) -> ProbeCurve:
            stores = [
                harvest_run(
                    run.run,
                    self.workspace.images(self.data, split),
                    extractor=extractor,
                    layers="features",
                    device=self.workspace.device,
                    resume=True,
                )
                for split in (known, self.held_out)
            ]
            with stores[0] as train, stores[1] as test:
                return probe_layers(
                    train,
                    test,
                    plan=ProbePlan(solvers=solvers),
                    device=float64_device(self.workspace.device),
                    progress=progress,
                )

        return self._analysis(
            f"heads-{run.name}-{extractor}",
            ProbeCurve,
            run,
            compute,
            {"heads": known, "solvers": solvers},
            images=self._count(known, self.held_out),
            seconds=self._count(known) / 4000,
            stored=lambda: 4 * FEATURE_DIM * self._count(known, self.held_out),
        )

    def _report(self, run: Training, extractor: str) -> Analysis:
        known = self._known(REPORTED)
        noises = NOISES[1::2] if self.scale == "tiny" else NOISES

        def compute(progress: Progress) -> NullSpaceReport:
            return null_space_of_run(
                run.run.extractor(extractor),
                self.workspace.images(self.data, known),
                self.workspace.images(self.data, self.held_out),
                noises=noises,
                layers=False,
                device=find_device(self.workspace.device),
                progress=progress,
            )

        return self._analysis(
            f"nullspace-{run.name}-{extractor}",
            NullSpaceReport,
            run,
            compute,
            {"known": known, "noises": list(noises)},
            images=2 * self._count(known, *[self.held_out] * (2 + len(noises))),
            seconds=10,
        )

    def _shift(self, run: Training) -> Analysis:
        def compute(progress: Progress) -> Table:
            images = self.workspace.images(self.data, self.held_out)
            network = run.run.load_extractor("classifier")
            features = head_features(
                network, ImageLoader(images, 256), device=self.workspace.device, progress=progress
            )
            head = linear_head(network)
            changes = probability_changes(features[:1000].double(), head.weight.double())
            records = [
                {"shift": shift, **{label: values[k] for label, values in changes.items()}}
                for k, shift in enumerate(SHIFTS)
            ]
            return Table.of(
                "shift",
                records,
                units={"shift": "norms of the mean feature"},
                descriptions=dict.fromkeys(changes, "largest change of a probability"),
                provenance={"run": run.name},
            )

        return self._analysis(
            f"shift-{run.name}",
            Table,
            run,
            compute,
            {"shifts": list(SHIFTS)},
            images=self._count(self.held_out),
            seconds=2,
        )

    # --- figures

    def figures(self) -> list[FigureData]:
        return [
            self._diagram(),
            self._epochs(),
            self._sharing(),
            self._shifted(),
            *self._null_spaces(),
        ]

    def _diagram(self) -> FigureData:
        method = self.runs[self.removed[-1]][0].run.build()
        channels = method.spec.channels
        first, *trunk = describe(method.networks["generator"], (LATENT,))
        common = [{**_box(row), "shared": True} for row in trunk]
        one = [{"label": f"noise, {LATENT}"}, _box(first), *common]
        others = [{"label": ELLIPSIS}, {"label": ELLIPSIS}, *common]
        panels = [Diagram.of(f"one of {first['copies']} generators", [one, others])]
        for removed in (self.removed[0], self.removed[-1]):
            networks = self.runs[removed][0].run.build().networks
            shape = " x ".join(map(str, (channels, *DEFAULT_SIZE)))
            images = {"label": f"images, {shape}", "shared": True}
            columns = []
            for name in NAMES:
                rows = describe(networks[name], (channels, *DEFAULT_SIZE))
                boxes = [
                    {**_box(row), "shared": k < 4 - removed} for k, row in enumerate(rows[:-1])
                ]
                ending = "sigmoid" if name == "discriminator" else "softmax"
                head = {"label": f"linear, {rows[-1]['outputs']}", "note": ending}
                columns.append([images, *boxes, head, {"label": name}])
            panels.append(Diagram.of(f"extractors, {removed} removed", columns))
        return self._figure(
            "Figure 2",
            "The networks as built. Left: generators with a first layer each and all others in "
            "common. Middle and right: discriminator and classifier that share all convolutions, "
            f"and with {self.removed[-1]} removed.",
            panels,
        )

    def _figure(self, name: str, caption: str, panels: Sequence[Panel]) -> FigureData:
        return FigureData(name, caption, panels, self.provenance())

    def _accuracies(self, extractor: str, removed: int, solver: str) -> list[float]:
        """Per cent, a value a seed."""
        tasks = self.controls if extractor == "untrained" else self.heads[extractor, removed]
        return [100 * _entry(task.load(), solver).accuracy for task in tasks]

    def _epochs(self) -> FigureData:
        curves = {
            key: [
                [100 * value for value in _entry(task.load(), "sgd:mao2022").history]
                for task in tasks
            ]
            for key, tasks in self.heads.items()
        }
        shown = np.concatenate(list(curves.values()))
        ends = (max(0.0, shown.min() - 5), min(100.0, shown.max() + 5))
        epochs = list(range(1, 1 + shown.shape[1]))
        panels = []
        for removed in self.removed:
            series = [
                mean_line(label, curves[extractor, removed]) for extractor, label in NAMES.items()
            ]
            title = f"{removed} removed"
            panels.append(Lines(title, "epoch", "accuracy (%)", epochs, series, ylim=ends))
        return self._figure(
            "Figure 3",
            "Held-out accuracy of a new head on the frozen features of discriminator (D) and "
            "classifier (C) after each epoch of its training by SGD, by the number of convolutions "
            f"that the two no longer share. {self._seeds()}",
            panels,
        )

    def _sharing(self) -> FigureData:
        series = []
        for solver, head in SOLVERS.items():
            for extractor, label in NAMES.items():
                values = [self._accuracies(extractor, each, solver) for each in self.removed]
                series.append(mean_line(f"{label}, {head}", np.transpose(values), group=label))
        control = self._accuracies("untrained", 0, "lbfgs")
        flat = np.repeat(np.array(control)[:, None], len(self.removed), 1)
        series.append(mean_line("untrained D, L-BFGS", flat, look="control"))
        for extractor, label in NAMES.items():
            published = PUBLISHED.get(self.data, {}).get(extractor)
            if published:
                series.append(Line(f"{label}, published", published, look="published"))
        gaps = []
        for solver, head in SOLVERS.items():
            gaps.append(mean_line(head, np.transpose(self._gaps(solver))))
        if self.data in PUBLISHED:
            gaps.append(Line("published", PUBLISHED[self.data]["difference"], look="published"))
        x = [float(each) for each in self.removed]
        return self._figure(
            "Table 2",
            "Held-out accuracy of new heads on the frozen features of discriminator (D) and "
            "classifier (C), by the number of convolutions that the two no longer share, and how "
            "far the classifier is ahead. Heads are the paper's (SGD, 20 epochs) and logistic "
            f"regression to convergence (L-BFGS). {self._seeds()}",
            [
                Lines("", "convolutions removed", "accuracy (%)", x, series),
                Lines("", "convolutions removed", "C - D (points)", x, gaps),
            ],
        )

    def _gaps(self, solver: str) -> list[list[float]]:
        """C - D in points, by number removed and seed."""
        return [
            list(
                np.subtract(
                    self._accuracies("classifier", removed, solver),
                    self._accuracies("discriminator", removed, solver),
                )
            )
            for removed in self.removed
        ]

    def _shifted(self) -> FigureData:
        found = [task.load() for task in self.shifts]
        series = [
            mean_line(label, [_log10(each.column(label)) for each in found])
            for label in (ALONG, ACROSS)
        ]
        return self._figure(
            "Softmax shift",
            "What shifts of the classifier's features do to its probabilities: along the direction "
            "that changes all logits alike, and along one of the row space at right angles to it. "
            f"{self._seeds()}",
            [
                Lines(
                    "",
                    "log10 of the shift, in norms of the mean feature",
                    "log10 of the largest\nchange of a probability",
                    _log10(SHIFTS),
                    series,
                )
            ],
        )

    def _null_spaces(self) -> list[FigureData]:
        """Figures of the reports of the first seed."""
        reports = [replace(tasks[0].load(), name=name) for name, tasks in self.reports.items()]
        of = f"{self.removed[-1]} convolutions removed, first seed"
        control = "the untrained network"
        figures = [
            replace(
                bars_figure(reports),
                name="Null space",
                caption="Energy of the features in the null space of the head, and accuracy of "
                f"probes on each part; {of}. Whiskers are 95 % intervals over images, diamonds "
                f"{control}.",
            )
        ]
        for report in reports:
            figures += [
                replace(
                    strips_figure(report),
                    name=f"Null space {report.name} examples",
                    caption="Share of each example's energy in the null space (dotted: 1 - rank / "
                    f"d), and its score: the {report.name}, {of}.",
                ),
                replace(
                    noise_figure(report),
                    name=f"Null space {report.name} noise",
                    caption="How much of what noise does to the features the head sees, and what "
                    f"probes still read: the {report.name}, {of}. Bands are 95 % intervals over "
                    f"images, grey dashes {control}.",
                ),
            ]
        return figures

    def _seeds(self) -> str:
        count = len(self.seeds)
        shown = "Mean of 1 seed" if count == 1 else f"Mean of {count} seeds, with 95 % intervals"
        return f"{shown}; {self.data}, {self.held_out}."

    # --- tables

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "table-1": self._networks(),
            "table-2": self._table_2(),
            "settings": self._settings(),
        }

    def _networks(self) -> list[dict[str, Any]]:
        """The layers of generators, discriminator and classifier, from the modules."""
        method = self.runs[self.removed[-1]][0].run.build()
        channels = method.spec.channels
        shapes = {"generator": (LATENT,), "discriminator": None, "classifier": None}
        rows = []
        for name, shape in shapes.items():
            found = describe(method.networks[name], shape or (channels, *DEFAULT_SIZE))
            rows += [{"network": name, **row} for row in found]
        return rows

    def _table_2(self) -> list[dict[str, Any]]:
        rows = []
        published = PUBLISHED.get(self.data, {})
        for k, removed in enumerate(self.removed):
            for solver, head in SOLVERS.items():
                row: dict[str, Any] = {"removed": removed, "head": head}
                found = {
                    **{name: self._accuracies(name, removed, solver) for name in NAMES},
                    "difference": self._gaps(solver)[k],
                    "untrained": self._accuracies("untrained", removed, solver),
                }
                for name, values in found.items():
                    value, low, high = (float(each) for each in mean_interval(values))
                    row |= {name: value, f"{name}_low": low, f"{name}_high": high}
                    if name != "untrained":
                        theirs = published.get(name) if solver != "lbfgs" else None
                        row[f"{name}_published"] = theirs[k] if theirs else ""
                rows.append(row)
        return rows

    def _settings(self) -> list[dict[str, Any]]:
        config = self.runs[0][0].config.model_dump(mode="json")
        leave = {"seed", "shared", *WHERE}
        return [{"setting": key, "mgan": config[key]} for key in config if key not in leave]

    # --- claims

    def claims(self) -> list[Claim]:
        return [*self._on_algebra(), *self._on_sharing(), *self._on_null_space()]

    def _on_algebra(self) -> list[Claim]:
        reports = [task.load() for tasks in self.reports.values() for task in tasks]
        shifts = [task.load() for task in self.shifts]
        return [
            exactly(
                "2a: the head sees no null space",
                "A f_n = 0 (Propositions 4 and 5)",
                "largest |A f_n| relative to |A| |f|",
                [report.residual for report in reports],
                "below",
                1e-5,
                seeds=len(self.seeds),
            ),
            exactly(
                "2a: parts add up",
                "row and null parts are orthogonal and add up",
                "largest distance from 1 of the sum of their energies",
                [
                    abs(1 - report.value("energy", "row") - report.value("energy", "null"))
                    for report in reports
                ],
                "below",
                1e-5,
                seeds=len(self.seeds),
            ),
            exactly(
                "2b: softmax ignores the all-ones direction",
                "a shift along A⁺1 changes no probability (Proposition 7)",
                f"largest change, shifts up to {SHIFTS[-1]:g} norms of the mean feature",
                [max(table.column(ALONG)) for table in shifts],
                "below",
                1e-6,
                seeds=len(self.seeds),
            ),
            exactly(
                "2b: and nothing else of the row space",
                "a shift at right angles to it does change them",
                f"largest change by a shift of {SHIFTS[-1]:g} norms, in the seed where it is least",
                [table.column(ACROSS)[-1] for table in shifts],
                "above",
                1e-3,
                seeds=len(self.seeds),
            ),
        ]

    def _on_sharing(self) -> list[Claim]:
        claims = []
        last = self.removed[-1]
        published = PUBLISHED.get(self.data, {}).get("difference")
        for solver, head in SOLVERS.items():
            gaps = self._gaps(solver)
            theirs = published if published and head == "SGD" else None
            claims += [
                exactly(
                    f"2c: alike when all is shared, {head}",
                    "with all convolutions shared, both extractors serve a new head alike",
                    "largest |C - D| in points, none removed",
                    [abs(gap) for gap in gaps[0]],
                    "below",
                    0.5,
                    seeds=len(self.seeds),
                    published=f"{theirs[0]:g}" if theirs else "",
                    note="holds by construction: both are then one network but for their heads",
                ),
                over_seeds(
                    f"2c: classifier ahead, {head}",
                    "with no convolution shared, the classifier is the better extractor",
                    f"C - D in points, {last} removed",
                    gaps[-1],
                    "above",
                    1.0,
                    published=f"{theirs[-1]:g}" if theirs else "",
                ),
                over_seeds(
                    f"2d: the lead grows, {head}",
                    "the less is shared, the further the classifier is ahead",
                    "Spearman correlation of the number removed and C - D",
                    [
                        _correlation(self.removed, [gap[k] for gap in gaps])
                        for k in range(len(self.seeds))
                    ],
                    "above",
                    0.7,
                    published=f"{_correlation(self.removed, theirs):.2f}" if theirs else "",
                ),
            ]
            if self.data != "cifar10":
                accuracy = [
                    self._accuracies("discriminator", each, solver) for each in self.removed
                ]
                mean = np.mean(accuracy, axis=0)
                own = PUBLISHED.get(self.data, {}).get("discriminator")
                claims.append(
                    over_seeds(
                        f"2e: the discriminator serves, {head}",
                        "the discriminator is a good extractor all the same",
                        "accuracy (%) of new heads on it, mean over numbers removed",
                        list(mean),
                        "above",
                        90.0,
                        published=f"{np.mean(own):.2f}" if own and head == "SGD" else "",
                    )
                )
        return claims

    def _on_null_space(self) -> list[Claim]:
        """The claims of the reports, over seeds: by how far each number is from its bound."""
        found: dict[tuple[str, ...], list[Verdict]] = {}
        for task in (task for tasks in self.reports.values() for task in tasks):
            for each in task.load().claims:
                key = (each.claim, each.quantity, each.part, each.group)
                found.setdefault(key, []).append(each)
        claims = []
        for (name, quantity, part, group), cases in found.items():
            number, statement = _NULL_SPACE[name]
            held = sum(case.verdict == "supported" for case in cases)
            value = np.mean([case.value for case in cases])
            bound = np.mean([case.against for case in cases])
            where = "" if group in ("all", "clean") else f", {group}"
            claims.append(
                over_seeds(
                    f"{number}: {name}",
                    statement,
                    f"{quantity.replace('_', ' ')}, {part}{where}: distance from its bound",
                    [case.value - case.against for case in cases],
                    None if number == "2i" else cases[0].side,
                    0.0,
                    note=f"mean {value:.4g}, to be {cases[0].side} {bound:.4g}; supported by "
                    f"its own interval, over images, in {held} of {len(cases)} seeds",
                )
            )
        return claims


#: The claims of a null-space report, by name: where they stand in the list of claims, and what is
#: claimed. The constancy of the ratio is only reported: it holds at an optimum that is not reached.
_NULL_SPACE = {
    "classes in null space": ("2f", "a discriminator's null space has the classes (Corollary 4)"),
    "scatter in row space": ("2g", "classes scatter less in the classifier's row space"),
    "Theorems 2-3": ("2g", "within a class the row part moves along the all-ones direction"),
    "gap in row space": ("2h", "real and generated images differ along the row space"),
    "Theorem 1": ("2h", "what noise does to the features lies in the row space"),
    "constant ratio": ("2i", "the discriminator sees all real images alike (Corollaries 1 to 4)"),
}


def probability_changes(features: torch.Tensor, weight: torch.Tensor) -> dict[str, list[float]]:
    """How much shifts of features (n, d) change the softmax of a head (k, d), both float64.

    Along A⁺1, which changes all logits alike (Mao et al., Proposition 7), and along a direction of
    the row space at right angles to it; each for shifts of ``SHIFTS`` norms of the mean feature.
    """
    before = torch.softmax(features @ weight.T, dim=1)
    ones = torch.linalg.pinv(weight).sum(dim=1)
    ones /= ones.norm()
    other = weight[0] - (weight[0] @ ones) * ones
    other /= other.norm()
    unit = features.mean(dim=0).norm()
    return {
        label: [
            float((torch.softmax((features + s * unit * along) @ weight.T, 1) - before).abs().max())
            for s in SHIFTS
        ]
        for label, along in ((ALONG, ones), (ACROSS, other))
    }


_SHORT = {"TransposedConv": "TConv"}


def _box(row: dict[str, Any]) -> dict[str, Any]:
    """A layer as a box of a diagram."""
    parts = (row["normalisation"], row["activation"])
    return {
        "label": f"{_SHORT.get(row['operation'], row['operation'])} {row['kernel']}, "
        f"{row['outputs']}",
        "note": ", ".join(part for part in parts if part != "none"),
    }


def _log10(values: Sequence[float]) -> list[float]:
    """Base-10 logarithms; NaN of 0."""
    return [math.log10(value) if value > 0 else math.nan for value in values]


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's; 0 where nothing varies, as of a gap that is the same everywhere."""
    return float(spearmanr(x, y)[0]) if len(set(y)) > 1 else 0.0


def _entry(curve: ProbeCurve, solver: str) -> ProbeEntry:
    return next(entry for entry in curve.entries if entry.solver == solver)


RECIPE = Mao2022
