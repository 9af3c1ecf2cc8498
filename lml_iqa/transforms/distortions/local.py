"""Distortions of some places, while the rest stays perfect, and of the mean."""

from __future__ import annotations

import numpy as np

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8

PHOTOGRAPH = 512 * 384
"""Pixels of a TID2013 image: counts of places below are for that area and follow the image's own."""


class PatternNoise(Degradation):
    """Non-eccentricity pattern noise (type 14): small patches replaced by others from nearby.

    ``severity`` is the number of 15 x 15 patches in a photograph of 512 x 384.
    """

    PATCH = 15
    NEAR = 12
    """Greatest distance in pixels, along each axis, between a patch and its source."""

    def degrade(self, image: Image) -> Image:
        """Copy patches of the clean image to random places."""
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

    ``severity`` is the size of the color shift that a block takes, root mean square over its channels, in gray levels.
    The number of 32 x 32 blocks falls with its square, from 64 at 32 to 4 at 128 in a photograph of 512 x 384, so that
    the distortion keeps its energy: few glaring blocks or many faint ones.
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
            # Against the block's own brightness, or black would hide a shift to darker.
            color *= -1 if color.sum() * (block.mean() - 128) > 0 else 1
            block[:] = to_uint8(block + color)
        return result


class MeanShift(Degradation):
    """Every value moved by the same amount, up or down by chance (type 16).

    ``severity`` is the amount in gray levels.
    """

    def degrade(self, image: Image) -> Image:
        """Add or subtract the amount."""
        sign = self.random_generator.choice([-1, 1])
        return to_uint8(image.astype(np.float32) + sign * self.severity)
