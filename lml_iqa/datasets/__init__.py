"""Data sets: label files read into tables, splits and crops."""

from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.biq2021 import BIQ2021
from lml_iqa.datasets.crops import CropBatch, GridCropDataset, RandomCropDataset
from lml_iqa.datasets.csiq import CSIQ
from lml_iqa.datasets.csv_table import load_csv_table
from lml_iqa.datasets.flive import FLIVE
from lml_iqa.datasets.kadid10k import KADID10k
from lml_iqa.datasets.koniq10k import KonIQ10k
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.live import LIVE
from lml_iqa.datasets.livec import LIVEC
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.datasets.spaq import SPAQ
from lml_iqa.datasets.splits import Split, SplitRule, make_split
from lml_iqa.datasets.table import ImageTable
from lml_iqa.datasets.tid2013 import TID2013
from lml_iqa.errors import DatasetError, ImageReadError
from lml_iqa.images.read import read_image

BENCHMARKS: tuple[type[IQADataset], ...] = (LIVE, CSIQ, TID2013, KADID10k, LIVEC, KonIQ10k, FLIVE, SPAQ, BIQ2021)
"""All published data sets with a reader in this package."""

__all__ = [
    "BENCHMARKS",
    "BIQ2021",
    "CSIQ",
    "FLIVE",
    "LIVE",
    "LIVEC",
    "SPAQ",
    "TID2013",
    "CropBatch",
    "DatasetError",
    "GridCropDataset",
    "IQADataset",
    "ImageReadError",
    "ImageTable",
    "KADID10k",
    "KonIQ10k",
    "Listing",
    "RandomCropDataset",
    "ScoreScale",
    "Split",
    "SplitRule",
    "load_csv_table",
    "make_split",
    "read_image",
]
