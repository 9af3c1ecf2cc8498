"""Denoising in the 8 x 8 discrete cosine transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8

SIDE = 8
FREQUENCIES = (1, 3)  # frequency axes of a block array


def to_blocks(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Orthonormal DCT of every 8 x 8 block.

    Args:
        image: (H, W, 3), both sides multiples of 8.

    Returns:
        (H / 8, 8, W / 8, 8, 3), with the vertical and horizontal frequencies on axes 1 and 3.
    """
    height, width, channels = image.shape
    blocks = image.reshape(height // SIDE, SIDE, width // SIDE, SIDE, channels)
    return fft.dctn(blocks, axes=FREQUENCIES, norm="ortho")


def from_blocks(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Inverse of :func:`to_blocks`."""
    rows, _, columns, _, channels = coefficients.shape
    image = fft.idctn(coefficients, axes=FREQUENCIES, norm="ortho")
    return image.reshape(rows * SIDE, columns * SIDE, channels)


def pad_to_blocks(image: NDArray[np.float32], before: int = 0) -> NDArray[np.float32]:
    """Reflect-pad by ``before`` pixels at the top and left, and to whole blocks at the bottom and right."""
    after = [-(side + before) % SIDE for side in image.shape[:2]]
    return np.pad(image, ((before, after[0]), (before, after[1]), (0, 0)), mode="reflect")


class Denoising(Degradation):
    """Denoising artifacts: lost detail and residual noise (type 9).

    Gaussian noise is added, then removed by hard thresholding of the block DCT; the results of two grids half a block
    apart are averaged. ``severity`` is the standard deviation of the noise in gray levels.
    """

    THRESHOLD = 3.5
    """In standard deviations of the noise; high enough to remove almost all of it."""

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
