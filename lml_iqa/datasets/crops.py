"""Torch data sets of crops: each image of a table is decoded once and cut into K crops."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from lml_iqa.datasets.table import ImageTable
from lml_iqa.transforms.crops import cut_crops, grid_positions, pad_to, random_positions
from lml_iqa.utils.worker_notes import Reading


class CropBatch(TypedDict):
    """K crops of one image; a collated batch has a leading B in every shape.

    Attributes:
        crops: (K, 3, S, S) uint8.
        positions: (K, 2) int64 top-left corners (y, x) in the decoded image.
        mos: () float32 score on the model's 0..1, higher better.
        image_id: () int64 row of the image in the table.
    """

    crops: Tensor
    positions: Tensor
    mos: Tensor
    image_id: Tensor


class GridCropDataset(Dataset[CropBatch]):
    """Images with crops on a fixed grid, for validation, test and prediction.

    Args:
        table: The data set.
        rows: (n,) row numbers of the images to serve.
        crops: Crops K an image.
        crop_size: Side S of a crop in pixels; smaller images are reflect-padded.
    """

    def __init__(self, table: ImageTable, rows: NDArray[np.int64], *, crops: int, crop_size: int) -> None:
        self.table = table
        self.rows = rows
        self.crops = crops
        self.crop_size = crop_size
        self.reading = Reading()  # names the image that a dead worker was reading
        self._mos = table.scale.to_unit(table.scores).astype(np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> CropBatch:
        """Decode image ``rows[index]`` and cut its grid of crops."""
        row = int(self.rows[index])
        image = self._read(row)
        positions = grid_positions(image.shape[0], image.shape[1], self.crop_size, self.crops)
        return self._batch(row, cut_crops(image, positions, self.crop_size), positions)

    def _read(self, row: int) -> NDArray[np.uint8]:
        with self.reading(row):
            return pad_to(self.table.read(row), self.crop_size)

    def _batch(self, row: int, crops: Tensor, positions: NDArray[np.int64]) -> CropBatch:
        return CropBatch(
            crops=crops,
            positions=torch.from_numpy(positions),
            mos=torch.tensor(self._mos[row]),
            image_id=torch.tensor(row, dtype=torch.int64),
        )


class FixedRandomCropDataset(GridCropDataset):
    """Images with random crops that are drawn once, as a function of (seed, image).

    The usual test protocol in the literature, for comparison with published results. Unlike with
    :class:`GridCropDataset`, the score depends on the seed.

    Args:
        table: The data set.
        rows: (n,) row numbers of the images to serve.
        crops: Crops K an image.
        crop_size: Side S of a crop in pixels; smaller images are reflect-padded.
        seed: Seed of the positions.
    """

    def __init__(self, table: ImageTable, rows: NDArray[np.int64], *, crops: int, crop_size: int, seed: int) -> None:
        super().__init__(table, rows, crops=crops, crop_size=crop_size)
        self.seed = seed

    def __getitem__(self, index: int) -> CropBatch:
        """Decode image ``rows[index]`` and cut its crops."""
        row = int(self.rows[index])
        image = self._read(row)
        rng = np.random.default_rng([self.seed, row])
        positions = random_positions(image.shape[0], image.shape[1], self.crop_size, self.crops, rng)
        return self._batch(row, cut_crops(image, positions, self.crop_size), positions)


class RandomCropDataset(GridCropDataset):
    """Images with seeded random crops, for training.

    Crops are a function of (seed, epoch, image): they do not depend on the number of workers or processes, do not
    change when a run is resumed, and differ between workers. :class:`~lml_iqa.samplers.EpochSampler` passes the epoch
    with the index.

    Args:
        table: The data set.
        rows: (n,) row numbers of the images to serve.
        crops: Crops K an image.
        crop_size: Side S of a crop in pixels; smaller images are reflect-padded.
        seed: Seed of positions and flips.
        flip: Whether to mirror each crop horizontally with probability 1/2.
    """

    def __init__(
        self, table: ImageTable, rows: NDArray[np.int64], *, crops: int, crop_size: int, seed: int, flip: bool = True
    ) -> None:
        super().__init__(table, rows, crops=crops, crop_size=crop_size)
        self.seed = seed
        self.flip = flip

    def __getitem__(self, index: tuple[int, int] | int) -> CropBatch:
        """Decode image ``rows[index]`` and cut the crops of an epoch; the argument is (epoch, index).

        A plain index always returns the crops of epoch 0: ``Trainer(overfit_batches=...)`` replaces the sampler with
        one that does not pass an epoch.
        """
        epoch, position = index if isinstance(index, tuple) else (0, index)
        row = int(self.rows[position])
        rng = np.random.default_rng([self.seed, epoch, row])
        image = self._read(row)
        positions = random_positions(image.shape[0], image.shape[1], self.crop_size, self.crops, rng)
        flips = rng.random(self.crops) < 0.5 if self.flip else None
        return self._batch(row, cut_crops(image, positions, self.crop_size, flips), positions)
