"""Base class of the distortions."""

from __future__ import annotations

from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB, 0..255."""


class Degradation(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations is untyped
    """Albumentations transform with a single severity parameter.

    Subclasses implement :meth:`degrade` and draw all random numbers from ``self.random_generator``, which
    albumentations seeds through ``set_random_seed``. The order of the draws is the same at every severity, so that with
    the same seed, a higher severity is a stronger version of the same distortion.

    Args:
        severity: Strength in the unit documented by the subclass, above 0.
    """

    def __init__(self, severity: float) -> None:
        super().__init__(p=1)
        self.severity = severity

    def apply(self, img: Image, **params: Any) -> Image:
        """Entry point for albumentations."""
        return self.degrade(img)

    def degrade(self, image: Image) -> Image:
        """Distort one image.

        Args:
            image: (H, W, 3) uint8 RGB, both sides at least 64; not modified.

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
