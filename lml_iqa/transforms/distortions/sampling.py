"""Sparse sampling and reconstruction."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lml_iqa.transforms.distortions.base import Degradation, Image, to_uint8


class SparseSampling(Degradation):
    """Most pixels discarded and interpolated from the rest (type 24).

    ``severity`` is the number of discarded pixels per kept pixel.
    """

    def degrade(self, image: Image) -> Image:
        """Keep random pixels and interpolate between them."""
        kept = self.random_generator.random(image.shape[:2], dtype=np.float32) < 1 / (1 + self.severity)
        weight = kept.astype(np.float32)[..., None]
        return to_uint8(fill(image * weight, weight))


def fill(sums: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pull-push interpolation: unknown values at one scale are filled from the next coarser scale.

    Args:
        sums: (H, W, 3) values times their weights.
        weight: (H, W, 1) weights, 0 .. 1; 0 for unknown values.

    Returns:
        (H, W, 3) values; known values are unchanged.
    """
    height, width = weight.shape[:2]
    if min(height, width) == 1:
        return np.broadcast_to(sums.sum((0, 1)) / max(weight.sum(), 1e-6), sums.shape)
    half = ((width + 1) // 2, (height + 1) // 2)
    both = cv2.resize(np.concatenate([sums, weight], axis=-1), half, interpolation=cv2.INTER_AREA)
    # One known pixel of four suffices for full weight.
    total = both[..., 3:]
    full = np.minimum(4 * total, 1)
    coarse = fill(both[..., :3] * (full / np.maximum(total, 1e-6)), full)
    guess: NDArray[np.float32] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return sums + (1 - weight) * guess
