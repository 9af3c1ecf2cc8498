"""Sampler for validation, test and prediction."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import DistributedSampler


class ShareSampler(DistributedSampler[int]):
    """Share of an evaluation set for each process, in order: every image exactly once, no padding."""

    def __iter__(self) -> Iterator[int]:
        """Iterate over every ``num_replicas``-th index from ``rank``."""
        return iter(range(self.rank, len(self.dataset), self.num_replicas))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(range(self.rank, len(self.dataset), self.num_replicas))  # type: ignore[arg-type]
