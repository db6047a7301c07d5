"""Measure the memory of a training step of a RevNet, with activations kept and computed again.

    python benchmarks/reversible.py --width 64 --size 224 --stem imagenet --batch 64

Nothing is computed: on the meta device, tensors have sizes only. The peak is of the bytes of all
tensors that are alive at once during the forward and the backward pass, without weights and their
gradients.
"""

from __future__ import annotations

import argparse
import weakref
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from repsim.networks.families.revnet import Config, RevNet


class Peak(TorchDispatchMode):
    """The most bytes that the tensors made within a block took at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return made

    def _note(self, storage: Any) -> None:
        place = storage._cdata
        if place not in self.alive:
            self.alive[place] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, place, None)
            self.most = max(self.most, sum(self.alive.values()))


def peak(config: Config, size: int, batch: int) -> int:
    """Bytes at the peak of a step."""
    with torch.device("meta"):
        network, images = RevNet(3, config, 0), torch.empty(batch, 3, size, size)
        network.head = nn.Linear(network.feature_dim, 4)
        for weight in network.parameters():
            weight.grad = torch.empty_like(weight)
        with Peak() as found:
            network(images).sum().backward()
    return found.most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--stem", default="cifar", choices=("cifar", "imagenet"))
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    for depth in (14, 26, 50):
        again, kept = (
            peak(
                Config(depth=depth, width=args.width, stem=args.stem, recompute=recompute),
                args.size,
                args.batch,
            )
            for recompute in (True, False)
        )
        print(f"depth {depth}: {again / 2**30:.3f} GiB computed again, {kept / 2**30:.3f} kept")


if __name__ == "__main__":
    main()
