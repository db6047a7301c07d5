"""Batch normalisation over all processes, so that a batch is one however it is shared out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from repsim.training.parallel import total


class BatchNormOfAll(_BatchNorm):
    """Batch normalisation whose statistics are those of the images of every process.

    ``torch.nn.SyncBatchNorm`` is the same for CUDA alone. Names, parameters and buffers are those
    of the module that it stands in for; in evaluation mode it is no other.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.dim()}")

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        x = input if input.dtype == torch.float64 else input.float()
        across = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        count = total(x.new_tensor(x.numel() / x.shape[1]))
        mean = total(x.sum(across)) / count
        # From the mean, not from the sum of squares, which would cancel.
        variance = total((x - mean.view(shape)).square().sum(across)) / count
        self._note(mean.detach(), variance.detach() * count / (count - 1))
        x = (x - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            x = x * self.weight.view(shape) + self.bias.view(shape)
        return x.to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, by the unbiased variance, as torch does."""
        if not self.track_running_stats:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        weight = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(value, weight)


def synchronise(network: nn.Module, device: torch.device) -> nn.Module:
    """Replace every batch normalisation inside ``network`` by one over all processes.

    Parameters and buffers stay the objects they are, for optimisers and networks that share them.
    """
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, _BatchNorm) and not isinstance(child, BatchNormOfAll):
                setattr(parent, name, _of_all(child))
    return network


def _of_all(norm: _BatchNorm) -> BatchNormOfAll:
    replaced = BatchNormOfAll.__new__(BatchNormOfAll)
    replaced.__dict__ = norm.__dict__  # its very parameters, buffers and settings
    return replaced
