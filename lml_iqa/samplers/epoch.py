"""Training sampler: seeded epochs that can be resumed at any image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, DistributedSampler


class Position(NamedTuple):
    """Progress of a run in images, independent of the batch size and the number of processes.

    Attributes:
        epoch: Number of finished epochs, that is, the zero-based number of the current one.
        images: Number of images of the current epoch that all processes together have trained on.
    """

    epoch: int = 0
    images: int = 0


class EpochSampler(DistributedSampler[tuple[int, int]]):
    """Shuffled (epoch, index) pairs for :class:`~lml_iqa.datasets.crops.RandomCropDataset`, in whole batches.

    One seeded permutation per epoch is cut into global batches, and each process takes a share of every batch, so the
    n-th batch has the same images in the same order for any number of processes. An incomplete last batch is dropped: a
    batch of one image has no inter-class negatives and makes batch statistics unstable. Fewer images than one batch
    form a single batch, distributed evenly.

    An epoch resumed with another global batch size continues at the same image, and its last batch may be incomplete.
    At most ``num_replicas - 1`` images are then dropped, or repeated if fewer than ``num_replicas`` remain.

    Lightning sets the epoch of a DistributedSampler and does not replace it.

    Args:
        dataset: The dataset that the indices refer to; at least one image per process.
        batch_size: Images per batch in each process.
        num_replicas: Number of processes.
        rank: Rank of this process.
        seed: Seed of the permutations.
        start: Position at which a resumed run continues.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        batch_size: int,
        num_replicas: int,
        rank: int,
        seed: int,
        start: Position = Position(),  # noqa: B008  # immutable
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, seed=seed)
        self.batch_size = batch_size
        self.start = start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Iterate over this process's share of the rest of the epoch."""
        epoch, trained = max(Position(self.epoch), self.start)
        first, batches, rest = self._cut(trained)
        order = torch.randperm(self._images, generator=torch.Generator().manual_seed(self.seed + epoch))
        whole, last, _ = order[first:].tensor_split([batches * self.global_batch, batches * self.global_batch + rest])
        share = torch.cat(
            [
                whole.view(batches, self.num_replicas, self.batch_size)[:, self.rank].flatten(),
                last.tensor_split(self.num_replicas)[self.rank],
            ]
        )
        return ((epoch, int(index)) for index in share.numpy())

    def __len__(self) -> int:
        """Images per process in a whole epoch."""
        _, batches, rest = self._cut(0)
        return batches * self.batch_size + rest // self.num_replicas + (self.rank < rest % self.num_replicas)

    def batches_left(self, trained: int) -> int:
        """Number of remaining batches of an epoch.

        Args:
            trained: Images of the epoch that have been trained on.
        """
        _, batches, rest = self._cut(trained)
        return batches + (rest > 0)

    @property
    def _images(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    @property
    def global_batch(self) -> int:
        """Images per batch on all processes together."""
        return self.batch_size * self.num_replicas

    def _cut(self, trained: int) -> tuple[int, int, int]:
        """First remaining image, number of whole global batches from there, and size of an incomplete last batch."""
        left = self._images - trained
        per_epoch = self._images // self.global_batch
        if trained % self.global_batch == 0 and left >= self.global_batch:
            return trained, left // self.global_batch, 0
        first = min(trained, self._images - self.num_replicas)  # at least one image for each process
        batches, rest = divmod(self._images - first, self.global_batch)
        if rest < self.num_replicas or batches == max(1, per_epoch):  # never more batches than a whole epoch has
            rest = 0
        return first, batches, rest
