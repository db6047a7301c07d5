"""CKA of all pairs of layers, as a share of the matrix products this machine can do.

python benchmarks/engine.py [--repeat 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch

import repsim

#: name, layers a side, examples, features of each layer
WORKLOADS = [
    ("16 x 16 layers, n = 4,096, p = 64..4,096", 16, 4096, [64, 256, 1024, 4096] * 4),
    ("8 x 8 layers, n = 2,000, p = 2,048..32,768", 8, 2000, [2048, 8192, 16384, 32768] * 2),
    ("4 x 4 layers, n = 8,192, p = 512", 4, 8192, [512] * 4),
]


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def operations(n: int, widths_a: list[int], widths_b: list[int]) -> float:
    """Of Gram tiles above the diagonal, and of their inner products for every pair."""
    grams = n * n * (sum(widths_a) + sum(widths_b))
    inner = n * n * (len(widths_a) * len(widths_b) + len(widths_a) + len(widths_b))
    return float(grams + inner)


def peak(size: int = 2048) -> float:
    """Operations a second of one large float32 product."""
    x, y = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: x @ y) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32")
    print(f"{'workload':<46}{'GFLOP':>8}{'seconds':>9}{'of peak':>9}")
    for name, count, n, widths in WORKLOADS:
        generator = torch.Generator().manual_seed(0)
        sides = [
            {f"layer{k}": torch.randn(n, widths[k], generator=generator) for k in range(count)}
            for _ in range(2)
        ]
        work = operations(n, widths[:count], widths[:count])
        shares, times = [], []
        for _ in range(repeat):
            limit = peak()
            times.append(seconds(partial(repsim.cka_map, *sides)))
            shares.append(work / times[-1] / limit)
        row = f"{name:<46}{work / 1e9:>8.0f}{min(times):>9.2f}"
        print(f"{row}{100 * statistics.median(shares):>8.0f}%")


if __name__ == "__main__":
    main()
