"""Layers of an encoder that act on the batch as a whole, made to act on that of all processes together."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lml_iqa.utils.distributed import gather_rows, world


class GlobalBatchNorm(nn.Module):
    """Batch normalization with the statistics of all processes; alone, what it takes the place of.

    torch's SyncBatchNorm runs on GPUs only, and ``Trainer(sync_batchnorm=True)``, which switches it on, drops the
    activations that timm keeps in its layers.

    Args:
        norm: torch's or timm's layer, whose parameters, statistics and activation are taken over.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        if norm.momentum is None or not (norm.affine and norm.track_running_stats):
            raise ValueError(f"{norm}: only batch normalization with weights and a moving average is supported")
        self.eps: float = norm.eps
        self.momentum: float = norm.momentum
        self.weight: nn.Parameter = norm.weight
        self.bias: nn.Parameter = norm.bias
        for name, buffer in norm.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())
        self.act: nn.Module = getattr(norm, "act", nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (M, C, ...)."""
        if self.training:
            self.num_batches_tracked += 1
        if self.training and world()[0] > 1:
            x = self._across_processes(x)
        else:
            statistics = self.running_mean, self.running_var
            x = F.batch_norm(x, *statistics, self.weight, self.bias, self.training, self.momentum, self.eps)
        activated: Tensor = self.act(self.drop(x))
        return activated

    def _across_processes(self, x: Tensor) -> Tensor:
        processes, channels = world()[0], x.shape[1]
        # Squares summed in half precision would not do, nor would a mean square less a squared mean.
        with torch.autocast(x.device.type, enabled=False):
            var, mean = torch.var_mean(x.float(), dim=[d for d in range(x.ndim) if d != 1], correction=0)
            count = mean.new_full((1,), x.numel() // channels)
            gathered = gather_rows(torch.cat([count, mean, var])[None], [1] * processes)
            counts, means, variances = gathered.split([1, channels, channels], dim=1)
            total = counts.sum()
            mean = (counts * means).sum(dim=0) / total
            var = (counts * (variances + (means - mean) ** 2)).sum(dim=0) / total
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * total / (total - 1), self.momentum)
            scale = self.weight * (var + self.eps).rsqrt()
            shape = (1, channels, *[1] * (x.ndim - 2))
            normalized: Tensor = (x.float() - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)
            return normalized.type_as(x)


class GlobalDropPath(DropPath):  # type: ignore[misc]
    """Stochastic depth that draws for the crops of all processes and keeps its own; alone, timm's.

    Processes with the same seed and equal shares then drop what one process would. Otherwise each draws for itself.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Drop whole crops of (M, ...), and scale the others up."""
        processes, rank = world()
        if self.drop_prob == 0 or not self.training or processes == 1:
            kept: Tensor = super().forward(x)
            return kept
        draws = x.new_empty(processes * len(x), *[1] * (x.ndim - 1)).bernoulli_(1 - self.drop_prob)
        if self.scale_by_keep and self.drop_prob < 1:
            draws /= 1 - self.drop_prob
        return x * draws[rank * len(x) : (rank + 1) * len(x)]


def span_processes(network: nn.Module, *, train_batch_norm: bool) -> None:
    """Put the layers above in the place of torch's and timm's, with the same parameters and state-dict keys.

    Args:
        network: Changed in place, where it acts on the batch as a whole: stochastic depth with a rate above 0, and
            batch normalization.
        train_batch_norm: Whether batch normalization uses the statistics of each batch; if not, it stays as it is.
    """
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if train_batch_norm and isinstance(child, _BatchNorm):
                setattr(module, name, GlobalBatchNorm(child))
            elif isinstance(child, DropPath) and child.drop_prob:
                setattr(module, name, GlobalDropPath(child.drop_prob, child.scale_by_keep))
