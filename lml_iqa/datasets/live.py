"""LIVE release 2."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import ClassVar

import numpy as np

from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.layout.case_folder import CaseFolder
from lml_iqa.datasets.readers.matlab import read_numbers, read_texts
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError

# Number of rows per folder in the label files, in this order; image numbers start at 1.
_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}
_FOLDER = "databaserelease2"


class LIVE(IQADataset):
    """LIVE Image Quality Assessment Database, release 2: 779 images from 29 reference images, with 5 distortion types.

    - **Distortions** (``types``): JPEG2000 ``jp2k`` 169, JPEG ``jpeg`` 175, white noise ``wn`` 145, Gaussian blur
      ``gblur`` 145, JPEG2000 over a fading channel ``fastfading`` 145. Levels are continuous; the table has none.
    - **Scores**: DMOS, *lower is better*. The realigned DMOS (``dmos_realigned.mat``, -2.64 .. 111.77), which papers
      use; ``dmos.mat`` (17.9 .. 84.5) only if that file is missing, with a note in the log. The two correlate .947.
    - **Layout**: ``databaserelease2/{jp2k,jpeg,wn,gblur,fastfading,refimgs}/img{n}.bmp``, ``refnames_all.mat`` and the
      label file in that folder or one above. Of 982 rows, 203 are copies of reference images (``orgs``) and skipped.
    - **Split**: 80/20 by reference image.
    - **Get it**: from https://live.ece.utexas.edu/research/Quality/subjective.htm, with the password that the authors
      send on request. Free to use with their copyright notice and citation. ``dmos_realigned.mat`` is a separate
      download there.
    - **Cite**: H. R. Sheikh, M. F. Sabir, A. C. Bovik, "A statistical evaluation of recent full reference image quality
      assessment algorithms", IEEE Transactions on Image Processing 15(11), 2006.
    """

    name = "LIVE"
    images = 779
    scale = ScoreScale("DMOS", -3.0, 112.0, higher_is_better=False)
    labels_in = tuple(
        f"{place}{file}" for file in ("dmos_realigned.mat", "dmos.mat") for place in ("", f"{_FOLDER}/", "../")
    )
    images_in = (".", _FOLDER)
    landmarks: ClassVar = {
        "jpeg/img57.bmp": -2.64,
        "jpeg/img13.bmp": -0.195,
        "jpeg/img70.bmp": -0.128,
        "jpeg/img64.bmp": 3.214,
        "wn/img42.bmp": 107.65,
        "jpeg/img164.bmp": 108.773,
        "wn/img23.bmp": 109.627,
        "wn/img20.bmp": 111.775,
    }
    access = (
        "Ask its authors for the password (https://live.ece.utexas.edu/research/Quality/subjective.htm), "
        "and unpack databaserelease2.zip."
    )

    @classmethod
    def homes(cls, root: Path) -> list[Path]:
        """Folders with a label file; one in the parent folder counts only if the folder contains the images."""
        inside = [name for name in cls.labels_in if not name.startswith("../")]
        found = {home: CaseFolder(home) for home in super().homes(root)}
        return [home for home, folder in found.items() if folder.find("jp2k") or any(map(folder.find_file, inside))]

    def read_labels(self) -> Listing:
        """Read the DMOS, the names of the reference images, and the flags of rows that are copies of them."""
        realigned = self.labels.name.casefold() == "dmos_realigned.mat"
        dmos = read_numbers(self.labels, "dmos_new" if realigned else "dmos")
        marks = read_numbers(self.labels, "orgs")
        copies = marks == 1
        if not np.isin(marks, (0, 1)).all():
            raise DatasetError(f"{self.labels}: orgs has values other than 0 and 1; use the original file")
        names_file = self.find("refnames_all.mat", f"{_FOLDER}/refnames_all.mat", "../refnames_all.mat")
        references = read_texts(names_file, "refnames_all")
        rows = [(f"{folder}/img{n}.bmp", folder) for folder, count in _FOLDERS.items() for n in range(1, count + 1)]
        for file, length in ((self.labels, len(dmos)), (self.labels, len(copies)), (names_file, len(references))):
            if length != len(rows):
                raise DatasetError(f"{file}: has {length} rows, but LIVE has {len(rows)}; use the original file")
        rated = np.flatnonzero(~copies)
        if len(rated) == 0:
            raise DatasetError(f"{self.labels}: marks every row as a copy (orgs); use the original file")
        for i in rated:
            if not references[i]:
                raise DatasetError(
                    f"{names_file}: row {i + 1} ({rows[i][0]}) has no reference image; use the original file"
                )
        return Listing(
            names=[rows[i][0] for i in rated],
            scores=dmos[rated],
            scale=self.scale if realigned else ScoreScale("DMOS", 0.0, 100.0, higher_is_better=False),
            references=[PurePosixPath(references[i]).stem for i in rated],
            types=[rows[i][1] for i in rated],
            unrated=frozenset(rows[i][0] for i in np.flatnonzero(copies)),
            note="realigned DMOS" if realigned else "DMOS as first released, not the realigned DMOS that papers use",
        )
