"""Lightning data modules, one per data set."""

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datamodules.benchmarks import (
    BenchmarkDataModule,
    BIQ2021DataModule,
    CSIQDataModule,
    FLIVEDataModule,
    KADID10kDataModule,
    KonIQ10kDataModule,
    LIVECDataModule,
    LIVEDataModule,
    SPAQDataModule,
    TID2013DataModule,
)
from lml_iqa.datamodules.folder import FolderDataModule
from lml_iqa.datamodules.shards import ShardsDataModule
from lml_iqa.datamodules.synthetic import SyntheticDataModule
from lml_iqa.datamodules.table import TableDataModule

__all__ = [
    "BIQ2021DataModule",
    "BenchmarkDataModule",
    "CSIQDataModule",
    "FLIVEDataModule",
    "FolderDataModule",
    "IQADataModule",
    "KADID10kDataModule",
    "KonIQ10kDataModule",
    "LIVECDataModule",
    "LIVEDataModule",
    "SPAQDataModule",
    "ShardsDataModule",
    "SyntheticDataModule",
    "TID2013DataModule",
    "TableDataModule",
]
