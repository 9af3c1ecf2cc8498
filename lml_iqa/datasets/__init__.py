"""From label files to tables, splits and crops."""

from lml_iqa.datasets.biq2021 import load_biq2021
from lml_iqa.datasets.crops import CropBatch, GridCropDataset, RandomCropDataset
from lml_iqa.datasets.csv_table import load_csv_table
from lml_iqa.datasets.errors import DatasetError, ImageReadError
from lml_iqa.datasets.images import read_image
from lml_iqa.datasets.splits import Split, SplitRule, make_split
from lml_iqa.datasets.table import ImageTable, ScoreScale

__all__ = [
    "CropBatch",
    "DatasetError",
    "GridCropDataset",
    "ImageReadError",
    "ImageTable",
    "RandomCropDataset",
    "ScoreScale",
    "Split",
    "SplitRule",
    "load_biq2021",
    "load_csv_table",
    "make_split",
    "read_image",
]
