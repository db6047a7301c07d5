"""A harvest against its two limits: the forward passes alone, and plain h5py writing the bytes.

python benchmarks/harvest.py [--images 1000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import torch
from torch.utils.data import DataLoader, TensorDataset

import repsim
from repsim.networks import ResNet


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=16)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = ResNet(3, 18, arguments.width).eval()
    images = torch.randn(arguments.images, 3, 32, 32)
    loader = DataLoader(TensorDataset(images), 256)

    @torch.inference_mode()
    def forward() -> None:
        for (batch,) in loader:
            model(batch)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.h5"

        def harvest() -> None:
            repsim.harvest(model, loader, path, overwrite=True).close()

        harvest()
        with repsim.open_store(path) as store:
            arrays = {layer: store[layer][:] for layer in store.layers}
        size = sum(array.nbytes for array in arrays.values())

        def plain() -> None:
            with h5py.File(Path(folder) / "plain.h5", "w") as file:
                for layer, array in arrays.items():
                    file[layer] = array

        rounds = [(seconds(forward), seconds(plain), seconds(harvest)) for _ in range(3)]
    forward_s, plain_s, harvest_s = (min(column) for column in zip(*rounds, strict=True))
    print(f"{arguments.images} images, {len(arrays)} layers, {size / 1e6:.0f} MB")
    print(
        f"forward passes {forward_s:.2f} s, plain h5py {plain_s:.2f} s, harvest {harvest_s:.2f} s"
    )
    print(f"harvest / larger of the two: {harvest_s / max(forward_s, plain_s):.2f}")


if __name__ == "__main__":
    main()
