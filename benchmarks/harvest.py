"""A harvest against its limits: the forward passes alone, and plain h5py writing the same bytes.

python benchmarks/harvest.py [--images 2000] [--width 64] [--repeat 3] [--device cuda]

Forward passes, plain writing and the harvest take turns. Reading is measured on the largest layer,
against plain h5py on a contiguous data set of the same numbers.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import repsim
from repsim.networks import ResNet

BLOCK = 16  # rows read at a time


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def network(width: int, device: str = "cpu") -> ResNet:
    torch.manual_seed(0)
    model = ResNet(3, 18, width)
    model.head = nn.Linear(model.feature_dim, 10)
    return model.eval().to(device)


def layers(model: ResNet) -> list[str]:
    """Twenty: those that the network names, and the first convolution."""
    return ["stem.0", *model.layer_names()]


def batches(images: int) -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    return DataLoader(TensorDataset(torch.randn(images, 3, 32, 32, generator=generator)), 256)


def harvest(path: Path, images: int, width: int, device: str = "cpu") -> Callable[[], None]:
    model, loader = network(width, device), batches(images)

    def run() -> None:
        repsim.harvest(model, loader, path, layers=layers(model), overwrite=True).close()

    return run


def write(path: Path, images: int, width: int, repeat: int, device: str) -> list[tuple[str, str]]:
    model, loader = network(width, device), batches(images)
    store, plain_file = path / "store.h5", path / "plain.h5"
    run_harvest = harvest(store, images, width, device)

    @torch.inference_mode()
    def forward() -> None:
        for (batch,) in loader:
            model(batch.to(device))

    run_harvest()
    with repsim.open_store(store) as opened:
        arrays = {layer: opened[layer][:] for layer in opened.layers}
    size = sum(array.nbytes for array in arrays.values())

    def plain() -> None:
        with h5py.File(plain_file, "w") as file:
            for layer, array in arrays.items():
                file[layer] = array

    forward()
    plain()
    rounds = [tuple(map(seconds, (forward, plain, run_harvest))) for _ in range(repeat)]
    ratios = [took / max(alone, written) for alone, written, took in rounds]
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    return [
        ("written", f"{images:,} images, {len(arrays)} layers, {size / 1e9:.2f} GB"),
        ("forward passes alone", f"{medians[0]:.2f} s"),
        ("plain h5py, the same bytes", f"{medians[1]:.2f} s"),
        ("harvest", f"{medians[2]:.2f} s"),
        (
            "harvest / the larger of the two",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        ),
    ]


def read(path: Path, repeat: int) -> list[tuple[str, str]]:
    """Of the first layer, in order, from what the system holds in memory."""
    with repsim.open_store(path / "store.h5") as store, h5py.File(path / "c.h5", "w") as file:
        layer = store.layers[0]
        file["x"] = store[layer][:]

        def ours() -> None:
            for start in range(0, store.n, BLOCK):
                store.rows(layer, start, start + BLOCK)

        def plain() -> None:
            for start in range(0, store.n, BLOCK):
                file["x"][start : start + BLOCK]

        ours()
        plain()
        rounds = [(seconds(ours), seconds(plain)) for _ in range(5 * repeat)]
    ratio = statistics.median(plain / ours for ours, plain in rounds)
    speed = store_bytes(path) / statistics.median(ours for ours, _ in rounds)
    return [
        ("reading a layer", f"{speed / 1e9:.1f} GB/s"),
        ("its speed / plain h5py, contiguous", f"{ratio:.2f}"),
    ]


def store_bytes(path: Path) -> int:
    with repsim.open_store(path / "store.h5") as store:
        return int(store.describe()[0]["bytes"])


def memory(path: Path, images: int, width: int) -> list[tuple[str, str]]:
    """Peak memory of a process, less the peak of forward passes alone; where Linux says it."""
    if not Path("/proc/self/status").exists():
        return []
    peaks = []
    for count in (images // 4, images):
        command = [sys.executable, __file__, "--peak", str(count), "--width", str(width)]
        done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    return [
        (f"memory above forward passes, {count:,} images", f"{peak / 1e6:,.0f} MB")
        for count, peak in zip((images // 4, images), peaks, strict=True)
    ]


def peak(path: Path, images: int, width: int) -> int:
    """Bytes that a harvest adds to the peak of forward passes."""
    model, loader = network(width), batches(images)
    with torch.inference_mode():
        for (batch,) in loader:
            model(batch)
    before = high_water()
    harvest(path / "peak.h5", images, width)()
    return high_water() - before


def high_water() -> int:
    """Most bytes that this process has held; ``getrusage`` would count its parent's too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(dict(line.split(":") for line in lines)["VmHWM"].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", help="where to write; by default a temporary one")
    given = parser.parse_args()
    if given.peak:
        print(peak(Path(given.folder), given.peak, given.width))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        path = Path(folder)
        rows = write(path, given.images, given.width, given.repeat, given.device)
        rows += read(path, given.repeat)
        (path / "c.h5").unlink()
        rows += memory(path, given.images, given.width)
    for name, value in rows:
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
