"""``repsim demo``: the whole pipeline on embedded images."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.grouping import Grouped
from repsim.cli.options import json_option
from repsim.cli.reporting import bar, hinting, say, show_json, tell
from repsim.cli.tables import show_table
from repsim.errors import RepsimError, UsageError

if TYPE_CHECKING:
    from repsim.activations import ActivationStore
    from repsim.results import NullSpaceReport, ProbeCurve, SimilarityMap
    from repsim.training.config import TrainConfig
    from repsim.training.run import Run

#: Accuracies on held-out images below which the figures would mean nothing.
SUPERVISED_BAR = 0.95
SIMCLR_BAR = 0.90


def demo_runs(fast: bool) -> dict[str, tuple[str, dict[str, Any]]]:
    """Method and settings by name; the fast runs are smaller networks, trained for less long."""
    resnet = {"depth": 10 if fast else 18, "width": 8}
    width = 8 if fast else 16
    return {
        "supervised": ("supervised", {**resnet, "epochs": 5 if fast else 12}),
        "simclr": ("simclr", {**resnet, "epochs": 2 if fast else 20}),
        "gan": ("gan", {"width": width, "epochs": 3 if fast else 15}),
        "mgan": ("mgan", {"width": width, "epochs": 2 if fast else 15}),
        "untrained": ("supervised", {**resnet, "epochs": 0}),
        "untrained-discriminator": ("gan", {"width": width, "epochs": 0}),
    }


@click.command(cls=Grouped)
@click.option("--fast", is_flag=True, help="Smaller networks, trained for less: under a minute.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of everything it makes.  [default: demo, or demo-fast]",
)
@json_option
def demo(fast: bool, output: Path | None, as_json: bool) -> None:
    """\b
    repsim demo

    Train SimCLR, a supervised network, a GAN and an M-GAN on 1,437 handwritten digits, harvest
    their layers, compare, probe and split them, and draw the figures. Takes about three minutes on
    two cores. What exists is not made again, so an interrupted demo continues.
    """
    started = time.monotonic()
    folder = output or Path("demo-fast" if fast else "demo")
    with hinting(lambda: "stopped; the same command continues"):
        runs = train_all(demo_runs(fast), folder / "runs")
        stores = harvest_all(runs)
        similarity = compare_all(stores)
        curve = probe_all(stores)
        reports = split_all(runs)
        for store in stores.values():
            store.close()
        figures = draw_all(folder, similarity, curve, reports)
    held_out = runs["supervised"].load_state(runs["supervised"].checkpoint)["held_out"]["accuracy"]
    simclr = curve.best("simclr")
    if as_json:
        show_json(
            {
                "supervised_accuracy": held_out,
                "simclr_best_probe": simclr.accuracy,
                "seconds": round(time.monotonic() - started, 1),
                "figures": [str(path) for path in figures],
            }
        )
    else:
        show_findings(held_out, similarity, curve, reports)
        for path in figures:
            if path.suffix == ".png":
                tell(f"figure {path} (and .pdf)")
        tell(f"done in {time.monotonic() - started:.0f} s; everything lies in {folder}/")
    if not fast and (held_out < SUPERVISED_BAR or simclr.accuracy < SIMCLR_BAR):
        raise RepsimError(
            f"the networks have not learned: supervised {held_out:.1%} of {SUPERVISED_BAR:.0%}, "
            f"SimCLR's best probe {simclr.accuracy:.1%} of {SIMCLR_BAR:.0%}; the figures mean "
            "nothing"
        )


def train_all(chosen: Mapping[str, tuple[str, dict[str, Any]]], folder: Path) -> dict[str, Run]:
    """Train every run that is not there yet.

    Raises:
        UsageError: a run that is there has other settings; then none is trained.
    """
    from repsim.training.compose import configure
    from repsim.training.loop import train

    configs = {
        name: (method, configure(method, settings, "demo"))
        for name, (method, settings) in chosen.items()
    }
    check_current(configs, folder)
    runs = {}
    for name, (method, config) in configs.items():
        say(f"train {name}")
        with bar(f"train {name}") as progress:
            runs[name] = train(method, config, folder / name, resume=True, progress=progress)
    return runs


def check_current(configs: Mapping[str, tuple[str, TrainConfig]], folder: Path) -> None:
    """Raise ``UsageError`` where a folder has runs of another demo, as of an earlier version."""
    from repsim.training.run import Run
    from repsim.training.run_lock import is_begun

    for name, (method, config) in configs.items():
        run = Run(folder / name)
        if run.exists and not is_begun(run, method, config):
            raise UsageError(
                f"{folder.parent} is of another demo, whose run {name!r} has other settings; name "
                f"another folder, -o FOLDER, or remove {folder.parent}"
            )


def harvest_all(runs: dict[str, Run]) -> dict[tuple[str, str], ActivationStore]:
    """Stores by (network, split): test in full for CKA, train averaged for the probes."""
    from repsim.activations import harvest_run
    from repsim.activations.store.reader import ActivationStore
    from repsim.data import load

    stores = {}
    for split, pooling in (("test", "none"), ("train", "avg")):
        images = load("digits", split)
        for run in runs.values():
            for extractor in run.extractors:
                network = run.extractor(extractor).label
                with bar(f"harvest {network} on digits {split}") as progress:
                    made = harvest_run(
                        run,
                        images,
                        extractor=extractor,
                        pooling=pooling,
                        resume=True,
                        progress=progress,
                    )
                made.close()
                stores[network, split] = ActivationStore(made.path, name=network)
    return stores


def compare_all(stores: dict[tuple[str, str], ActivationStore]) -> SimilarityMap:
    """SimCLR against supervised, all layers."""
    from repsim.measures import cka_map

    say("compare simclr with supervised")
    with bar("cka") as progress:
        return cka_map(stores["simclr", "test"], stores["supervised", "test"], progress=progress)


def probe_all(stores: dict[tuple[str, str], ActivationStore]) -> ProbeCurve:
    """Probes at every layer of every network."""
    from repsim.activations.analyses.probe import probe_layers
    from repsim.results import ProbeCurve

    curves = []
    say("probe every layer of every network")
    for network in dict.fromkeys(network for network, _ in stores):
        with bar(f"probe {network}") as progress:
            pair = stores[network, "train"], stores[network, "test"]
            features = [layer for layer in pair[0].layers if layer != "head"]
            curves.append(probe_layers(*pair, layers=features, progress=progress))
    return ProbeCurve.join(curves)


def split_all(runs: dict[str, Run]) -> list[NullSpaceReport]:
    """Null spaces of discriminators and classifier, each with its untrained control."""
    from repsim.activations.analyses.nullspace import null_space_of_run
    from repsim.data import load

    train, test = load("digits", "train"), load("digits", "test")
    reports = []
    say("split the features of discriminators and classifier")
    for name in ("gan", "mgan", "untrained-discriminator"):
        for extractor in runs[name].extractors:
            of = runs[name].extractor(extractor)
            with bar(f"split {of.label}") as progress:
                reports.append(
                    null_space_of_run(of, train, test, noises=(), layers=False, progress=progress)
                )
    return reports


def draw_all(
    folder: Path, similarity: SimilarityMap, curve: ProbeCurve, reports: list[NullSpaceReport]
) -> list[Path]:
    """Results and figures; those of an earlier demo are replaced."""
    from repsim import figures
    from repsim.layers import select_layers

    say("draw the figures")
    results = folder / "results"
    similarity.save(results / "cka-simclr-supervised.json", overwrite=True)
    curve.save(results / "probes.json", overwrite=True)
    for report in reports:
        report.save(results / f"nullspace-{report.name.replace(':', '-')}.json", overwrite=True)
    parts = {
        kind: similarity.select(
            tuple(select_layers(similarity.layers_a, kind)),
            tuple(select_layers(similarity.layers_b, kind)),
        )
        for kind in ("all", "odd", "even")
    }
    drawn = {
        "cka-all-odd-even": figures.heatmaps(
            list(parts.values()), titles=[f"{kind} layers" for kind in parts]
        ),
        "cka-all": figures.heatmap(similarity),
        "cka-curves": figures.similarity_curves(similarity),
        "probes": figures.probe_curves(curve, style="page"),
        "nullspace": figures.null_space_bars(reports),
    }
    written = []
    for name, each in drawn.items():
        stem = folder / "figures" / name
        written += figures.save(each, stem, provenance=similarity.provenance, overwrite=True)
    return written


def show_findings(
    held_out: float, similarity: SimilarityMap, curve: ProbeCurve, reports: list[NullSpaceReport]
) -> None:
    """The findings of the demo in one table."""
    diagonal = similarity.diagonal()
    assert diagonal is not None
    by_kind = {
        kind: [v for v, name in zip(diagonal, similarity.layers_a, strict=True) if kind in name]
        for kind in (".odd", ".even")
    }
    rows: list[tuple[str, float]] = [("supervised: held-out accuracy", held_out)]
    for network in curve.networks():
        best = curve.best(network)
        rows.append((f"{network}: best probe, at {best.layer}", best.accuracy))
    rows += [
        (f"CKA of simclr and supervised, mean over {kind[1:]} layers", sum(values) / len(values))
        for kind, values in by_kind.items()
    ]
    rows += [
        (f"{report.name}: probe on what the head cannot see", report.probes["null"])
        for report in reports
    ]
    show_table(f"what it found (n = {similarity.n} held-out digits)", ("", "value"), rows)
