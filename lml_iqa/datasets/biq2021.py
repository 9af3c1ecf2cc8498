"""BIQ2021."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.ratings import read_ratings
from lml_iqa.datasets.scale import ScoreScale

_LABELS = {"train": "Train (Images and MOS).csv", "test": "Test (Images and MOS).csv"}


class BIQ2021(IQADataset):
    """BIQ2021: 12,000 authentic photographs of 512x512 pixels, taken for the set or collected from the web.

    - **Scores**: MOS 0..1, higher is better, by 30 raters in a laboratory study.
    - **Layout**: ``Images/`` and the two label files ``{Train,Test} (Images and MOS).csv``. File names contain spaces
      and parentheses and differ in case from the label files, whose lines end with empty columns.
    - **Split**: official 10,000 / 2,000.
    - **Get it**: https://github.com/nisarahmedrana/BIQ2021. Its authors state no license.
    - **Cite**: N. Ahmed, S. Asif, "BIQ2021: a large-scale blind image quality assessment database", Journal of
      Electronic Imaging 31(5), 2022.
    """

    name = "BIQ2021"
    images = 12000
    scale = ScoreScale("MOS", 0.0, 1.0)
    labels_in = tuple(_LABELS.values())
    images_in = ("Images",)
    landmarks: ClassVar = {
        "ss03 (1889).jpg": 0.0,
        "ss03 (2190).jpg": 0.0043,
        "ss03 (6262).jpg": 0.0519,
        "ss03 (7635).jpg": 0.0683,
        "ss03 (216).jpg": 0.9041,
        "ss03 (2772).jpg": 0.9043,
        "ss03 (7347).jpg": 0.9222,
        "ss03 (2711).jpg": 0.9592,
    }
    access = "BIQ2021 is at https://github.com/nisarahmedrana/BIQ2021."

    def read_labels(self) -> Listing:
        """Read the two official label files."""
        read = {part: read_ratings(self.find(file), "Image Name", ["MOS"]) for part, file in _LABELS.items()}
        return Listing(
            names=[name for names, _ in read.values() for name in names],
            scores=np.concatenate([numbers["MOS"] for _, numbers in read.values()]),
            scale=self.scale,
            parts=[part for part, (names, _) in read.items() for _ in names],
            listed_in=str(self.folder.root / "{Train,Test} (Images and MOS).csv"),
        )
