"""Signs of collapse: effective rank of embeddings, and entropy of saliency."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def effective_rank(embeddings: Tensor) -> Tensor:
    r"""Effective rank of embeddings, the number of directions in which they vary.

    Exponential of the entropy of the singular values of the centered embeddings, normalized to a sum of one (Roy &
    Vetterli, EUSIPCO 2007). It is 1 for a collapsed projector that maps all crops to one line.

    Args:
        embeddings: (n, Z).

    Returns:
        () float32 in 1 .. min(n - 1, Z); 0 if all embeddings are equal.
    """
    values = torch.linalg.svdvals(embeddings.float() - embeddings.float().mean(dim=0))
    if len(embeddings) < 2 or values[0] <= torch.finfo(values.dtype).eps * len(embeddings):
        return torch.zeros_like(values[0])
    rank: Tensor = torch.special.entr(values / values.sum()).sum().exp()
    return rank


def saliency_entropy(saliency: Tensor) -> Tensor:
    """Normalized entropy of saliency over the crops of an image.

    Args:
        saliency: (B, K) non-negative, sums to one over K.

    Returns:
        () float32 mean over images: 0 if all saliency is on one crop, 1 if it is uniform (or K is 1).
    """
    crops = saliency.shape[1]
    entropy: Tensor = torch.special.entr(saliency.float()).sum(dim=1).mean()
    return entropy / math.log(crops) if crops > 1 else torch.ones_like(entropy)
