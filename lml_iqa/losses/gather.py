"""Rows of all processes, with gradient."""

from __future__ import annotations

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather as all_gather_with_gradient


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
    if rows.requires_grad:
        return torch.cat(list(all_gather_with_gradient(rows.contiguous())))
    gathered = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)
