"""Data loaders with shared memory and errors that name the image a dead worker was reading."""

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
    """Create a data loader of batches of crops.

    Args:
        dataset: The images.
        sampler: Sampler of the data set.
        batch_size: Images per batch.
        num_workers: Number of processes that decode images.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,  # as keyword: Lightning rebuilds the loader for prediction and passes it by name
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        worker_init_fn=_share_memory,
        generator=torch.Generator().manual_seed(0),  # draws the workers' seeds without using the global generator
    )


def name_images_of_dead_workers(exception: BaseException, table: ImageTable, readings: Sequence[Reading]) -> None:
    """Add the images that dead worker processes were reading to the data loader's error.

    Args:
        exception: Any error; the data loader reports a dead worker as a RuntimeError.
        table: The images.
        readings: Rows that the workers are reading.
    """
    rows = [row for reading in readings for row in reading.of_dead()]
    if rows and isinstance(exception, RuntimeError):
        paths = ", ".join(str(table.path(row)) for row in rows)
        exception.args = (
            f"{exception.args[0]} It was reading {paths}. If memory ran out, reduce data.num_workers or set "
            "data.short_side; otherwise check that file.",
        )


def _share_memory(worker: int) -> None:
    """Exclude shared objects from a worker's garbage collection, which would copy their memory pages."""
    gc.freeze()
