"""One data module a data set, on one base."""

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datamodules.biq2021 import BIQ2021DataModule
from lml_iqa.datamodules.folder import FolderDataModule
from lml_iqa.datamodules.synthetic import SyntheticDataModule
from lml_iqa.datamodules.table import TableDataModule

__all__ = ["BIQ2021DataModule", "FolderDataModule", "IQADataModule", "SyntheticDataModule", "TableDataModule"]
