"""LIVE In the Wild Image Quality Challenge Database (LIVEC)."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.matlab import read_numbers, read_texts
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError

_EXAMPLE = re.compile(r"t\d+\.\w+", re.IGNORECASE)  # examples for the raters, not part of the data set


class LIVEC(IQADataset):
    """LIVE In the Wild Image Quality Challenge Database (LIVEC, CLIVE, ChallengeDB): 1,162 authentic phone photographs.

    - **Scores**: MOS 0..100 (3.42 .. 92.43), higher is better, from 350,000 ratings on Mechanical Turk.
    - **Layout**: ``Images/`` and ``Data/All{Images,MOS}_release.mat``. The first 7 of 1,169 rows (``t1`` .. ``t7``, in
      ``Images/trainingImages``) are examples for the raters and are skipped.
    - **Split**: 80/20 by image; there is no official split.
    - **Get it**: ``download``, or the form at https://live.ece.utexas.edu/research/ChallengeDB/. Free to use with the
      authors' copyright notice and citation.
    - **Cite**: D. Ghadiyaram, A. C. Bovik, "Massive online crowdsourced study of subjective and objective picture
      quality", IEEE Transactions on Image Processing 25(1), 2016.
    """

    name = "LIVEC"
    images = 1162
    scale = ScoreScale("MOS", 0.0, 100.0)
    labels_in = ("Data/AllMOS_release.mat", "AllMOS_release.mat")
    images_in = ("Images",)
    landmarks: ClassVar = {
        "673.JPG": 3.42,
        "239.bmp": 3.498,
        "734.JPG": 4.308,
        "702.JPG": 4.344,
        "785.JPG": 90.55,
        "776.JPG": 91.078,
        "844.JPG": 91.436,
        "780.JPG": 92.432,
    }
    archives = archives.LIVEC
    access = "LIVEC is available through the form at https://live.ece.utexas.edu/research/ChallengeDB/."

    def read_labels(self) -> Listing:
        """Read names and MOS, without the examples."""
        names_file = self.find("Data/AllImages_release.mat", "AllImages_release.mat")
        names = read_texts(names_file, "AllImages_release")
        scores = read_numbers(self.labels, "AllMOS_release")
        if len(names) != len(scores):
            raise DatasetError(
                f"{self.labels}: has {len(scores)} scores for the {len(names)} images of {names_file.name}; "
                "use the two files of one release"
            )
        examples = np.array([_EXAMPLE.fullmatch(name) is not None for name in names])
        return Listing(
            names=names[~examples].tolist(),
            scores=scores[~examples],
            scale=self.scale,
            unrated=frozenset([*names[examples], *(f"trainingImages/{name}" for name in names[examples])]),
        )
