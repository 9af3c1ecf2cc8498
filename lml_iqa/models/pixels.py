"""Validation of crops as network input."""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDING = 1e-3  # tolerance for float pixels; resizing and half precision slightly exceed 0..1


def to_pixels(crops: Tensor) -> Tensor:
    """Check a batch of crops and scale its pixels to 0..255.

    Args:
        crops: (B, K, 3, S, S), uint8 in 0..255 or floating point in 0..1.

    Returns:
        (B, K, 3, S, S): uint8 crops unchanged, others in float32 on 0..255.

    Raises:
        ValueError: Invalid shape or type, or floating-point pixels outside 0..1 (only checked outside of
            ``torch.compile``).
    """
    if crops.ndim != 5 or crops.shape[2] != 3:
        raise ValueError(f"crops must be (B, K, 3, S, S), not {tuple(crops.shape)}")
    if crops.dtype == torch.uint8:
        return crops
    if not crops.is_floating_point():
        raise ValueError(f"crops must be uint8 in 0..255 or floating point in 0..1, not {crops.dtype}")
    if not torch.compiler.is_compiling():
        low, high = (float(edge) for edge in crops.detach().aminmax())
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also refuses NaN
            raise ValueError(
                f"floating-point crops must be in 0..1, not {low:g}..{high:g}; divide pixels of 0..255 by 255 or pass "
                "them as uint8, and do not normalize them"
            )
    return crops.float() * 255.0
