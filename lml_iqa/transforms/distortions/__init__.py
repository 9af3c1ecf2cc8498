"""The 24 distortion types of TID2013 at five levels each, with the mean MOS per type and level.

Types, levels and MOS are those of TID2013 (Ponomarenko et al., Signal Processing: Image Communication, 2015). The
distortions are implemented from the published description of each type, without code or images of TID2013.
"""

import os

# Otherwise albumentations checks for a newer version online at import.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from lml_iqa.transforms.distortions.catalogue import DISTORTIONS, LEVEL_PSNR, Distortion, Reach
from lml_iqa.transforms.distortions.fidelity import psnr
from lml_iqa.transforms.distortions.opinion import human_mean_opinion
from lml_iqa.transforms.distortions.synthesis import distort

__all__ = ["DISTORTIONS", "LEVEL_PSNR", "Distortion", "Reach", "distort", "human_mean_opinion", "psnr"]
