"""Detection of test images that a model was trained or selected on."""

from __future__ import annotations

import copy
import hashlib
from collections import defaultdict
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lml_iqa.datamodules import IQADataModule
from lml_iqa.datasets import ImageTable, Split


class SeenImages:
    """Images of one data set that are byte-for-byte copies of images in another.

    Args:
        trained: Data used for training.
        tested: Data used for the test.
    """

    def __init__(self, trained: IQADataModule, tested: IQADataModule) -> None:
        self.trained = trained
        self.tested = tested
        self._copies = _copies(trained.table, tested.table)

    def find(self, split_seed: int, *, whole: bool) -> list[str]:
        """Find test images that the model was trained or selected on.

        Args:
            split_seed: Seed of both splits.
            whole: Whether all images are tested; otherwise only the test set.
        """
        trained = _split(self.trained, split_seed)
        used = [trained.train, trained.test if self.trained.validate_on == "test" else trained.val]
        rows = self._copies[np.isin(self._copies[:, 0], np.concatenate(used)), 1]
        if not whole:
            rows = rows[np.isin(rows, _split(self.tested, split_seed).test)]
        return [str(name) for name in np.unique(self.tested.table.files[rows])]


def _split(data: IQADataModule, seed: int) -> Split:
    again = copy.copy(data)  # shares the table
    again.split_seed, again._split = seed, None
    return again.split


def _copies(first: ImageTable, second: ImageTable) -> NDArray[np.int64]:
    """(n, 2) rows of identical files; only files of equal size are read."""
    by_size = defaultdict(list)
    for row in range(len(first)):
        by_size[first.size(row)].append(row)
    pairs = [
        (row, other)
        for other in range(len(second))
        for row in by_size.get(second.size(other), [])
        if _digest(first, row) == _digest(second, other)
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


@cache
def _digest(table: ImageTable, row: int) -> bytes:
    return hashlib.sha256(table.content(row)).digest()
