"""Data module of unrated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets.folder import load_folder
from lml_iqa.datasets.table import ImageTable


class FolderDataModule(IQADataModule):
    """All images below a folder, for ``lml-iqa predict``.

    Args:
        root: The folder.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    def __init__(self, root: Path, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root

    def load_table(self) -> ImageTable:
        """List the images."""
        return load_folder(self.root)
