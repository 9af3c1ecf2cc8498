"""Lossy compression: JPEG, JPEG 2000, and JPEG of a noisy image."""

from __future__ import annotations

import io
import math

import albumentations as A
import numpy as np
from PIL import Image as PILImage

from lml_iqa.transforms.distortions.base import Degradation, Image


def jpeg(scale: float) -> A.ImageCompression:
    """JPEG (type 10).

    Args:
        scale: Factor on the standard quantization tables, 0.02 .. 50; unlike JPEG quality, it is proportional to the
            quantization step.

    Returns:
        The transform, with the nearest of libjpeg's 100 quality factors.
    """
    quality = 100 - 50 * scale if scale < 1 else 50 / scale  # libjpeg's jpeg_quality_scaling, solved for the quality
    quality = int(np.clip(round(quality), 1, 100))
    return A.ImageCompression(quality_range=(quality, quality), p=1)


def compressed_noise(severity: float) -> A.Compose:
    """Lossy compression of a noisy image (type 21).

    Args:
        severity: Standard deviation of the Gaussian noise in gray levels. The mid-band quantization step (about 40 at
            scale 1) is four standard deviations, so that compression removes most of the noise.
    """
    return A.Compose([A.GaussNoise(std_range=(severity / 255, severity / 255), p=1), jpeg(4 * severity / 40)])


class Jpeg2000(Degradation):
    """JPEG 2000 by OpenJPEG (type 11).

    ``severity`` is the coder's target root-mean-square error in gray levels.
    """

    def degrade(self, image: Image) -> Image:
        """Encode to the target error and decode."""
        stream = io.BytesIO()
        decibels = 20 * math.log10(255 / self.severity)
        PILImage.fromarray(image).save(
            stream, "JPEG2000", no_jp2=True, irreversible=True, quality_mode="dB", quality_layers=[decibels]
        )
        return np.array(PILImage.open(stream))
