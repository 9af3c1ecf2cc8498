"""Data loaders whose worker processes share memory, and are named when they die."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from lml_iqa.datasets.crops import CropBatch, GridCropDataset
from lml_iqa.datasets.table import ImageTable
from lml_iqa.utils.worker_notes import Reading


def make_loader(
    dataset: GridCropDataset, sampler: Sampler[Any], batch_size: int, num_workers: int
) -> DataLoader[CropBatch]:
    """Data loader of batches of crops.

    Args:
        dataset: The images.
        sampler: Their order.
        batch_size: Images a batch.
        num_workers: Processes that decode images.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,  # by name: for prediction Lightning builds the loader anew and gives it again
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=_share_memory,
        generator=torch.Generator().manual_seed(0),  # workers' base seed: leave the run's own generator alone
    )


def name_images_of_dead_workers(exception: BaseException, table: ImageTable, readings: Sequence[Reading]) -> None:
    """Add the images that dead worker processes were reading to the data loader's error.

    Args:
        exception: Any error; the data loader reports a dead worker as a RuntimeError.
        table: The images.
        readings: Notes of the workers.
    """
    rows = [row for reading in readings for row in reading.of_dead()]
    if rows and isinstance(exception, RuntimeError):
        paths = ", ".join(str(table.path(row)) for row in rows)
        exception.args = (
            f"{exception.args[0]} It was reading {paths}. If memory ran out: fewer data.num_workers, or smaller "
            "images (data.short_side); else look at that file.",
        )


def _share_memory(worker: int) -> None:
    """Keep the garbage collector of a worker off what it shares with the main process: looking at it copies it."""
    gc.freeze()
