"""Differentiable collectives for batches of uneven size; no-ops on a single process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, distributed


def world() -> tuple[int, int]:
    """Number of processes, and the rank of this one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size(), distributed.get_rank()
    return 1, 0


def row_counts(rows: Tensor) -> list[int]:
    """Number of rows on each process, in rank order; synchronizes the processes.

    Args:
        rows: (n, ...); n may differ between processes.
    """
    if world()[0] == 1:
        return [len(rows)]
    counts: list[int] = _gather(torch.tensor([len(rows)], device=rows.device)).tolist()
    return counts


def gather_rows(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Concatenate the rows of all processes in rank order; a single process gets its rows back.

    Gradients flow back to the process that each row came from, summed over the processes that used it.

    Args:
        rows: (n, ...), with the same shape on every process except for n.
        counts: n of every process, from :func:`row_counts`.

    Returns:
        (sum of counts, ...)
    """
    return rows if world()[0] == 1 else cast(Tensor, _GatherRows.apply(rows, counts))


def sum_over_processes(values: Tensor) -> Tensor:
    """Elementwise sum over the processes, without gradient."""
    total = values.detach().clone()
    if world()[0] > 1:
        distributed.all_reduce(total)
    return total


class _GatherRows(torch.autograd.Function):
    # torch's gather with gradient is deprecated, and its successor is missing in the oldest supported torch.
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.counts = list(counts)
        most = max(counts)  # messages have equal length: pad, then cut
        filled = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
        gathered = _gather(filled)
        return torch.cat([part[:n] for part, n in zip(gathered.split(most), counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return sum_over_processes(gradients[0].contiguous()).split(ctx.counts)[world()[1]], None


def _gather(rows: Tensor) -> Tensor:
    gathered = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(world()[0])]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)
