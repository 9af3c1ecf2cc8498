"""Differentiable Lanczos resizing with Pillow's filter, for gradients with respect to the pixels."""

from __future__ import annotations

import torch
from torch import Tensor

_SUPPORT = 3.0


def resize(image: Tensor, short_side: int) -> Tensor:
    """Shrink an image to a short side, like :func:`~lml_iqa.images.resized.shrink`, without rounding to 8 bits.

    Args:
        image: (3, H, W) floating point.
        short_side: Short side in pixels; smaller images are unchanged.
    """
    height, width = image.shape[1:]
    shorter = min(height, width)
    if shorter <= short_side:
        return image
    rows = _weights(height, round(height * short_side / shorter)).to(image)
    columns = _weights(width, round(width * short_side / shorter)).to(image)
    return (rows @ (image @ columns.T).clamp(0.0, 1.0)).clamp(0.0, 1.0)  # Pillow clips after each pass


def _weights(size: int, target: int) -> Tensor:
    """(target, size) weights of the input pixels in each output pixel."""
    scale = size / target
    support = _SUPPORT * scale
    centers = (torch.arange(target, dtype=torch.float64) + 0.5) * scale
    # Pillow clips the window to whole pixels and samples the filter at pixel centers.
    first = (centers - support + 0.5).floor().clamp(min=0)[:, None]
    last = (centers + support + 0.5).floor().clamp(max=size)[:, None]
    pixels = torch.arange(size, dtype=torch.float64)[None]
    x = (pixels + 0.5 - centers[:, None]) / scale
    weights = torch.sinc(x) * torch.sinc(x / _SUPPORT)
    weights = weights.where((x.abs() < _SUPPORT) & (pixels >= first) & (pixels < last), 0.0)
    return weights / weights.sum(dim=1, keepdim=True)
