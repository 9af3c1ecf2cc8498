"""Noise types that albumentations does not provide."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8
from lml_iqa.transforms.distortions.wavelet import decompose, recompose


class ColorNoise(Degradation):
    """Gaussian noise that is stronger in the color components than in the luminance (type 2).

    ``severity`` is the standard deviation in Cb and Cr, in gray levels; that of the luma is a third.
    """

    LUMA_SHARE = 1 / 3

    def degrade(self, image: Image) -> Image:
        """Add independent noise to Y, Cb and Cr."""
        luma, cb, cr = self.severity * self.white_noise(3, *image.shape[:2])
        luma *= self.LUMA_SHARE
        # Inverse YCbCr matrix of ITU-R BT.601, applied to the noise only, since it is linear.
        noise = np.stack([luma + 1.402 * cr, luma - 0.344 * cb - 0.714 * cr, luma + 1.772 * cb], axis=-1)
        return to_uint8(image + noise)


class MaskedNoise(Degradation):
    """Gaussian noise that is masked by texture (type 4).

    Its local strength is proportional to the local contrast. ``severity`` is the root mean square of the noise over the
    whole image, in gray levels.
    """

    WINDOW = (7, 7)

    def degrade(self, image: Image) -> Image:
        """Add noise in proportion to the local standard deviation of the luma."""
        luma: NDArray[np.float32] = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        variance = cv2.blur(luma * luma, self.WINDOW) - cv2.blur(luma, self.WINDOW) ** 2
        activity = np.sqrt(np.maximum(variance, 0)) + 0.5  # 0.5: noise for flat images too
        # Otherwise a few very strong edges would get nearly all of the noise.
        activity = np.minimum(activity, 3 * activity.mean())
        strength = self.severity * activity / np.sqrt(np.mean(activity**2))
        return to_uint8(image + strength[..., None] * self.white_noise(*image.shape))


class HighFrequencyNoise(Degradation):
    """Gaussian noise without its low frequencies (type 5).

    ``severity`` is its standard deviation in gray levels.
    """

    CUT = 0.8
    """Sigma in pixels of the Gaussian low-pass that is subtracted."""

    def degrade(self, image: Image) -> Image:
        """Add high-passed white noise."""
        white = self.white_noise(*image.shape)
        noise = white - cv2.GaussianBlur(white, (0, 0), self.CUT)
        return to_uint8(image + (self.severity / noise.std()) * noise)


class MultiplicativeNoise(Degradation):
    """Gaussian noise proportional to the signal, similar to speckle (type 19).

    ``severity`` is the standard deviation relative to the pixel value.
    """

    def degrade(self, image: Image) -> Image:
        """Multiply every value by an independent random factor around one."""
        return to_uint8(image * (1 + self.severity * self.white_noise(*image.shape)))


class ComfortNoise(Degradation):
    """Fine texture replaced by noise with the same spectrum, as by a coder that does not transmit texture (type 20).

    Wavelet coefficients with a weight below ``severity``, in gray levels, keep their magnitude and get a random sign.
    The three channels share the signs, so that the noise has the colors of the texture.
    """

    LEVELS = 4

    def degrade(self, image: Image) -> Image:
        """Transform, randomize the signs of small coefficients, transform back."""
        height, width = image.shape[:2]
        multiple = 2**self.LEVELS
        padding = ((0, -height % multiple), (0, -width % multiple), (0, 0))
        approximation, bands = decompose(np.pad(image.astype(np.float32), padding, mode="symmetric"), self.LEVELS)
        for level, details in enumerate(bands):
            for band in details:
                flip = self.random_generator.random((*band.shape[:2], 1), dtype=np.float32) < 0.5
                # The support of a coefficient doubles in each direction from level to level.
                small = np.abs(band) * 2**level < self.severity
                band[small & flip] *= -1
        return to_uint8(recompose(approximation, bands)[:height, :width])
