"""TID2013."""

from __future__ import annotations

import re
from typing import ClassVar

from lml_iqa.datasets import archives
from lml_iqa.datasets.base import IQADataset
from lml_iqa.datasets.labels import Listing
from lml_iqa.datasets.readers.decimals import parse_numbers
from lml_iqa.datasets.readers.ratings import read_pairs
from lml_iqa.datasets.scale import ScoreScale
from lml_iqa.errors import DatasetError

TYPES = (
    "additive_gaussian_noise",
    "color_component_noise",
    "spatially_correlated_noise",
    "masked_noise",
    "high_frequency_noise",
    "impulse_noise",
    "quantization_noise",
    "gaussian_blur",
    "image_denoising",
    "jpeg_compression",
    "jpeg2000_compression",
    "jpeg_transmission_errors",
    "jpeg2000_transmission_errors",
    "non_eccentricity_pattern_noise",
    "local_blockwise_distortion",
    "mean_shift",
    "contrast_change",
    "color_saturation_change",
    "multiplicative_gaussian_noise",
    "comfort_noise",
    "lossy_compression_of_noisy_image",
    "color_quantization_with_dither",
    "chromatic_aberration",
    "sparse_sampling_and_reconstruction",
)
"""The 24 distortion types, in the order of their numbers (from 1)."""

_NAME = re.compile(r"(?P<reference>i\d\d)_(?P<type>\d\d)_(?P<level>[1-5])\.bmp", re.IGNORECASE)


class TID2013(IQADataset):
    """Tampere Image Database 2013: 3,000 images from 25 reference images, with 24 distortion types at 5 levels.

    - **Distortions** (``types``): :data:`TYPES`. Reference images 1 to 24 are cropped from the Kodak photographs, 25 is
      not a photograph.
    - **Scores**: MOS 0..9 (0.24 .. 7.21), higher is better.
    - **Layout**: ``reference_images/``, ``distorted_images/``, ``mos_with_names.txt``. The label file and the image
      files differ in case (``I01_01_1.bmp``, ``i01_01_1.bmp``).
    - **Split**: 80/20 by reference image.
    - **Get it**: ``download``, or https://www.ponomarenko.info/tid2013.htm. Its authors state no license; that of
      TID2008 allows research and teaching.
    - **Cite**: N. Ponomarenko et al., "Image database TID2013: peculiarities, results and perspectives", Signal
      Processing: Image Communication 30, 2015.
    """

    name = "TID2013"
    images = 3000
    scale = ScoreScale("MOS", 0.0, 9.0)
    labels_in = ("mos_with_names.txt",)
    images_in = ("distorted_images",)
    landmarks: ClassVar = {
        "i09_24_5.bmp": 0.24242,
        "i17_24_5.bmp": 0.34211,
        "i10_24_5.bmp": 0.36842,
        "i22_24_5.bmp": 0.36842,
        "i25_17_2.bmp": 6.85714,
        "i16_17_2.bmp": 7.1,
        "i17_17_4.bmp": 7.1,
        "i04_17_4.bmp": 7.21429,
    }
    archives = archives.TID2013
    access = "TID2013 is at https://www.ponomarenko.info/tid2013.htm."

    def read_labels(self) -> Listing:
        """Read lines of score and name; reference, type and level are part of the name."""
        columns = read_pairs(self.labels, "score", "image")
        parts = []
        for name in columns["image"]:
            match = _NAME.fullmatch(name)
            if match is None or not 1 <= int(match["type"]) <= len(TYPES):
                raise DatasetError(
                    f"{self.labels}: {name!r} is not an image of TID2013 (like 'I01_01_1.bmp'); "
                    "use the original label file"
                )
            parts.append(match)
        return Listing(
            names=columns["image"],
            scores=parse_numbers(self.labels, "score", columns["score"], columns["image"]),
            scale=self.scale,
            references=[part["reference"].upper() for part in parts],
            types=[TYPES[int(part["type"]) - 1] for part in parts],
            levels=[int(part["level"]) for part in parts],
        )
