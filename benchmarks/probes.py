"""Probes: nearest neighbours against matrix products, logistic regression against scikit-learn.

python benchmarks/probes.py [WORKLOAD ...] [--repeat 3] [--device cuda] [--l2 0.01,0.001,0.0001]

knn, knn5
    Nearest neighbours of 10,000 x 784 pixels of MNIST among 60,000, as a share of the fastest
    float32 product that torch reaches, measured before and after each run. Operations are those of
    the product of all pairs, 2 n m p. Without MNIST, random numbers of that shape.
logistic
    20,000 x 512 correlated features in float32 of 10 classes that overlap. scikit-learn's lbfgs has
    the same features, standardised, in float64; its tolerance is tightened until it comes as near
    to the minimum as 1e-6. Gaps are relative, to the minimum of a float64 fit. Both take turns.
path
    The ten strengths among which one is chosen, against one fit, on the same features.
layers
    20 layers of 10,000 x 512 of a store, in a process of its own, and the peak of its memory.
raw
    Accuracies on the pixels of MNIST, and on the features of an untrained discriminator.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from engine import against_peak, peak, seconds
from harvest import high_water
from torch import Tensor

import repsim
from repsim.activations import Capture
from repsim.data import load
from repsim.errors import DataError
from repsim.networks import Discriminator
from repsim.probes.features import Features
from repsim.probes.knn import knn_predict
from repsim.probes.logistic import LADDER, Logistic, fit_logistic, fit_path

Lines = Iterator[tuple[str, str]]


def spread(values: list[float], shape: str = ".2f") -> str:
    """Median and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):{shape}} ({low:{shape}} to {high:{shape}})"


# --- nearest neighbours


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


def knn(given: argparse.Namespace, k: int = 1) -> Lines:
    (x, labels, name), (t, truth, _) = (pixels(s, given.data_dir) for s in ("train", "test"))
    train, test = Features.of(x.to(given.device)), Features.of(t.to(given.device))
    found: list[Tensor] = []

    def run() -> None:
        found.append(knn_predict(train, labels, test, 10, k=k))

    work = 2.0 * train.n * test.n * train.p
    times, shares = against_peak(run, work, given.repeat, given.device)
    yield f"{k} nearest of {train.n:,} x {train.p} for {test.n:,}, {name}", f"{spread(times)} s"
    yield "share of peak", spread(shares)
    yield "accuracy", f"{float((found[-1].cpu() == truth).double().mean()):.2%}"


# --- logistic regression


def features(n: int = 20_000, p: int = 512, classes: int = 10) -> tuple[Tensor, Tensor]:
    """Standard deviations fall as 1/k along the directions, in all of which the classes differ."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, n)
    z = rng.normal(size=(n, p)) + 0.12 * rng.normal(size=(classes, p))[labels]
    turn = np.linalg.qr(rng.normal(size=(p, p)))[0]
    x = (z / np.arange(1, p + 1)) @ turn + 1
    return torch.tensor(x.astype(np.float32)), torch.tensor(labels)


def excess(fitted: Logistic, z: Tensor, labels: Tensor, least: float = 0.0) -> float:
    """The distance of the objective from ``least``, in float64."""
    loss = torch.nn.functional.cross_entropy(z @ fitted.weight.T + fitted.bias, labels)
    return float(loss) + fitted.l2 / 2 * float(fitted.weight.square().sum()) - least


def logistic(given: argparse.Namespace) -> Lines:
    from sklearn.linear_model import LogisticRegression

    warnings.filterwarnings("ignore", module="sklearn")
    x, labels = features()
    rows = Features.of(x.to(given.device))
    for l2 in given.l2:
        best = fit_logistic(Features.of(x.double()), labels, 10, l2=l2, tolerance=1e-12)
        z = best.standard(x)
        least = excess(best, z, labels)
        here = rows.device

        def ours() -> Logistic:
            return fit_logistic(rows, labels, 10, l2=l2)  # noqa: B023

        def theirs(tol: float, most: int) -> Logistic:
            c = 1 / (len(z) * l2)  # noqa: B023
            fitted = LogisticRegression(C=c, tol=tol, max_iter=most).fit(z.numpy(), labels.numpy())  # noqa: B023
            weight, bias = torch.tensor(fitted.coef_), torch.tensor(fitted.intercept_)
            return replace(best, weight=weight, bias=bias, iterations=int(fitted.n_iter_[0]))  # noqa: B023

        def timed(fit: Callable[[], Logistic]) -> tuple[float, Logistic, str]:
            found: list[Logistic] = []
            took = seconds(lambda: found.append(fit()), given.device)
            fitted = found[0]
            moved = replace(fitted, weight=fitted.weight.cpu(), bias=fitted.bias.cpu())
            gap = excess(moved, z, labels, least) / least  # noqa: B023
            return gap, fitted, f"{took:.2f} s, {fitted.iterations} iterations, gap {gap:.1e}"

        ours()
        gap, _, said = timed(ours)
        times = [float(said.split()[0])]
        yield f"l2 = {l2:g}: repsim, {here}", said
        yield "scikit-learn as it comes", timed(lambda: theirs(1e-4, 100))[2]
        times.append(float(timed(ours)[2].split()[0]))
        tol, gap = 1e-4, 1.0
        while gap > 1e-6 and tol > 1e-9:
            tol /= 10
            gap, _, said = timed(lambda: theirs(tol, 10_000))  # noqa: B023
            times.append(float(timed(ours)[2].split()[0]))
        yield f"scikit-learn, tol {tol:.0e}", said
        yield "repsim, in between", f"{spread(times)} s"
        yield "share of its time", f"{statistics.median(times) / float(said.split()[0]):.3f}"


def path(given: argparse.Namespace) -> Lines:
    x, labels = features()
    rows = Features.of(x.to(given.device))
    ratios: dict[str, list[float]] = {}
    times = []
    for _ in range(given.repeat):
        one = seconds(lambda: fit_logistic(rows, labels, 10), given.device)
        times.append(one)
        for name, tolerance in (("as the choice of a strength", 1e-4), ("to convergence", 1e-7)):

            def every(tolerance: float = tolerance) -> None:
                list(fit_path(rows, labels, 10, LADDER, tolerance=tolerance))

            ratios.setdefault(name, []).append(seconds(every, given.device) / one)
    yield "one fit, l2 = 0.001", f"{spread(times)} s"
    for name, found in ratios.items():
        yield f"{len(LADDER)} strengths {name} / one fit", spread(found)


# --- layers of a store


def layers(given: argparse.Namespace) -> Lines:
    with tempfile.TemporaryDirectory() as folder:
        for name, n in (("train", 10_000), ("test", 2_000)):
            write(Path(folder) / f"{name}.h5", name, n)
        command = [sys.executable, __file__, "--probe", folder, "--device", given.device]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, before, after, accuracy = done.stdout.split()
    yield "20 layers of 10,000 x 512, strength chosen at each", f"{float(took):.1f} s"
    yield "peak of the process", f"{int(after) / 2**20:,.0f} MiB, {int(before) / 2**20:,.0f} before"
    yield "mean accuracy on 2,000", f"{float(accuracy):.1%}"


def write(path: Path, split: str, n: int) -> None:
    """A harvest whose layers are made rather than computed, each a little clearer than the last."""
    x, labels = features(12_000)
    part = slice(0, 10_000) if split == "train" else slice(10_000, None)
    x, labels = x[part], labels[part]

    class Made(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList(torch.nn.Identity() for _ in range(20))

        def forward(self, x: Tensor) -> Tensor:
            for k, stage in enumerate(self.stages):
                x = stage(x + 0.01 * k)
            return x

    batches = [
        (x[k : k + 500], labels[k : k + 500], [f"{split}/{i}" for i in range(k, min(n, k + 500))])
        for k in range(0, n, 500)
    ]
    repsim.harvest(
        Made(), batches, path, layers=[f"stages.{k}" for k in range(20)], examples=n
    ).close()


def probe_store(folder: Path, device: str) -> None:
    """Seconds, peaks before and after in bytes, and the mean accuracy, for ``layers``."""
    from repsim.activations.analyses.probe import probe_layers

    before = high_water()
    started = time.perf_counter()
    with (
        repsim.open_store(folder / "train.h5") as train,
        repsim.open_store(folder / "test.h5") as test,
    ):
        curve = probe_layers(train, test, device=device)
    took = time.perf_counter() - started
    accuracy = statistics.mean(entry.accuracy for entry in curve.entries)
    print(took, before, high_water(), accuracy)


# --- accuracies


def raw(given: argparse.Namespace) -> Lines:
    (x, labels, name), (t, truth, _) = (pixels(s, given.data_dir) for s in ("train", "test"))
    yield from read(f"pixels of {name}", x, labels, t, truth, given.device)
    torch.manual_seed(0)
    network = Discriminator(1, width=32).eval().to(given.device)
    sides = []
    for side in (x, t):
        maps = torch.nn.functional.pad(side.view(-1, 1, 28, 28), (2, 2, 2, 2)) / 127.5 - 1
        kept = []
        with torch.inference_mode(), Capture(network, ["features"]) as capture:
            for part in maps.split(500):
                network(part.to(given.device))
                kept.append(capture.take()["features"].cpu())
        sides.append(torch.cat(kept))
    yield from read("features, untrained", sides[0], labels, sides[1], truth, given.device)


def read(
    name: str, x: Tensor, labels: Tensor, t: Tensor, truth: Tensor, device: str
) -> Iterator[tuple[str, str]]:
    held = {"test_features": t.to(device), "test_labels": truth}
    for solver in ("knn", "lbfgs"):
        found = repsim.probe(x.to(device), labels, **held, solver=solver)  # type: ignore[arg-type]
        strength = "" if found.l2 is None else f", l2 {found.l2:g}"
        say = f"{found.accuracy:.2%} ({found.low:.2%} to {found.high:.2%}){strength}"
        yield f"{solver}, {name} ({x.shape[1]})", say


WORKLOADS: dict[str, Callable[[argparse.Namespace], Lines]] = {
    "knn": knn,
    "knn5": lambda given: knn(given, 5),
    "logistic": logistic,
    "path": path,
    "layers": layers,
    "raw": raw,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST; REPSIM_DATA by default")
    parser.add_argument(
        "--l2",
        type=lambda text: [float(each) for each in text.split(",")],
        default=[1e-2, 1e-3, 1e-4],
        help="strengths of logistic",
    )
    parser.add_argument("--probe", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.probe:
        probe_store(given.probe, given.device)
        return
    chosen = given.workloads or list(WORKLOADS)
    if unknown := set(chosen) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; try {', '.join(WORKLOADS)}")
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {given.device}, "
        f"peak {peak(given.device) / 1e9:.0f} GFLOP/s"
    )
    for name in chosen:
        print(f"\n{name}")
        for what, value in WORKLOADS[name](given):
            print(f"  {what:52} {value}", flush=True)


if __name__ == "__main__":
    main()
