"""``repsim probe``: classifiers at every layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from repsim.cli.cka import claim
from repsim.cli.options import (
    data_dir_option,
    data_option,
    device_option,
    json_option,
    layers_option,
    listed,
    output_option,
    overwrite_option,
    runs_option,
    style_option,
)
from repsim.cli.reporting import bar, show_files, show_json, show_table
from repsim.errors import UsageError


@click.command()
@click.argument("references", metavar="RUN...", nargs=-1, required=True)
@runs_option
@data_option
@data_dir_option
@click.option("--split", default="train", show_default=True, help="Part to train probes on.")
@click.option("--test-split", default="test", show_default=True, help="Part to score them on.")
@layers_option
@click.option(
    "--solver",
    "solvers",
    metavar="SOLVER[:SCHEDULE],...",
    default="lbfgs",
    show_default=True,
    help="lbfgs, logistic regression to convergence; sgd, the same on a published schedule, as in "
    "sgd:mao2022; mlp, a perceptron; ridge, in closed form; knn, the nearest neighbours.",
)
@click.option(
    "--component",
    "components",
    metavar="PART,...",
    default="full",
    show_default=True,
    help="full features, or of the layer that feeds a linear head its row and null components.",
)
@click.option(
    "--label-fraction",
    "fractions",
    metavar="FRACTION,...",
    default="1",
    show_default=True,
    help="Share of each class's training examples, such as 1,0.1,0.05.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Repetitions with other label fractions, validation splits and initial weights.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 1 << 62),
    default=0,
    show_default=True,
    help="The first of the seeds.",
)
@click.option(
    "--random-labels", is_flag=True, help="Train each probe on permuted labels too, as a control."
)
@click.option(
    "--l2",
    type=float,
    help="Penalty of lbfgs or ridge.  [default: the best on a fifth of the training part]",
)
@click.option(
    "--k", type=click.IntRange(min=1), default=1, show_default=True, help="Neighbours of knn."
)
@click.option(
    "--hidden",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Hidden units of mlp.",
)
@click.option(
    "--dropout",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Dropout of mlp's hidden units.",
)
@click.option(
    "--pooling",
    default="avg",
    show_default=True,
    help="What a probe sees of a map: avg, its average over positions; none, every value; "
    "grid:K, averages over K x K cells.",
)
@device_option
@style_option
@output_option("results/probe-RUN....json")
@overwrite_option
@json_option
def probe(
    references: tuple[str, ...],
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    split: str,
    test_split: str,
    layers: str | None,
    solvers: str,
    components: str,
    fractions: str,
    seeds: int,
    seed: int,
    random_labels: bool,
    l2: float | None,
    k: int,
    hidden: int,
    dropout: float,
    pooling: str,
    device: str,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim probe simclr supervised untrained
    repsim probe mgan --layers features --solver lbfgs,sgd:mao2022,knn --seeds 3

    Train probes for the classes on every layer's features, and score them on held-out images. Needs
    the activations of both parts: repsim harvest RUN --split train --split test --pooling avg.
    """
    from repsim import figures
    from repsim.activations.analyses.probe import ProbePlan, probe_layers
    from repsim.cli.workspace import (
        check_distinct,
        expand_references,
        open_extractor,
        result_path,
    )
    from repsim.devices import float64_device
    from repsim.results import ProbeCurve

    options = {"l2": l2, "k": k, "hidden": hidden, "dropout": dropout}
    plan = ProbePlan(
        solvers=listed(solvers),
        components=listed(components),
        label_fractions=_fractions(fractions),
        seeds=range(seed, seed + seeds),
        random_labels=random_labels,
        pooling=pooling,
        options=options,
    )
    path = result_path(
        output,
        "probe",
        references,
        data,
        None if (split, test_split) == ("train", "test") else f"{split}-{test_split}",
        layers,
        None if solvers == "lbfgs" else solvers,
        None if components == "full" else components,
        None if fractions == "1" else f"labels-{fractions}",
        None if (seeds, seed) == (1, 0) else f"seeds-{seed}-{seed + seeds - 1}",
        "random-labels" if random_labels else None,
        None if l2 is None else f"l2-{l2}",
        None if k == 1 else f"k-{k}",
        None if hidden == 1000 else f"hidden-{hidden}",
        None if dropout == 0 else f"dropout-{dropout}",
        {"avg": None, "none": "unpooled"}.get(pooling, pooling),
    )
    outputs = claim(path, ["curves"], overwrite)
    curves = []
    where: dict[str, Any] = {"data": data, "data_dir": data_dir}
    chosen = expand_references(references, runs)
    check_distinct(chosen)
    for extractor in chosen:
        with (
            open_extractor(extractor, split=split, **where) as train,
            open_extractor(extractor, split=test_split, **where) as test,
            bar(f"probe {extractor.label}") as progress,
        ):
            curves.append(
                probe_layers(
                    train,
                    test,
                    layers=layers,
                    plan=plan,
                    device=float64_device(device),
                    progress=progress,
                )
            )
    result = ProbeCurve.join(curves)
    written = result.save(path, overwrite=overwrite)
    for suffix, figure in figures.draw(result, style=style).items():
        written += figures.save(
            figure, outputs[suffix], provenance=result.provenance, overwrite=overwrite
        )
    if as_json:
        show_json(result.to_dict())
    else:
        show_probes(result)
    show_files(written, as_json=as_json)


def _fractions(text: str) -> list[float]:
    try:
        return list(dict.fromkeys(float(each) for each in listed(text)))
    except ValueError:
        raise UsageError(
            f"--label-fraction is {text!r}; expected numbers above 0 and at most 1, as in 1,0.1"
        ) from None


def show_probes(result: object) -> None:
    """Every series' layers and accuracies."""
    from repsim.results import ProbeCurve

    assert isinstance(result, ProbeCurve)
    rows: list[tuple[Any, ...]] = []
    seeds, stopped = 1, False
    for series in result.series():
        for p in series.points:
            seeds, stopped = max(seeds, p.seeds), stopped or not p.converged
            interval = f"{p.low:.3f} to {p.high:.3f}{'' if p.converged else ' *'}"
            shown = (p.layer, p.features, p.train_accuracy, p.accuracy, interval, p.sd)
            rows.append((series.label, *shown))
    columns = ("network", "layer", "features", "train accuracy", "accuracy", "95 % interval")
    show_table(
        f"held-out accuracy of {result.solver} probes, n = {result.n_train:,} + {result.n_test:,}, "
        f"chance {1 / result.classes:.2f}" + (f", mean of {seeds} seeds" if seeds > 1 else ""),
        (*columns, "sd") if seeds > 1 else columns,
        [row if seeds > 1 else row[:-1] for row in rows],
    )
    if stopped:
        click.echo("* the solver stopped before it met its tolerance", err=True)
