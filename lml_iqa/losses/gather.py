"""Rows of all processes, with gradient."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, distributed


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate every process's rows in rank order; without distributed training, the rows themselves.

    The gradient flows back to the process that each row came from, summed over the processes that used it.

    Args:
        rows: (B, ...) with the same shape on every process.

    Returns:
        (world size * B, ...)
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return rows
    return cast(Tensor, _GatherRows.apply(rows))


class _GatherRows(torch.autograd.Function):
    # torch's own gather with gradient is deprecated, and its successor is younger than the oldest torch supported here.
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        gathered = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(gathered, rows.contiguous())
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
