"""Data module of data sets packed into shards."""

from __future__ import annotations

from typing import Any

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.shards import load_shards
from lml_iqa.datasets.table import ImageTable


class ShardsDataModule(IQADataModule):
    """A data set packed by ``lml-iqa data shard``, with the same scores, splits and crops as the original.

    Args:
        shards: Folder of the shards, or an address that litdata reads (``s3://bucket/folder``).
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    def __init__(self, shards: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shards = shards

    def load_table(self) -> ImageTable:
        """Read the packed table."""
        return load_shards(self.shards)
