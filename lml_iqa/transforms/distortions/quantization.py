"""Quantization of values and colors."""

from __future__ import annotations

import numpy as np
from PIL import Image as PILImage

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8


class QuantizationNoise(Degradation):
    """Uniform quantization of every channel (type 7).

    ``severity`` is the step in gray levels. The middle of the range is always a level, so that no step size changes the
    tint of the whole image.
    """

    def degrade(self, image: Image) -> Image:
        """Round to multiples of the step around mid gray."""
        table = to_uint8(128 + self.severity * np.rint((np.arange(256) - 128) / self.severity))
        return table[image]


class DitheredPalette(Degradation):
    """Color quantization with Floyd-Steinberg dithering, by Pillow (type 22).

    ``severity`` is 256 divided by the number of colors, 1 .. 128.
    """

    def degrade(self, image: Image) -> Image:
        """Choose a palette for the image, then dither to it."""
        picture = PILImage.fromarray(image)
        palette = picture.quantize(round(256 / self.severity), method=PILImage.Quantize.FASTOCTREE)
        # Pillow only dithers to a given palette.
        dithered = picture.quantize(palette=palette, dither=PILImage.Dither.FLOYDSTEINBERG)
        return np.array(dithered.convert("RGB"))
