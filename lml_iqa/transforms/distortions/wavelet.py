"""The 5/3 wavelet of JPEG 2000 (ITU-T T.800, annex F) by lifting, in floating point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Details = tuple[Plane, Plane, Plane]
"""The bands HL, LH and HH of one resolution."""

HALF, QUARTER = np.float32(0.5), np.float32(0.25)


def _split(x: Plane) -> tuple[Plane, Plane]:
    """One step along axis 0, of even length: (low, high), each half as long."""
    even, odd = x[::2], x[1::2]
    high = odd - HALF * even
    high[:-1] -= HALF * even[1:]
    high[-1] -= HALF * even[-1]
    low = even + QUARTER * high
    low[1:] += QUARTER * high[:-1]
    low[0] += QUARTER * high[0]
    return low, high


def _merge(low: Plane, high: Plane) -> Plane:
    """The inverse of :func:`_split`."""
    x = np.empty((2 * len(low), *low.shape[1:]), low.dtype)
    even, odd = x[::2], x[1::2]
    even[:] = low - QUARTER * high
    even[1:] -= QUARTER * high[:-1]
    even[0] -= QUARTER * high[0]
    odd[:] = high + HALF * even
    odd[:-1] += HALF * even[1:]
    odd[-1] += HALF * even[-1]
    return x


def decompose(image: Plane, levels: int) -> tuple[Plane, list[Details]]:
    """Wavelet transform over the first two axes.

    Args:
        image: (H, W, C), sides that are multiples of 2 ** levels.
        levels: Number of halvings.

    Returns:
        The coarsest approximation, and for each level, finest first, its three detail bands (HL, LH, HH), each
        (H / 2 ** level, W / 2 ** level, C).
    """
    bands: list[Details] = []
    for _ in range(levels):
        low, high = _split(image)
        image, hl = (half.swapaxes(0, 1) for half in _split(low.swapaxes(0, 1)))
        lh, hh = (half.swapaxes(0, 1) for half in _split(high.swapaxes(0, 1)))
        bands.append((hl, lh, hh))
    return image, bands


def recompose(approximation: Plane, bands: list[Details]) -> Plane:
    """The inverse of :func:`decompose`."""
    for hl, lh, hh in reversed(bands):
        low = _merge(approximation.swapaxes(0, 1), hl.swapaxes(0, 1)).swapaxes(0, 1)
        high = _merge(lh.swapaxes(0, 1), hh.swapaxes(0, 1)).swapaxes(0, 1)
        approximation = _merge(low, high)
    return approximation
