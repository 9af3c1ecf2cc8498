"""Data modules of the published data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch.utilities import rank_zero_info

from lml_iqa.datamodules.base import IQADataModule
from lml_iqa.datasets import (
    BIQ2021,
    CSIQ,
    FLIVE,
    LIVE,
    LIVEC,
    SPAQ,
    TID2013,
    ImageTable,
    IQADataset,
    KADID10k,
    KonIQ10k,
)


class BenchmarkDataModule(IQADataModule):
    """Data module of a published data set; subclasses only set ``dataset``.

    Args:
        root: Folder of the data set, or a folder above it.
        download: Whether to download the set into ``root`` if it is not there yet.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    dataset: ClassVar[type[IQADataset]]

    def __init__(self, root: Path, *, download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.download = download

    def prepare_data(self) -> None:
        """Download the set if requested, once per node, or once if the nodes share a file system."""
        if self.download:
            self.dataset.fetch(self.root)

    def load_table(self) -> ImageTable:
        """Read the labels and find the images."""
        table = self.dataset(self.root).load()
        if len(table) < self.dataset.images:
            rank_zero_info(
                f"{table.name}: only {len(table)} of the set's {self.dataset.images} images are listed, so metrics are "
                "not comparable with published ones"
            )
        return self.dataset.with_official_split(table) if str(self.split_rule) in {"auto", "official"} else table


class LIVEDataModule(BenchmarkDataModule):
    """LIVE release 2: see :class:`~lml_iqa.datasets.live.LIVE`."""

    dataset = LIVE


class CSIQDataModule(BenchmarkDataModule):
    """CSIQ: see :class:`~lml_iqa.datasets.csiq.CSIQ`."""

    dataset = CSIQ


class TID2013DataModule(BenchmarkDataModule):
    """TID2013: see :class:`~lml_iqa.datasets.tid2013.TID2013`."""

    dataset = TID2013


class KADID10kDataModule(BenchmarkDataModule):
    """KADID-10k: see :class:`~lml_iqa.datasets.kadid10k.KADID10k`."""

    dataset = KADID10k


class LIVECDataModule(BenchmarkDataModule):
    """LIVE In the Wild Challenge: see :class:`~lml_iqa.datasets.livec.LIVEC`."""

    dataset = LIVEC


class KonIQ10kDataModule(BenchmarkDataModule):
    """KonIQ-10k: see :class:`~lml_iqa.datasets.koniq10k.KonIQ10k`."""

    dataset = KonIQ10k


class FLIVEDataModule(BenchmarkDataModule):
    """FLIVE (LIVE-FB): see :class:`~lml_iqa.datasets.flive.FLIVE`."""

    dataset = FLIVE


class SPAQDataModule(BenchmarkDataModule):
    """SPAQ: see :class:`~lml_iqa.datasets.spaq.SPAQ`."""

    dataset = SPAQ


class BIQ2021DataModule(BenchmarkDataModule):
    """BIQ2021: see :class:`~lml_iqa.datasets.biq2021.BIQ2021`."""

    dataset = BIQ2021
