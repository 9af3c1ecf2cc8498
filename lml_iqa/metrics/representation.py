"""Whether what is contrasted still differs: the rank of embeddings, and the entropy of saliency."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def effective_rank(embeddings: Tensor) -> Tensor:
    r"""Effective rank of a cloud of embeddings: in how many directions it spreads.

    The exponential of the entropy of the centered cloud's singular values, taken as shares of their sum (Roy &
    Vetterli, EUSIPCO 2007). A collapsed projector, which gives all crops embeddings along one line, has 1.

    Args:
        embeddings: (n, Z).

    Returns:
        () float32 in 1 .. min(n - 1, Z); 0 where all are the same point.
    """
    values = torch.linalg.svdvals(embeddings.float() - embeddings.float().mean(dim=0))
    if len(embeddings) < 2 or values[0] <= torch.finfo(values.dtype).eps * len(embeddings):
        return torch.zeros_like(values[0])
    rank: Tensor = torch.special.entr(values / values.sum()).sum().exp()
    return rank


def saliency_entropy(saliency: Tensor) -> Tensor:
    """How evenly saliency lies over the crops of an image: its entropy, as a share of the greatest possible.

    Args:
        saliency: (B, K) non-negative, sums to one over K.

    Returns:
        () float32 mean over images: 0 where one crop has everything, 1 where all count alike (as a single crop does).
    """
    crops = saliency.shape[1]
    entropy: Tensor = torch.special.entr(saliency.float()).sum(dim=1).mean()
    return entropy / math.log(crops) if crops > 1 else torch.ones_like(entropy)
