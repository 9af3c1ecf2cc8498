"""SPAQ."""

from __future__ import annotations

from typing import ClassVar

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.workbook import read_sheet
from lml_iqa.datasets.scale import ScoreScale

_LABELS = "MOS and Image attribute scores.xlsx"


class SPAQ(IQADataset):
    """SPAQ (Smartphone Photography Attribute and Quality): 11,125 photographs from 66 phones.

    - **Scores**: MOS 0..100 (2 .. 96), higher is better, from a laboratory study.
    - **Layout**: ``TestImage/``, ``SPAQ zip/`` or ``SPAQ zip/512x384``, and ``Annotations/MOS and Image attribute
      scores.xlsx``. The originals have many megapixels; papers resize the short side to 512 pixels (``short_side``).
    - **Split**: 80/20 by image; there is no official split.
    - **Get it**: ``download`` (35 GB, from the mirror linked by its authors), or https://github.com/h4nwei/SPAQ. For
      education and research only.
    - **Cite**: Y. Fang, H. Zhu, Y. Zeng, K. Ma, Z. Wang, "Perceptual quality assessment of smartphone photography",
      CVPR 2020.
    """

    name = "SPAQ"
    images = 11125
    scale = ScoreScale("MOS", 0.0, 100.0)
    labels_in = tuple(
        f"{place}{file}"
        for place in ("Annotations/", "", "SPAQ zip/Annotations/", "SPAQ zip/")
        for file in (_LABELS, _LABELS.replace(" ", "_"))
    )
    images_in = ("TestImage", "SPAQ zip/TestImage", "SPAQ zip", "SPAQ zip/512x384", "512x384", ".")
    landmarks: ClassVar = {
        "07338.jpg": 2.0,
        "08932.jpg": 2.83,
        "06739.jpg": 3.0,
        "05488.jpg": 3.38,
        "07339.jpg": 94.0,
        "07296.jpg": 94.67,
        "07311.jpg": 94.67,
        "07248.jpg": 96.0,
    }
    archives = archives.SPAQ
    access = "SPAQ is at https://github.com/h4nwei/SPAQ."

    def read_labels(self) -> Listing:
        """Read the workbook's first sheet."""
        columns = read_sheet(self.labels, ["Image name", "MOS"])
        names = columns["Image name"]
        return Listing(names=names, scores=parse_numbers(self.labels, "MOS", columns["MOS"], names), scale=self.scale)
