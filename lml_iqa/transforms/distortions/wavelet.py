"""The 5/3 wavelet of JPEG 2000 (ITU-T T.800, annex F) by lifting, in floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]


def _split(x: Plane) -> tuple[Plane, Plane]:
    """One step along axis 0, of even length: (low, high), each half as long."""
    even, odd = x[::2], x[1::2]
    high = odd - (even + np.concatenate([even[1:], even[-1:]])) / 2
    low = even + (np.concatenate([high[:1], high[:-1]]) + high) / 4
    return low, high


def _merge(low: Plane, high: Plane) -> Plane:
    """The inverse of :func:`_split`."""
    x = np.empty((2 * len(low), *low.shape[1:]), low.dtype)
    even = x[::2] = low - (np.concatenate([high[:1], high[:-1]]) + high) / 4
    x[1::2] = high + (even + np.concatenate([even[1:], even[-1:]])) / 2
    return x


def decompose(image: Plane, levels: int) -> tuple[Plane, list[tuple[Plane, Plane, Plane]]]:
    """Wavelet transform over the first two axes.

    Args:
        image: (H, W, C), sides that are multiples of 2 ** levels.
        levels: Number of halvings.

    Returns:
        The coarsest approximation, and for each level, finest first, its three detail bands (HL, LH, HH), each
        (H / 2 ** level, W / 2 ** level, C).
    """
    bands = []
    for _ in range(levels):
        low, high = _split(image)
        image, hl = (half.swapaxes(0, 1) for half in _split(low.swapaxes(0, 1)))
        lh, hh = (half.swapaxes(0, 1) for half in _split(high.swapaxes(0, 1)))
        bands.append((hl, lh, hh))
    return image, bands


def recompose(approximation: Plane, bands: list[tuple[Plane, Plane, Plane]]) -> Plane:
    """The inverse of :func:`decompose`."""
    for hl, lh, hh in reversed(bands):
        low = _merge(approximation.swapaxes(0, 1), hl.swapaxes(0, 1)).swapaxes(0, 1)
        high = _merge(lh.swapaxes(0, 1), hh.swapaxes(0, 1)).swapaxes(0, 1)
        approximation = _merge(low, high)
    return approximation
