"""LML-IQA: no-reference image quality assessment by contrastive local manifold learning.

The public names are loaded on first use, so that ``import lml_iqa`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lml_iqa.callbacks import CollapseMonitor, QualityMaps, Report, ResumePoint
    from lml_iqa.datamodules import (
        BenchmarkDataModule,
        BIQ2021DataModule,
        CSIQDataModule,
        FLIVEDataModule,
        FolderDataModule,
        IQADataModule,
        KADID10kDataModule,
        KonIQ10kDataModule,
        LIVECDataModule,
        LIVEDataModule,
        ShardsDataModule,
        SPAQDataModule,
        SyntheticDataModule,
        TableDataModule,
        TID2013DataModule,
    )
    from lml_iqa.datasets import Benchmark, DatasetError, ImageTable, Listing, ScoreScale, Split, make_split, read_image
    from lml_iqa.losses import LocalManifoldLoss, mutual_loss
    from lml_iqa.metrics import QualityMetrics, fit_logistic, krcc, plcc, rmse, srcc
    from lml_iqa.models import LMLNetwork, LMLPair, WeightsError, image_score
    from lml_iqa.tasks import LMLTask

_HOMES = {
    "callbacks": ["CollapseMonitor", "QualityMaps", "Report", "ResumePoint"],
    "datamodules": [
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
    ],
    "datasets": [
        "Benchmark",
        "DatasetError",
        "ImageTable",
        "Listing",
        "ScoreScale",
        "Split",
        "make_split",
        "read_image",
    ],
    "losses": ["LocalManifoldLoss", "mutual_loss"],
    "metrics": ["QualityMetrics", "fit_logistic", "krcc", "plcc", "rmse", "srcc"],
    "models": ["LMLNetwork", "LMLPair", "WeightsError", "image_score"],
    "tasks": ["LMLTask"],
}

__version__ = "0.1.0"
__all__ = [
    "BIQ2021DataModule",
    "Benchmark",
    "BenchmarkDataModule",
    "CSIQDataModule",
    "CollapseMonitor",
    "DatasetError",
    "FLIVEDataModule",
    "FolderDataModule",
    "IQADataModule",
    "ImageTable",
    "KADID10kDataModule",
    "KonIQ10kDataModule",
    "LIVECDataModule",
    "LIVEDataModule",
    "LMLNetwork",
    "LMLPair",
    "LMLTask",
    "Listing",
    "LocalManifoldLoss",
    "QualityMaps",
    "QualityMetrics",
    "Report",
    "ResumePoint",
    "SPAQDataModule",
    "ScoreScale",
    "ShardsDataModule",
    "Split",
    "SyntheticDataModule",
    "TID2013DataModule",
    "TableDataModule",
    "WeightsError",
    "fit_logistic",
    "image_score",
    "krcc",
    "make_split",
    "mutual_loss",
    "plcc",
    "read_image",
    "rmse",
    "srcc",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"lml_iqa.{home}"), name)
    raise AttributeError(f"module 'lml_iqa' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
