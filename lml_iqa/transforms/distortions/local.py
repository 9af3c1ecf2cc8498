"""Local distortions, and shifts of the mean."""

from __future__ import annotations

import numpy as np

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8

PHOTOGRAPH = 512 * 384
"""Pixels of a TID2013 image; numbers of patches and blocks refer to this area and scale with the image's area."""


class PatternNoise(Degradation):
    """Non-eccentricity pattern noise (type 14): small patches replaced by nearby ones.

    ``severity`` is the number of 15 x 15 patches in an image of 512 x 384.
    """

    PATCH = 15
    NEAR = 12
    """Maximum distance in pixels, along each axis, between a patch and its source."""

    def degrade(self, image: Image) -> Image:
        """Copy patches of the image to random positions."""
        result: Image = image.copy()
        height, width = image.shape[:2]
        room = np.array([height - self.PATCH, width - self.PATCH])
        for _ in range(max(1, round(self.severity * height * width / PHOTOGRAPH))):
            target = self.random_generator.integers(0, room, endpoint=True)
            source = target + self.random_generator.integers(-self.NEAR, self.NEAR, 2, endpoint=True)
            (y, x), (from_y, from_x) = target, np.clip(source, 0, room)
            result[y : y + self.PATCH, x : x + self.PATCH] = image[
                from_y : from_y + self.PATCH, from_x : from_x + self.PATCH
            ]
        return result


class BlockShifts(Degradation):
    """Local block-wise distortions of different intensity (type 15).

    ``severity`` is the color shift of a block, root mean square over its channels, in gray levels. The number of
    32 x 32 blocks decreases with its square, from 64 at 32 to 4 at 128 in an image of 512 x 384, so that the energy of
    the distortion is constant: few strong blocks or many faint ones.
    """

    BLOCK = 32

    def degrade(self, image: Image) -> Image:
        """Add a random color to random cells of a randomly placed grid."""
        height, width = image.shape[:2]
        rows, columns = height // self.BLOCK, width // self.BLOCK
        top, left = self.random_generator.integers(0, [height % self.BLOCK, width % self.BLOCK], endpoint=True)
        count = 4 * (128 / self.severity) ** 2 * height * width / PHOTOGRAPH
        count = int(np.clip(round(count), 1, rows * columns))
        result: Image = image.copy()
        for cell in self.random_generator.permutation(rows * columns)[:count]:
            y, x = top + cell // columns * self.BLOCK, left + cell % columns * self.BLOCK
            block = result[y : y + self.BLOCK, x : x + self.BLOCK]
            color = self.random_generator.standard_normal(3)
            color *= self.severity / np.sqrt(np.mean(color**2))
            # Toward mid-gray, because clipping would hide a darker shift of a black block.
            color *= -1 if color.sum() * (block.mean() - 128) > 0 else 1
            block[:] = to_uint8(block + color)
        return result


class MeanShift(Degradation):
    """All values shifted by the same amount, randomly up or down (type 16).

    ``severity`` is the amount in gray levels.
    """

    def degrade(self, image: Image) -> Image:
        """Add or subtract the amount."""
        sign = self.random_generator.choice([-1, 1])
        return to_uint8(image.astype(np.float32) + sign * self.severity)
