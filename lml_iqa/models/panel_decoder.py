"""Panel decoder: learnable queries attend to the patch tokens of a crop."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PanelOutput(NamedTuple):
    """Decoder output for M crops.

    Attributes:
        panel: (M, P, W) output states of the panel.
        query: (M, P, H, d) cross-attention queries of the panel, as they enter the dot product.
        key: (M, H, N, d) cross-attention keys of the patch tokens.
    """

    panel: Tensor
    query: Tensor
    key: Tensor


class _Attention(nn.Module):
    """Multi-head attention with the fused kernel that also returns the projected queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = (
            projection(t).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection, t in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return self.out(mixed), query, key


class PanelDecoder(nn.Module):
    """Pre-norm transformer decoder layer with a panel of learnable queries.

    After DEIQT (Qin et al., AAAI 2023): the crop's summary token is added to each of the P panel embeddings, which
    attend to one another and then to the N patch tokens.

    Args:
        token_width: Width D of the encoder's tokens; projected to ``width`` if they differ.
        width: Width W of the decoder.
        panel_size: Number P of learnable queries in the panel.
        heads: Number H of attention heads; must divide ``width``.
    """

    def __init__(self, token_width: int, *, width: int, panel_size: int = 6, heads: int = 6) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"decoder_heads={heads} must divide decoder_width={width}")
        # Tokens from different stages of a CNN differ widely in magnitude; a transformer's are already normalized.
        self.project: nn.Module = (
            nn.Identity()
            if token_width == width
            else nn.Sequential(nn.LayerNorm(token_width), nn.Linear(token_width, width))
        )
        self.panel = nn.Parameter(torch.empty(panel_size, width))
        nn.init.trunc_normal_(self.panel, std=0.02)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.self_attention = _Attention(width, heads)
        self.cross_attention = _Attention(width, heads)
        self.feedforward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, tokens: Tensor, summary: Tensor) -> PanelOutput:
        """Decode the tokens of M crops.

        Args:
            tokens: (M, N, D) patch tokens.
            summary: (M, D) summary tokens.
        """
        memory = self.project(tokens)
        panel = self.panel + self.project(summary)[:, None]
        normed = self.norms[0](panel)
        panel = panel + self.self_attention(normed, normed)[0]
        update, query, key = self.cross_attention(self.norms[1](panel), memory)
        panel = panel + update
        panel = panel + self.feedforward(self.norms[2](panel))
        return PanelOutput(self.norms[3](panel), query.transpose(1, 2), key)
