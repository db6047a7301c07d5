"""CKA of all pairs of layers, as a share of the matrix products this machine can do.

python benchmarks/engine.py [W1 W2 ...] [--repeat 3] [--device cuda] [--tf32] [--peers]

Each workload runs in a process of its own, which gives its peak memory. The limit is the fastest
float32 product that torch reaches (of TF32 with --tf32), measured before and after each run.
Operations are those of the better algebra, symmetric products counted once, and an exponential as
one.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import repsim
from repsim.ambient import full_precision
from repsim.measures.algebra import operations
from repsim.measures.product import PRODUCTS

Side = dict[str, Tensor]


@dataclass(frozen=True)
class Workload:
    """Layers of two networks as arrays."""

    layers: int
    n: int
    widths: tuple[int, ...]  #: repeated until there are enough
    kernel: str = "linear"
    stderr: bool = False

    @property
    def features(self) -> list[int]:
        return [self.widths[k % len(self.widths)] for k in range(self.layers)]

    def operations(self) -> float:
        sides = self.features, self.features
        if self.kernel == "linear":
            return min(operations(*sides, self.n, algebra) for algebra in ("gram", "features"))
        return operations(*sides, self.n, "gram") + self.layers * self.n**2

    def arrays(self) -> tuple[Side, Side]:
        """Layers that share some directions, with means as large as their spread."""
        generator = torch.Generator().manual_seed(0)
        shared = torch.randn(self.n, 64, generator=generator)

        def side() -> Side:
            made = {}
            for k, p in enumerate(self.features):
                x = torch.randn(self.n, p, generator=generator).add_(1.0)
                x[:, :64] += shared
                made[f"layer{k}"] = x
            return made

        return side(), side()


WORKLOADS = {
    "W1": Workload(16, 4096, (64, 256, 1024, 4096)),
    "W1e": Workload(16, 4096, (64, 256, 1024, 4096), stderr=True),
    "W2": Workload(8, 2048, (64, 256, 1024, 4096), "rbf:1"),
    "W3": Workload(8, 2000, (2048, 8192, 16384, 32768)),
    "W5": Workload(4, 50_000, (512,)),
    "W8": Workload(4, 20_000, (512,), "rbf:1"),
}

SAY = {
    "W1": "16 x 16 layers, n = 4,096, p = 64..4,096, linear",
    "W1e": "W1 with standard errors",
    "W2": "8 x 8 layers, n = 2,048, p = 64..4,096, RBF at the median",
    "W3": "8 x 8 layers, n = 2,000, p = 2,048..32,768, linear",
    "W4": "two ResNet-18, 2,000 images of 32 x 32, batches of 256",
    "W5": "4 x 4 layers, n = 50,000, p = 512, linear",
    "W8": "4 x 4 layers, n = 20,000, p = 512, RBF, from an HDF5 store",
}

#: Bytes for a workload that reads a store, so that the whole process stays under 1 GiB.
STORE_MEMORY = 400 << 20


@dataclass(frozen=True)
class Machine:
    """The device of the workloads, and the precision of its products."""

    device: str = "cpu"
    tf32: bool = False

    @property
    def products(self) -> str:
        return "TF32" if self.tf32 else "float32"


def seconds(run: Callable[[], Any], device: str = "cpu") -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    started = time.perf_counter()
    run()
    wait()
    return time.perf_counter() - started


def peak(machine: Machine, size: int = 2048) -> float:
    """Operations a second of the fastest large product."""
    device = machine.device
    size = 4 * size if device == "cuda" else size
    x, y, out = (torch.ones(size, size, device=device) for _ in range(3))
    ways = list(PRODUCTS.values())[: 1 if device == "cuda" else None]
    with full_precision(tf32=machine.tf32):
        best = min(seconds(lambda to=to: to(x, y, out), device) for to in ways for _ in range(3))
    return 2 * size**3 / best


def against_peak(run: Callable[[], Any], work: float, repeat: int, machine: Machine) -> tuple:
    """Seconds of each run, and its share of the peak measured before and after it."""
    run()
    times, shares = [], []
    before = peak(machine)
    for _ in range(repeat):
        times.append(seconds(run, machine.device))
        after = peak(machine)
        shares.append(work / times[-1] / max(before, after))
        before = after
    return times, shares


def arrays_workload(name: str, repeat: int, machine: Machine) -> dict[str, Any]:
    work = WORKLOADS[name]
    a, b = ({k: v.to(machine.device) for k, v in side.items()} for side in work.arrays())
    given = {"kernel": work.kernel, "stderr": work.stderr, "tf32": machine.tf32}
    found: list[Any] = []

    def run() -> None:
        found.append(repsim.cka_map(a, b, **given))

    times, shares = against_peak(run, work.operations(), repeat, machine)
    report = found[-1].provenance
    return {
        "operations": work.operations(),
        "seconds": statistics.median(times),
        "share": statistics.median(shares),
        "note": report["algebra"],
    }


def store_workload(name: str, repeat: int, machine: Machine) -> dict[str, Any]:
    """From a store, on the CPU within a memory limit, in alternation with the same from arrays."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{side}.h5" for side in "ab"]
        _apart(_write_stores, name, paths)
        # The arrays would count in the peak memory, so a process of its own measures that.
        alone = _apart(_run_stores, name, paths)
        timed = _apart(_alternate, name, paths, repeat)
    return {"operations": WORKLOADS[name].operations(), **timed, "memory": alone["memory"]}


def _write_stores(name: str, paths: list[Path]) -> None:
    from repsim.activations.store.format import ExampleRows, LayerSpec
    from repsim.activations.store.writer import write_store

    for path, side in zip(paths, WORKLOADS[name].arrays(), strict=True):
        layers = {k: LayerSpec("Linear", tuple(v.shape[1:]), "float32") for k, v in side.items()}
        n = len(next(iter(side.values())))
        whole = {"n": n, "heads": {}, "provenance": {}, "resume": False}
        with write_store(path, layers=layers, **whole) as writer:
            for start in range(0, n, 1000):
                for k, v in side.items():
                    writer.write(k, v[start : start + 1000].numpy())
                writer.commit(ExampleRows([str(i) for i in range(start, start + 1000)]))


def _run_stores(name: str, paths: list[Path]) -> dict[str, Any]:
    with repsim.open_store(paths[0]) as a, repsim.open_store(paths[1]) as b:
        kernel = WORKLOADS[name].kernel
        repsim.cka_map(a, b, kernel=kernel, stderr=False, memory=STORE_MEMORY)
    return {}


def _alternate(name: str, paths: list[Path], repeat: int) -> dict[str, Any]:
    work = WORKLOADS[name]
    a, b = work.arrays()
    stored, ratios, shares = [], [], []
    for _ in range(repeat):
        before = peak(Machine())
        stored.append(seconds(lambda: _run_stores(name, paths)))
        shares.append(work.operations() / stored[-1] / max(before, peak(Machine())))
        held = seconds(lambda: repsim.cka_map(a, b, kernel=work.kernel, stderr=False))
        ratios.append(stored[-1] / held)
    return {
        "seconds": statistics.median(stored),
        "share": statistics.median(shares),
        "note": f"{statistics.median(ratios):.2f} of the time in memory",
    }


def networks_workload(name: str, repeat: int, machine: Machine) -> dict[str, Any]:
    """Forward passes alone against forward passes with the map."""
    from torch.utils.data import DataLoader, TensorDataset

    from repsim.networks import ResNet

    torch.manual_seed(0)
    first, second = (ResNet(3, 18, 64).eval().to(machine.device) for _ in range(2))
    loader = DataLoader(TensorDataset(torch.randn(2000, 3, 32, 32)), 256)

    @torch.inference_mode()
    def forward() -> None:
        for (images,) in loader:
            first(images.to(machine.device))
            second(images.to(machine.device))

    def compare() -> None:
        repsim.compare(first, second, loader)

    forward()
    pairs = []
    for _ in range(repeat):
        turns = (forward, compare, forward)
        before, with_map, after = (seconds(run, machine.device) for run in turns)
        pairs.append((with_map, with_map / ((before + after) / 2)))
    ratio = statistics.median(ratio for _, ratio in pairs)
    return {
        "operations": float("nan"),
        "seconds": statistics.median(time for time, _ in pairs),
        "share": float("nan"),
        "note": f"{ratio:.2f} of the forward passes alone",
    }


# --- peers, where they are installed


def _pytorch_cka(a: Side, b: Side) -> float:
    module = importlib.import_module("cka")
    return seconds(lambda: module.cka_from_features(list(a.values()), list(b.values())))


def _ckatorch(a: Side, b: Side) -> float:
    module = importlib.import_module("ckatorch.core")
    some = [(x, y) for x in list(a.values())[:4] for y in list(b.values())[:4]]
    took = seconds(lambda: [module.cka_base(x, y, method="hsic") for x, y in some])
    return took * len(a) * len(b) / len(some)  # pair by pair, whatever the pair


PEERS = {"pytorch-cka": _pytorch_cka, "ckatorch (from 16 pairs)": _ckatorch}


def peers_workload(name: str) -> dict[str, float]:
    a, b = WORKLOADS[name].arrays()
    found = {}
    for peer, run in PEERS.items():
        try:
            found[peer] = run(a, b)
        except ImportError:
            continue
    return found


# --- a process each


def _memory() -> float:
    """Bytes at the peak of this process, inputs included."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _call(send: Any, run: Callable[..., Any], arguments: tuple) -> None:
    result = run(*arguments)
    send.send({"memory": _memory(), **result} if isinstance(result, dict) else result)


def _apart(run: Callable[..., Any], *arguments: Any) -> Any:
    """``run(*arguments)`` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_call, args=(send, run, arguments))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        raise SystemExit(f"{run.__name__} {arguments[0]} did not end") from None
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"of {', '.join(SAY)}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--tf32", action="store_true", help="allow products of TF32 on CUDA")
    parser.add_argument("--peers", action="store_true", help="time peers that are installed on W1")
    arguments = parser.parse_args()
    chosen = arguments.workloads or list(SAY)
    if unknown := set(chosen) - set(SAY):
        parser.error(f"there is no workload {', '.join(sorted(unknown))}; try {', '.join(SAY)}")
    machine = Machine(arguments.device, arguments.tf32)
    top = peak(machine) / 1e9
    print(
        f"torch {torch.__version__}, NumPy {np.__version__}, {torch.get_num_threads()} threads, "
        f"{machine.device}, {machine.products}, peak {top:.0f} GFLOP/s\n"
    )
    print("| | workload | GFLOP | seconds | of peak | peak memory | |")
    print("|---|---|---:|---:|---:|---:|---|")
    for name in chosen:
        special = {"W4": networks_workload, "W8": store_workload}
        run = special.get(name, arrays_workload)
        # A store is run by processes of its own, which must not count its making.
        call = run if name == "W8" else lambda *given, run=run: _apart(run, *given)
        row = call(name, arguments.repeat, machine)
        work, share = row["operations"] / 1e9, 100 * row["share"]
        cells = [
            "-" if np.isnan(work) else f"{work:,.0f}",
            f"{row['seconds']:.2f}",
            "-" if np.isnan(share) else f"{share:.0f} %",
            f"{row['memory'] / 2**30:.2f} GiB",
        ]
        print(f"| {name} | {SAY[name]} | {' | '.join(cells)} | {row['note']} |", flush=True)
    if arguments.peers:
        for peer, took in _apart(peers_workload, "W1").items():
            if peer != "memory":
                print(f"W1 by {peer}: {took:.1f} s")


if __name__ == "__main__":
    main()
