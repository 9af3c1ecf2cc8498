"""Which crop of an image people look at: saliency that compares the crops of one image.

A softmax attention row sums to one inside every crop, so per-crop attention sums say nothing. Here the queries of an
image's crops are averaged and attend over the patch keys of all its crops in one softmax: the mass that falls in a crop
is the crop's saliency. The definitions are ours; the paper does not give one in the text at hand.
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
        query: (B, K, P, H, d) queries of each crop, P of them; their mean over the K crops does the looking.
        key: (B, K, H, N, d) patch keys of each crop.

    Returns:
        (B, K, N) float32, non-negative; sums to one over an image's K x N patches. Mean over heads and queries.
    """
    looking = query.float().mean(dim=1)
    logits = torch.einsum("bphd,bkhnd->bphkn", looking, key.float()) * query.shape[-1] ** -0.5
    attention: Tensor = logits.flatten(-2).softmax(dim=-1).view_as(logits)
    return attention.mean(dim=(1, 2))


def control_saliency(kind: Literal["uniform", "random"], crops: Tensor) -> Tensor:
    """Saliency of the ablation's controls.

    Args:
        kind: ``uniform``: every crop alike; ``random``: as good as random, but a function of the crop's pixels, so that
            neither a second look nor the number of processes changes it.
        crops: (B, K, 3, S, S), uint8 or in 0..1.

    Returns:
        (B, K) float32, sums to one over K.
    """
    if kind == "uniform":
        return torch.full(crops.shape[:2], 1.0 / crops.shape[1], device=crops.device)
    pixel_sum = to_pixels(crops).round().flatten(2).sum(dim=-1, dtype=torch.int64)
    # Knuth's multiplicative hash: neighboring sums land far apart on 0..1.
    return (pixel_sum * 2654435761 % 2**32 / 2**32).float().softmax(dim=-1)
