"""Statistics of batch normalisation: of each batch, over many batches, and put into a network.

A network that was trained on batches of two kinds, each normalised by its own statistics, has one
set of running statistics, which mix both. Statistics over many batches of one kind make it a
function of the example and its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from repsim.devices import has_float64

#: Means and variances by their names in the state dict of a network.
Statistics = Mapping[str, Tensor]


def normalisations(network: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations of a network that keep running statistics, by address."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def kept(network: nn.Module) -> dict[str, Tensor]:
    """The statistics that a network has now."""
    return {
        f"{name}.{key}": getattr(norm, key).clone()
        for name, norm in normalisations(network).items()
        for key in ("running_mean", "running_var")
    }


@torch.no_grad()
def put(network: nn.Module, statistics: Statistics) -> None:
    """Give a network statistics, under the names of ``kept``; weights stay."""
    for name, norm in normalisations(network).items():
        for key in ("running_mean", "running_var"):
            getattr(norm, key).copy_(statistics[f"{name}.{key}"])


@contextmanager
def under(network: nn.Module, statistics: Statistics) -> Iterator[None]:
    """The network with other statistics, for the length of the block."""
    with _restored(network):
        put(network, statistics)
        yield


@contextmanager
def by_batch(
    network: nn.Module, note: Callable[[str, Tensor, Tensor], None] | None = None
) -> Iterator[None]:
    """A network in evaluation mode that normalises each batch by its own statistics, as training.

    Its statistics are as before at the end of the block.

    Args:
        network: in evaluation mode.
        note: told the address of a normalisation, and the mean and the unbiased variance (c,) of
            each batch that it is given.
    """
    with _restored(network), ExitStack() as hooks:
        for name, norm in normalisations(network).items():
            hook = norm.register_forward_pre_hook(_taking(name, note))
            hooks.callback(hook.remove)
        yield


@contextmanager
def _restored(network: nn.Module) -> Iterator[None]:
    """The statistics as they were, at the end of the block."""
    own = kept(network)
    try:
        yield
    finally:
        put(network, own)


def _taking(
    name: str, note: Callable[[str, Tensor, Tensor], None] | None
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    """The hook that gives a normalisation the statistics of the batch that follows."""

    @torch.no_grad()
    def take(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        (x,) = inputs
        wide = torch.float64 if has_float64(x.device) else torch.float32
        values = x.detach().to(wide).transpose(0, 1).flatten(1)
        variance, mean = torch.var_mean(values, 1, correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        if note is not None:
            n = values.shape[1]
            note(name, mean, variance * n / (n - 1))

    return take


class BatchMeans:
    """Means of the statistics of many batches, each batch normalised by its own.

    Every batch counts alike, as in torch's cumulative running statistics (``momentum=None``):
    ``statistics`` has the mean of the batches' means, and of their unbiased variances.

    Args:
        network: in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.batches = 0
        self._sums: dict[str, Tensor] = {}

    @torch.no_grad()
    def update(self, batch: Tensor) -> None:
        """Show the network a batch."""
        with by_batch(self.network, self._note):
            self.network(batch)
        self.batches += 1

    def _note(self, name: str, mean: Tensor, variance: Tensor) -> None:
        for key, values in (("running_mean", mean), ("running_var", variance)):
            address = f"{name}.{key}"
            self._sums[address] = self._sums.get(address, 0) + values

    def statistics(self) -> dict[str, Tensor]:
        """Statistics on the CPU, under the names of ``kept`` and in the types there."""
        return {
            name: (self._sums[name] / self.batches).to(values.dtype).cpu()
            for name, values in kept(self.network).items()
        }
