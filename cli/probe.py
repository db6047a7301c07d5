"""``repsim probe``: a linear classifier at every layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from repsim.cli.cka import claim
from repsim.cli.options import (
    bar,
    data_dir_option,
    data_option,
    json_option,
    layers_option,
    output_option,
    overwrite_option,
    runs_option,
    show_files,
    show_json,
    show_table,
    style_option,
)


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
    type=click.Choice(["lbfgs", "knn"]),
    default="lbfgs",
    show_default=True,
    help="Logistic regression to convergence, or the nearest neighbour.",
)
@click.option(
    "--pooling",
    type=click.Choice(["none", "avg"]),
    default="avg",
    show_default=True,
    help="What a probe sees of a map: its average over positions, or every value.",
)
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
    solver: str,
    pooling: Any,
    style: str,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """\b
    repsim probe simclr supervised untrained

    Train a probe for the classes on every layer's features, and score it on held-out images. Needs
    the activations of both parts: repsim harvest RUN --split train --split test --pooling avg.
    """
    from repsim import figures
    from repsim.activations.probing import probe_layers
    from repsim.cli.workspace import expand_references, open_extractor, result_path
    from repsim.results import ProbeCurve

    path = result_path(
        output,
        "probe",
        references,
        data,
        None if (split, test_split) == ("train", "test") else f"{split}-{test_split}",
        layers,
        None if solver == "lbfgs" else solver,
        None if pooling == "avg" else "unpooled",
    )
    outputs = claim(path, ["curves"], overwrite)
    curves = []
    where: dict[str, Any] = {"data": data, "data_dir": data_dir}
    for extractor in expand_references(references, runs):
        with (
            open_extractor(extractor, split=split, **where) as train,
            open_extractor(extractor, split=test_split, **where) as test,
            bar(f"probe {extractor.label}") as progress,
        ):
            curves.append(
                probe_layers(
                    train, test, layers=layers, solver=solver, pooling=pooling, progress=progress
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


def show_probes(result: object) -> None:
    """Every network's layers and accuracies."""
    from repsim.results import ProbeCurve

    assert isinstance(result, ProbeCurve)
    show_table(
        f"held-out accuracy of {result.solver} probes, n = {result.n_train:,} + {result.n_test:,}, "
        f"chance {1 / result.classes:.2f}",
        ("network", "layer", "features", "train accuracy", "accuracy"),
        [
            (e["network"], e["layer"], e["features"], e["train_accuracy"], e["accuracy"])
            for e in result.entries
        ],
    )
