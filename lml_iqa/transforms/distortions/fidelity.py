"""Fidelity of a distorted image to its reference image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def psnr(reference: NDArray[np.uint8], distorted: NDArray[np.uint8]) -> float:
    r"""Peak signal-to-noise ratio over all pixels and channels.

    .. math:: \mathrm{PSNR} = 10 \log_{10} \frac{255^2}{\mathrm{mean}\,(x - y)^2}

    Args:
        reference: uint8 array of any shape.
        distorted: uint8 array of the same shape.

    Returns:
        Decibels; infinity for identical arrays.

    Raises:
        ValueError: The arrays are not uint8 or differ in shape.
    """
    if reference.dtype != np.uint8 or distorted.dtype != np.uint8 or reference.shape != distorted.shape:
        raise ValueError(
            f"psnr compares two uint8 arrays of equal shape, not {reference.dtype} {reference.shape} with "
            f"{distorted.dtype} {distorted.shape}; convert both to 8 bits and crop them to the same size"
        )
    difference = (reference.astype(np.float32) - distorted.astype(np.float32)).ravel()
    mse = float(np.mean(np.square(difference), dtype=np.float64))
    return math.inf if mse == 0 else 10 * math.log10(255**2 / mse)
