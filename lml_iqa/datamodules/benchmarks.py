"""The published sets of rated images."""

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
    Benchmark,
    DatasetError,
    ImageTable,
    KADID10k,
    KonIQ10k,
)
from lml_iqa.datasets.download import LOCK, download
from lml_iqa.datasets.flive import with_official_parts


class BenchmarkDataModule(IQADataModule):
    """A published set; a further one names its :class:`~lml_iqa.datasets.benchmark.Benchmark` and nothing else.

    Args:
        root: Folder of the data set, or one above it.
        download: Whether to fetch the set into ``root`` where it is not there yet.
        kwargs: See :class:`~lml_iqa.datamodules.base.IQADataModule`.
    """

    dataset: ClassVar[type[Benchmark]]

    def __init__(self, root: Path, *, download: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.download = download

    def prepare_data(self) -> None:
        """Download where asked: once per node, and once where nodes share a file system."""
        root = self.root.expanduser()
        by_hand = root.is_dir() and self.dataset.homes(root) and not (root / LOCK).exists()
        if not self.download or by_hand:
            return
        if not self.dataset.archives:
            raise DatasetError(f"{self.dataset.name} cannot be downloaded for you. {self.dataset.access}")
        download(self.dataset.archives, root)

    def load_table(self) -> ImageTable:
        """Read the labels and find the images."""
        table = self.dataset(self.root).load()
        if len(table) < self.dataset.images:
            rank_zero_info(
                f"{table.name}: only {len(table)} of the set's {self.dataset.images} images are listed, so figures are "
                "not comparable with published ones"
            )
        return table


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

    def load_table(self) -> ImageTable:
        """As for every set; the official parts are looked up only where the split wants them."""
        table = super().load_table()
        return with_official_parts(table) if str(self.split_rule) in {"auto", "official"} else table


class SPAQDataModule(BenchmarkDataModule):
    """SPAQ: see :class:`~lml_iqa.datasets.spaq.SPAQ`."""

    dataset = SPAQ


class BIQ2021DataModule(BenchmarkDataModule):
    """BIQ2021: see :class:`~lml_iqa.datasets.biq2021.BIQ2021`."""

    dataset = BIQ2021
