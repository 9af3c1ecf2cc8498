"""CSIQ."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.ratings import read_pairs
from lml_iqa.datasets.readers.workbook import read_sheet
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError

# dst_type in the workbook: name of the type in file names. Folders use the latter in lower case.
_IN_NAMES = {
    "noise": "AWGN",
    "blur": "BLUR",
    "contrast": "contrast",
    "fnoise": "fnoise",
    "jpeg": "JPEG",
    "jpeg 2000": "jpeg2000",
}
_NAME = re.compile(
    rf"(?P<reference>\w+)\.(?P<type>{'|'.join(_IN_NAMES.values())})\.(?P<level>[1-5])\.png", re.IGNORECASE
)


class CSIQ(IQADataset):
    """CSIQ (Categorical Subjective Image Quality): 866 images from 30 reference images, 6 types at up to 5 levels.

    - **Distortions** (``types``): white noise ``awgn``, ``blur``, ``contrast`` (116 images), pink noise ``fnoise``,
      ``jpeg``, ``jpeg2000`` (150 each).
    - **Scores**: DMOS 0..1, *lower is better*.
    - **Layout**: as published ``src_imgs/``, ``dst_imgs/<type>/`` and ``csiq.DMOS.xlsx`` (sheet ``all_by_image``); in
      other copies ``dst_imgs_all/`` and ``csiq_label.txt``; any mixture. The workbook is preferred.
    - **Split**: 80/20 by reference image.
    - **Get it**: ``download``, or https://s2.smu.edu/~eclarson/csiq.html. Its authors state no license.
    - **Cite**: E. C. Larson, D. M. Chandler, "Most apparent distortion: full-reference image quality assessment and the
      role of strategy", Journal of Electronic Imaging 19(1), 2010.
    """

    name = "CSIQ"
    images = 866
    scale = ScoreScale("DMOS", 0.0, 1.0, higher_is_better=False)
    labels_in = ("csiq.DMOS.xlsx", "csiq_label.txt")
    images_in = ("dst_imgs/{type}", "dst_imgs_all", "dst_imgs")
    landmarks: ClassVar = {
        "log_seaside.AWGN.1.png": 0.0,
        "boston.JPEG.1.png": 0.0,
        "log_seaside.JPEG.1.png": 0.000208,
        "log_seaside.jpeg2000.1.png": 0.000208,
        "family.jpeg2000.5.png": 0.977123,
        "turtle.jpeg2000.5.png": 0.9842,
        "sunsetcolor.BLUR.5.png": 0.999409,
        "sunsetcolor.jpeg2000.5.png": 1.0,
    }
    archives = archives.CSIQ
    access = "CSIQ is at https://s2.smu.edu/~eclarson/csiq.html."

    def read_labels(self) -> Listing:
        """Read the workbook or the text file."""
        names, scores = self._workbook() if self.labels.suffix.casefold() == ".xlsx" else self._text()
        found = [_NAME.fullmatch(name) for name in names]
        for name, match in zip(names, found, strict=True):
            if match is None:
                raise DatasetError(
                    f"{self.labels}: {name!r} is not an image of CSIQ (like '1600.AWGN.1.png'); "
                    "use the original label file"
                )
        parts = [match for match in found if match is not None]
        return Listing(
            names=names,
            # Six decimals, as the text file has: the same scores, and the same splits, from either.
            scores=parse_numbers(self.labels, "dmos", scores, names).round(6),
            scale=self.scale,
            references=[part["reference"].casefold() for part in parts],
            types=[part["type"].casefold() for part in parts],
            levels=[int(part["level"]) for part in parts],
        )

    def _workbook(self) -> tuple[list[str], list[str]]:
        columns = read_sheet(self.labels, ["image", "dst_type", "dst_lev", "dmos"], sheet="all_by_image")
        names = []
        for image, kind, level in zip(columns["image"], columns["dst_type"], columns["dst_lev"], strict=True):
            if kind not in _IN_NAMES:
                raise DatasetError(
                    f"{self.labels}: dst_type {kind!r} of image {image!r} is not one of {', '.join(_IN_NAMES)}; "
                    "use the original workbook"
                )
            names.append(f"{image}.{_IN_NAMES[kind]}.{level}.png")
        return names, columns["dmos"]

    def _text(self) -> tuple[list[str], list[str]]:
        columns = read_pairs(self.labels, "image", "dmos")
        return [Path(name).name for name in columns["image"]], columns["dmos"]
