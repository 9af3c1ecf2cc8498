"""KADID-10k."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.ratings import read_columns
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError

TYPES = (
    "gaussian_blur",
    "lens_blur",
    "motion_blur",
    "color_diffusion",
    "color_shift",
    "color_quantization",
    "color_saturation_hsv",
    "color_saturation_lab",
    "jpeg2000_compression",
    "jpeg_compression",
    "white_noise",
    "white_noise_in_color_components",
    "impulse_noise",
    "multiplicative_noise",
    "denoise",
    "brighten",
    "darken",
    "mean_shift",
    "jitter",
    "non_eccentricity_patch",
    "pixelate",
    "quantization",
    "color_block",
    "high_sharpen",
    "contrast_change",
)
"""The 25 distortion types, in the order of their numbers (from 1)."""

_NAME = re.compile(r"(?P<reference>i\d\d)_(?P<type>\d\d)_(?P<level>0[1-5])\.png", re.IGNORECASE)


class KADID10k(IQADataset):
    """KADID-10k: 10,125 images from 81 reference images, with 25 distortion types at 5 levels.

    - **Distortions** (``types``): :data:`TYPES`.
    - **Scores**: MOS 1..5 (1 .. 4.93), *higher is better*, although the column is called ``dmos``.
    - **Layout**: as published ``images/`` (reference and distorted images together) and ``dmos.csv``; in other copies
      ``reference_images/``, ``distorted_images/``, ``dmos.csv``.
    - **Split**: 80/20 by reference image.
    - **Get it**: ``download``, or https://database.mmsp-kn.de/kadid-10k-database.html. Free for research, without a
      formal license; the reference images are from Pixabay.
    - **Cite**: H. Lin, V. Hosu, D. Saupe, "KADID-10k: a large-scale artificially distorted IQA database", QoMEX 2019.
    """

    name = "KADID-10k"
    images = 10125
    scale = ScoreScale("MOS", 1.0, 5.0)
    labels_in = ("dmos.csv",)
    images_in = ("images", "distorted_images")
    landmarks: ClassVar = {
        "I02_02_05.png": 1.0,
        "I58_04_05.png": 1.0,
        "I29_04_05.png": 1.03,
        "I32_16_05.png": 1.03,
        "I59_14_01.png": 4.87,
        "I08_03_01.png": 4.9,
        "I30_19_01.png": 4.9,
        "I23_03_01.png": 4.93,
    }
    archives = archives.KADID10K
    access = "KADID-10k is at https://database.mmsp-kn.de/kadid-10k-database.html."

    def read_labels(self) -> Listing:
        """Read ``dmos.csv``; type and level are part of the names."""
        columns = read_columns(self.labels, ["dist_img", "ref_img", "dmos"])
        parts = []
        for name, reference in zip(columns["dist_img"], columns["ref_img"], strict=True):
            match = _NAME.fullmatch(name)
            if match is None or not 1 <= int(match["type"]) <= len(TYPES):
                raise DatasetError(
                    f"{self.labels}: {name!r} is not an image of KADID-10k (like 'I01_01_01.png'); "
                    "use the original label file"
                )
            if Path(reference).stem.casefold() != match["reference"].casefold():
                raise DatasetError(
                    f"{self.labels}: {name!r} is listed with reference {reference!r}; use the original label file"
                )
            parts.append(match)
        return Listing(
            names=columns["dist_img"],
            scores=parse_numbers(self.labels, "dmos", columns["dmos"], columns["dist_img"]),
            scale=self.scale,
            references=[Path(name).stem.upper() for name in columns["ref_img"]],
            types=[TYPES[int(part["type"]) - 1] for part in parts],
            levels=[int(part["level"]) for part in parts],
            unrated=frozenset(columns["ref_img"]),
        )
