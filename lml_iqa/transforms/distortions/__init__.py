"""The 24 distortion types of TID2013 at five levels each, for clean photographs, with human opinion of each.

Types, levels and opinions follow TID2013 (Ponomarenko et al., Signal Processing: Image Communication, 2015). The
pictures are synthesised here, from the published description of each type; no code or image of TID2013 is used.
"""

import os

# albumentations asks the network for a newer version at import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from lml_iqa.transforms.distortions.catalogue import DISTORTIONS, LEVEL_PSNR, Distortion, Reach
from lml_iqa.transforms.distortions.fidelity import psnr
from lml_iqa.transforms.distortions.opinion import human_mean_opinion
from lml_iqa.transforms.distortions.synthesis import distort

__all__ = ["DISTORTIONS", "LEVEL_PSNR", "Distortion", "Reach", "distort", "human_mean_opinion", "psnr"]
