"""Denoising in the 8 x 8 discrete cosine transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8

SIDE = 8
FREQUENCIES = (1, 3)  # the axes of a block array that count frequencies


def to_blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal DCT of every 8 x 8 block.

    Args:
        image: (H, W, 3), sides that are multiples of 8.

    Returns:
        (H / 8, 8, W / 8, 8, 3), axes 1 and 3 being the vertical and the horizontal frequency.
    """
    height, width, channels = image.shape
    blocks = image.reshape(height // SIDE, SIDE, width // SIDE, SIDE, channels)
    return fft.dctn(blocks, axes=FREQUENCIES, norm="ortho")


def from_blocks(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of :func:`to_blocks`."""
    rows, _, columns, _, channels = coefficients.shape
    image = fft.idctn(coefficients, axes=FREQUENCIES, norm="ortho")
    return image.reshape(rows * SIDE, columns * SIDE, channels)


def pad_to_blocks(image: NDArray[np.float32], before: int = 0) -> NDArray[np.float32]:
    """Reflect ``before`` pixels to the top and the left, and as many as complete the blocks to the other sides."""
    after = [-(side + before) % SIDE for side in image.shape[:2]]
    return np.pad(image, ((before, after[0]), (before, after[1]), (0, 0)), mode="reflect")


class Denoising(Degradation):
    """What a denoiser leaves of a noisy image: detail lost, the noise not quite (type 9).

    Gaussian noise is added, then removed by hard thresholding of the block DCT on two grids half a block apart, whose
    results are averaged. ``severity`` is the standard deviation of the noise in gray levels.
    """

    THRESHOLD = 3.5
    """In standard deviations of the noise: high enough that almost none of it passes for detail."""

    def degrade(self, image: Image) -> Image:
        """Add noise, then denoise."""
        height, width = image.shape[:2]
        noisy = image + self.severity * self.white_noise(*image.shape)
        clean = np.zeros_like(noisy)
        for shift in (0, SIDE // 2):
            coefficients = to_blocks(pad_to_blocks(noisy, shift))
            kept = np.abs(coefficients) > self.THRESHOLD * self.severity
            kept[:, 0, :, 0] = True
            clean += from_blocks(coefficients * kept)[shift : shift + height, shift : shift + width]
        return to_uint8(clean / 2)
