"""Batch normalisation with statistics over all processes of a group."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainables.compat import BatchNorm

Total = Callable[[Tensor], Tensor]
"""The differentiable sum over the processes."""


class SynchronisedBatchNorm(BatchNorm):
    """Synchronised batch norm on CPUs; ``nn.SyncBatchNorm`` supports GPUs only.

    (``nn.SyncBatchNorm`` counts a batch that every process holds once per process, so its running
    variance is slightly smaller than that of a single process.)

    Mean and variance are computed in two passes, which avoids cancellation; the parts of a batch
    may differ in size. Ioffe & Szegedy 2015, algorithm 1.
    """

    total: Total

    @classmethod
    def of(cls, norm: BatchNorm, total: Total) -> SynchronisedBatchNorm:
        """A synchronised norm with the parameters and statistics of ``norm``."""
        made = cls(norm.num_features, norm.eps, norm.momentum, norm.affine)
        made.__dict__.update(norm.__dict__)
        made.total = total
        return made

    def _check_input_dim(self, input: Tensor) -> None:
        """Accept any input with channels; the class that is replaced is more specific."""
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        """``(B, C, …)`` to the same shape."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        dtype, input = input.dtype, input.float()  # sums over a batch need fp32 under autocast
        axes = [axis for axis in range(input.dim()) if axis != 1]
        shape = [1, -1, *[1] * (input.dim() - 2)]
        count = self.total(input.new_tensor(input.numel() / input.shape[1]))
        if count <= 1:  # torch's message
            size = f"input size {input.shape}"
            raise ValueError(f"Expected more than 1 value per channel when training, got {size}")
        mean = self.total(input.sum(axes)) / count
        centred = input - mean.view(shape)
        variance = self.total(centred.square().sum(axes)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1))
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            normalised = normalised * self.weight.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics; without a momentum they are plain means."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def synchronise(network: nn.Module, total: Total) -> nn.Module:
    """Replace every batch norm in place; a network that is a batch norm is returned replaced."""
    if any(p.is_cuda for p in network.parameters()):
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return converted
    if isinstance(network, BatchNorm):
        return SynchronisedBatchNorm.of(network, total)
    for name, child in network.named_children():
        setattr(network, name, synchronise(child, total))
    return network
