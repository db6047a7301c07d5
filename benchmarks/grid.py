"""The work of the grid of kolesnikov2019: floating-point operations of its trainings.

python benchmarks/grid.py [--scale paper] [--rate 20] [--data-dir data]

Operations are counted on networks without memory, so that no device is needed: a forward pass of
everything that a network is shown for an image, and twice that for the backward pass; once more for
a RevNet, which computes its activations again. Optimisers and augmentation are not counted.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from repsim.figures.papers import find_paper
from repsim.figures.papers.engine import Folder, Reproduction
from repsim.figures.papers.engine.training import Training
from repsim.figures.papers.kolesnikov2019.runs import CELLS
from repsim.networks.families import find_family
from repsim.networks.heads import PatchesHead
from repsim.networks.image_spec import ImageSpec
from repsim.training.methods.rotation import TURNS
from repsim.training.patches import grid_of


def shown(step: Training) -> tuple[int, ImageSpec]:
    """The number of inputs that a network is shown for an image, and their facts."""
    config, spec = step.config, step.spec
    if step.method == "rotation":
        return TURNS, spec
    if step.method == "exemplar":
        return config.views, spec
    grid = grid_of(config, spec)
    return grid.count, replace(spec, height=grid.patch, width=grid.patch)


def orders(step: Training) -> tuple[int, int]:
    """Rows that the head of a patch task reads for an image, and the embeddings in each."""
    return (step.config.drawn, step.config.side**2) if step.method == "jigsaw" else (8, 2)


def forward(step: Training) -> float:
    """Operations of a forward pass of an image."""
    config, (count, spec) = step.config, shown(step)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = find_family(config.network)(config).encoder(spec).eval()
        network(torch.empty(count, *spec.shape))
        if step.method in ("jigsaw", "relative_patch_location"):
            rows, each = orders(step)
            width = each * config.embedding
            head = PatchesHead(width, config.hidden, rows, config.dropout).eval()
            head(torch.empty(rows, width))
    return float(counter.get_total_flops())


def operations(step: Training) -> float:
    """Operations of a training."""
    passes = 4 if step.config.network == "revnet" else 3
    return passes * forward(step) * step.images * step.config.epochs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", default="paper")
    parser.add_argument(
        "--rate", type=float, default=20.0, help="10^12 operations a second, assumed"
    )
    parser.add_argument("--data-dir", type=Path)
    arguments = parser.parse_args()
    folder = Folder(Path("unused"), arguments.data_dir, "cpu")
    made = Reproduction(find_paper("kolesnikov2019"), folder, arguments.scale)
    totals: dict[tuple[str, str], list[float]] = defaultdict(list)
    for cell, run in CELLS.items():
        if steps := made.trainings.get(run):
            totals[cell.task, cell.network].append(len(steps) * operations(steps[0]))
    print(f"scale {arguments.scale}, {len(made.seeds)} seeds, {arguments.rate:g}e12 a second")
    print(f"{'task':16} {'network':14} {'cells':>6} {'10^15':>10} {'hours':>8}")
    totals["all", ""] = [each for values in list(totals.values()) for each in values]
    for (task, network), values in totals.items():
        total = sum(values)
        hours = total / (arguments.rate * 1e12) / 3600
        print(f"{task:16} {network:14} {len(values):6d} {total / 1e15:10.1f} {hours:8.1f}")


if __name__ == "__main__":
    main()
