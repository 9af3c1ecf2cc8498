"""BIQ2021."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.biq2021 import load_biq2021
from lml_iqa.datasets.table import ImageTable


class BIQ2021DataModule(IQADataModule):
    """BIQ2021: 12,000 authentic 512x512 photographs, MOS 0..1, official split 10,000 / 2,000.

    Args:
        root: Folder that holds ``Images/`` and the two label files.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    def __init__(self, root: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def load_table(self) -> ImageTable:
        """Read the two official label files."""
        return load_biq2021(self.root)
