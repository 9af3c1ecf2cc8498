"""Positions and extraction of crops. Pixels are not changed, since resizing or color changes would alter quality."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def random_positions(height: int, width: int, size: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw uniform crop positions.

    Args:
        height: Image height in pixels, at least ``size``.
        width: Image width in pixels, at least ``size``.
        size: Side of the square crops in pixels.
        count: Number of crops K.
        rng: Random number generator.

    Returns:
        (K, 2) int64 array of the crops' top-left corners as (y, x).
    """
    return np.stack(
        [rng.integers(0, height - size + 1, count), rng.integers(0, width - size + 1, count)],
        axis=1,
    )


def grid_positions(height: int, width: int, size: int, count: int) -> NDArray[np.int64]:
    """Fixed grid of crops that spans the image from edge to edge, for reproducible scores.

    The ``count`` crops form the rows x columns grid whose aspect ratio is closest to the image's; a single row or
    column is centered.

    Args:
        height: Image height in pixels, at least ``size``.
        width: Image width in pixels, at least ``size``.
        size: Side of the square crops in pixels.
        count: Number of crops K.

    Returns:
        (K, 2) int64 array of top-left corners as (y, x), row by row.
    """
    divisors = [rows for rows in range(1, count + 1) if count % rows == 0]
    rows = min(divisors, key=lambda r: abs(np.log((count / r**2) / (width / height))))
    ys, xs = _spread(height - size, rows), _spread(width - size, count // rows)
    return np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)


def _spread(room: int, count: int) -> NDArray[np.int64]:
    places = [room / 2] if count == 1 else np.linspace(0, room, count)
    return np.rint(places).astype(np.int64)


def pad_to(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Reflect-pad an (H, W, 3) image at the right and bottom so that both sides have at least ``size`` pixels."""
    missing = [max(0, size - side) for side in image.shape[:2]]
    if not any(missing):
        return image
    return np.pad(image, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")


def cut_crops(
    image: NDArray[np.uint8], positions: NDArray[np.int64], size: int, flips: NDArray[np.bool_] | None = None
) -> Tensor:
    """Cut square crops from a decoded image.

    Args:
        image: (H, W, 3) uint8, both sides at least ``size``.
        positions: (K, 2) top-left corners as (y, x).
        size: Side S of the crops in pixels.
        flips: (K,) mask of the crops to mirror horizontally; None for none.

    Returns:
        (K, 3, S, S) uint8 tensor.
    """
    crops = np.empty((len(positions), size, size, 3), dtype=np.uint8)
    for k, (y, x) in enumerate(positions):
        crop = image[y : y + size, x : x + size]
        crops[k] = crop[:, ::-1] if flips is not None and flips[k] else crop
    return torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
