"""What every distortion of this package has in common."""

from __future__ import annotations

from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB, 0..255."""


class Degradation(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is untyped
    """An albumentations transform with one number for its strength.

    Subclasses implement :meth:`degrade` and take every random draw from ``self.random_generator``, which albumentations
    seeds through ``set_random_seed``. They draw in the same order at every severity, so that under one seed a greater
    severity is the same accident, only worse.

    Args:
        severity: Strength in the unit that the subclass names, above 0.
    """

    def __init__(self, severity: float) -> None:
        super().__init__(p=1)
        self.severity = severity

    def apply(self, img: Image, **params: Any) -> Image:
        """Albumentations' entry point."""
        return self.degrade(img)

    def degrade(self, image: Image) -> Image:
        """Distort one image.

        Args:
            image: (H, W, 3) uint8 RGB, both sides at least 64; left as it is.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        raise NotImplementedError

    def white_noise(self, *shape: int) -> NDArray[np.float32]:
        """Gaussian noise of unit variance."""
        return self.random_generator.standard_normal(shape, dtype=np.float32)  # type: ignore[no-any-return]


def to_uint8(image: NDArray[np.floating[Any]]) -> Image:
    """Round and clip to 0..255."""
    rounded: Image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return rounded
