"""Probes, as a share of the matrix products that this machine can do.

python benchmarks/probes.py [WORKLOAD ...] [--repeat 3] [--device cuda]

Nearest neighbours are those of the pixels of MNIST, 60,000 x 784 against 10,000, if REPSIM_DATA or
``--data-dir`` has them; else of random numbers of that shape, whose accuracy is chance. Operations
are those of the product of all pairs, 2 n m p. The limit is the fastest float32 product that torch
reaches, measured before and after each run.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from engine import against_peak, peak
from torch import Tensor

from repsim.data import load
from repsim.errors import DataError
from repsim.probes.knn import knn_predict
from repsim.probes.rows import Rows


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    say: str
    operations: float
    seconds: list[float]
    shares: list[float]
    note: str

    def __str__(self) -> str:
        low, high = min(self.shares), max(self.shares)
        return (
            f"{self.say} | {self.operations / 1e9:,.0f} | {statistics.median(self.seconds):.2f} | "
            f"{statistics.median(self.shares):.0%} ({low:.0%} to {high:.0%}) | {self.note}"
        )


def pixels(split: str, data_dir: Path | None) -> tuple[Tensor, Tensor, str]:
    """The 28 x 28 pixels of MNIST as (n, 784) float32, their labels, and what they are."""
    try:
        images = load("mnist", split, data_dir=data_dir)
    except DataError:
        n = {"train": 60_000, "test": 10_000}[split]
        generator = torch.Generator().manual_seed(n)
        labels = torch.randint(0, 10, (n,), generator=generator)
        return torch.randn(n, 784, generator=generator), labels, "random numbers"
    inner = images.images[:, :, 2:-2, 2:-2].flatten(1).float()  # without the border
    assert images.labels is not None
    return inner, images.labels, "MNIST"


def knn(k: int, repeat: int, device: str, data_dir: Path | None) -> Row:
    (x, labels, name), (t, truth, _) = (pixels(split, data_dir) for split in ("train", "test"))
    train, test = Rows.of(x.to(device)), Rows.of(t.to(device))
    found: list[Tensor] = []

    def run() -> None:
        found.append(knn_predict(train, labels, test, 10, k=k))

    work = 2.0 * train.n * test.n * train.p
    times, shares = against_peak(run, work, repeat, device)
    accuracy = float((found[-1].cpu() == truth).double().mean())
    say = f"{k} nearest of {train.n:,} x {train.p} for {test.n:,}, {name}"
    return Row(say, work, times, shares, f"accuracy {accuracy:.2%}")


WORKLOADS: dict[str, Callable[[int, str, Path | None], Row]] = {
    "knn": lambda *given: knn(1, *given),
    "knn5": lambda *given: knn(5, *given),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST; REPSIM_DATA by default")
    arguments = parser.parse_args()
    chosen = arguments.workloads or list(WORKLOADS)
    if unknown := set(chosen) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; try {', '.join(WORKLOADS)}")
    top = peak(arguments.device) / 1e9
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.device}, "
        f"float32, peak {top:.0f} GFLOP/s\n"
    )
    print("| | workload | GFLOP | seconds | of peak | |")
    print("|---|---|---:|---:|---:|---|")
    for name in chosen:
        row = WORKLOADS[name](arguments.repeat, arguments.device, arguments.data_dir)
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
