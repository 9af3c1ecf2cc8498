"""LML-IQA in plain PyTorch: the network, and the pair of student and mean teacher."""

from __future__ import annotations

import copy
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from lml_iqa.models.backbone import Backbone, Encoding, create_backbone
from lml_iqa.models.panel_decoder import PanelDecoder
from lml_iqa.models.pixels import to_pixels
from lml_iqa.models.saliency import Saliency, control_saliency, joint_saliency
from lml_iqa.models.weights import Pretrained
from lml_iqa.utils.options import check_choice, check_range

Aggregate = Literal["mean", "saliency"]
"""Aggregation of crop scores to an image score: their mean, or their mean weighted by saliency."""


class CropScores(NamedTuple):
    """Network output for B images of K crops.

    Attributes:
        quality: (B, K) float32 score of each crop on 0..1, higher better (not clipped).
        embedding: (B, K, Z) float32 unit vectors.
        saliency: (B, K) float32, sums to one over an image's crops.
        patch_saliency: (B, K, N) float32, sums to one over an image; None for the controls.
    """

    quality: Tensor
    embedding: Tensor
    saliency: Tensor
    patch_saliency: Tensor | None


class LMLNetwork(nn.Module):
    """One network of the pair: encoder, panel decoder, quality head, projection head.

    Args:
        backbone: timm name of the encoder. Default: the protocol's DeiT-III ViT-S/16.
        pretrained: Source of the encoder's weights, see :func:`lml_iqa.models.weights.create_network`.
        saliency: Definition of saliency, see :mod:`lml_iqa.models.saliency`. Ours, not the paper's.
        decoder_width: Width of the panel decoder; default the encoder's (for feature networks: 192).
        decoder_heads: Number of attention heads of the decoder.
        panel_size: Number of learnable queries in the attention panel (DEIQT).
        embedding_dim: Width Z of the embeddings. Ours, not the paper's.
        stages: Number of last stages of a feature network (CNN) to concatenate.
        drop_path: Stochastic depth of the encoder, 0..1.
        img_size: Side of the crops in pixels, for encoders that are built for one size (Swin, BEiT, MaxViT, ...).
        freeze_backbone: Train the heads only. Student and teacher then share one encoder, run once per step.
        train_batch_norm: Whether batch normalization uses batch statistics in training, over all processes. If False,
            it keeps the pretrained statistics, which small batches would make unstable.
    """

    def __init__(
        self,
        backbone: str = "deit3_small_patch16_224.fb_in1k",
        *,
        pretrained: Pretrained = True,
        saliency: Saliency = "joint_attention",
        decoder_width: int | None = None,
        decoder_heads: int = 6,
        panel_size: int = 6,
        embedding_dim: int = 128,
        stages: int = 4,
        drop_path: float = 0.0,
        img_size: int | None = None,
        freeze_backbone: bool = False,
        train_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_choice("saliency", saliency, Saliency)
        check_range("drop_path", drop_path, 0, 1)
        for name, count in {
            "decoder_width": 1 if decoder_width is None else decoder_width,
            "decoder_heads": decoder_heads,
            "panel_size": panel_size,
            "embedding_dim": embedding_dim,
            "stages": stages,
        }.items():
            check_range(name, count, 1)
        self.backbone: Backbone = create_backbone(
            backbone,
            pretrained=pretrained,
            tap_attention=saliency == "joint_attention",
            stages=stages,
            drop_path=drop_path,
            img_size=img_size,
            train_batch_norm=train_batch_norm,
        )
        self.saliency: Saliency = saliency
        self.freeze_backbone = freeze_backbone
        self.train_batch_norm = train_batch_norm
        if freeze_backbone:
            self.backbone.requires_grad_(False)
        width = decoder_width or (192 if self.backbone.is_feature_network else self.backbone.width)
        self.decoder = PanelDecoder(self.backbone.width, width=width, panel_size=panel_size, heads=decoder_heads)
        self.quality_head = nn.Linear(width, 1)
        nn.init.trunc_normal_(self.quality_head.weight, std=0.02)
        nn.init.constant_(self.quality_head.bias, 0.5)  # the middle of the scale
        self.projector = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, embedding_dim))
        self.train()  # modules start in training mode; puts frozen parts in eval mode

    def train(self, mode: bool = True) -> LMLNetwork:
        """Set the training mode; a frozen encoder or frozen batch normalization stays in eval mode."""
        super().train(mode)
        if self.freeze_backbone:
            self.backbone.eval()
        elif not self.train_batch_norm:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def encode(self, crops: Tensor) -> Encoding:
        """Encode (B, K, 3, S, S) crops, uint8 or in 0..1, into M = B * K encodings."""
        pixels = to_pixels(crops)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_backbone):
            try:
                encoding: Encoding = self.backbone(pixels.flatten(0, 1))
            except (AssertionError, RuntimeError, ValueError, IndexError) as error:
                # timm raises various exceptions for unsupported crop sizes.
                size, config = int(crops.shape[-1]), self.backbone.network.pretrained_cfg
                if size == config["input_size"][-1] or isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ValueError(
                    f"{config['architecture']} does not support crops of {size}x{size} pixels ({error}); set "
                    f"model.img_size to {size} if the network has that option, or data.crop_size to "
                    f"{config['input_size'][-1]} or another multiple of its patches"
                ) from error
        return encoding

    def judge(self, encoding: Encoding, crops: Tensor) -> CropScores:
        """Score (B, K, 3, S, S) crops from their encodings."""
        decoded = self.decoder(encoding.tokens, encoding.summary)
        images = crops.shape[:2]
        # No autocast for heads and saliency: half precision would round different scores to the same value, and is too
        # coarse for similarities divided by a small temperature.
        with torch.autocast(decoded.panel.device.type, enabled=False):
            panel = decoded.panel.float()
            quality = self.quality_head(panel).mean(dim=(1, 2)).unflatten(0, images)
            embedding = F.normalize(self.projector(panel.mean(dim=1)), dim=-1).unflatten(0, images)
            if self.saliency == "uniform" or self.saliency == "random":
                patch_saliency = None
                saliency = control_saliency(self.saliency, crops)
            else:
                query, key = decoded.query, decoded.key
                if self.saliency == "joint_attention":
                    assert encoding.attention is not None  # ensured by create_backbone
                    query, key = encoding.attention[0][:, None], encoding.attention[1]
                patch_saliency = joint_saliency(query.unflatten(0, images), key.unflatten(0, images))
                saliency = patch_saliency.sum(dim=-1)
        return CropScores(quality, embedding, saliency, patch_saliency)

    def forward(self, crops: Tensor) -> CropScores:
        """Score crops.

        Args:
            crops: (B, K, 3, S, S), uint8 in 0..255 or floating point in 0..1, not normalized.

        Raises:
            ValueError: Invalid shape or type, or pixels out of range.
        """
        return self.judge(self.encode(crops), crops)


class LMLPair(nn.Module):
    """Student and mean teacher: the teacher is an exponential moving average (EMA) of the student.

    Args:
        student: The network to train.
    """

    def __init__(self, student: LMLNetwork) -> None:
        super().__init__()
        self.student = student
        shared = {id(student.backbone): student.backbone} if student.freeze_backbone else {}
        self.teacher: LMLNetwork = copy.deepcopy(student, shared).requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> LMLPair:
        """Set the student's training mode; the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, crops: Tensor) -> tuple[CropScores, CropScores]:
        """Score crops with both networks, see :meth:`LMLNetwork.forward`: (student, teacher without gradient)."""
        encoding = self.student.encode(crops)
        student = self.student.judge(encoding, crops)
        with torch.no_grad():
            if not self.student.freeze_backbone:
                encoding = self.teacher.encode(crops)
            teacher = self.teacher.judge(encoding, crops)
        return student, teacher

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Update the EMA: ``teacher = momentum * teacher + (1 - momentum) * student``.

        Buffers (batch statistics) are copied. Call once per optimizer step.

        Raises:
            ValueError: ``momentum`` is not in 0..1.
        """
        check_range("momentum", momentum, 0, 1)
        pairs = zip(self.teacher.parameters(), self.student.parameters(), strict=True)
        apart = [(t, s) for t, s in pairs if t is not s]
        torch._foreach_lerp_([t for t, _ in apart], [s for _, s in apart], 1.0 - momentum)
        for teacher, student in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            teacher.copy_(student)


def image_score(scores: CropScores, aggregate: Aggregate) -> tuple[Tensor, Tensor]:
    """Aggregate crop scores to image scores.

    Args:
        scores: Network output for B images.
        aggregate: See :data:`Aggregate`.

    Returns:
        (B,) float32 scores on 0..1, higher better, and (B,) float32 standard deviations over the crops with the same
        weights, a measure of their disagreement.

    Raises:
        ValueError: Unknown ``aggregate``.
    """
    check_choice("aggregate", aggregate, Aggregate)
    weights = (
        scores.saliency if aggregate == "saliency" else torch.full_like(scores.quality, 1 / scores.quality.shape[1])
    )
    mean = (weights * scores.quality).sum(dim=1)
    variance = (weights * (scores.quality - mean[:, None]) ** 2).sum(dim=1)
    return mean, variance.sqrt()
