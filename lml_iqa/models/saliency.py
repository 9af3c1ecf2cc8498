"""Saliency of the crops of an image relative to one another.

Softmax attention sums to one within every crop, so sums per crop cannot be compared. Instead, the queries of an image's
crops are averaged and attend to the patch keys of all its crops in one softmax; the saliency of a crop is the attention
mass on its patches. The definitions are ours; the paper's text that is available to us does not give one.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lml_iqa.models.pixels import to_pixels

Saliency = Literal["joint_attention", "panel_attention", "uniform", "random"]
"""``joint_attention``: the encoder's last CLS queries; ``panel_attention``: the decoder's panel queries, for encoders
without a CLS token; ``uniform`` and ``random``: controls."""


def joint_saliency(query: Tensor, key: Tensor) -> Tensor:
    """Attention mass of every patch, over all crops of an image together.

    Args:
        query: (B, K, P, H, d) P queries of each crop; averaged over the K crops.
        key: (B, K, H, N, d) patch keys of each crop.

    Returns:
        (B, K, N) float32, non-negative; sums to one over an image's K x N patches. Mean over heads and queries.
    """
    looking = query.float().mean(dim=1)
    logits = torch.einsum("bphd,bkhnd->bphkn", looking, key.float()) * query.shape[-1] ** -0.5
    attention: Tensor = logits.flatten(-2).softmax(dim=-1).view_as(logits)
    return attention.mean(dim=(1, 2))


def control_saliency(kind: Literal["uniform", "random"], crops: Tensor) -> Tensor:
    """Control saliency for ablations.

    Args:
        kind: ``uniform``: equal for all crops; ``random``: a hash of the crop's pixels, so that it is reproducible and
            independent of the number of processes.
        crops: (B, K, 3, S, S), uint8 or in 0..1.

    Returns:
        (B, K) float32, sums to one over K.
    """
    if kind == "uniform":
        return torch.full(crops.shape[:2], 1.0 / crops.shape[1], device=crops.device)
    pixel_sum = to_pixels(crops).round().flatten(2).sum(dim=-1, dtype=torch.int64)
    # Knuth's multiplicative hash maps neighboring sums to distant values in 0..1.
    return (pixel_sum * 2654435761 % 2**32 / 2**32).float().softmax(dim=-1)
