"""Encoders of crops from timm networks: normalization, patch tokens, summary token and attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import timm
import torch
from timm.layers import apply_rot_embed_cat, to_2tuple
from torch import Tensor, nn
from torch.nn import functional as F

from lml_iqa.models.global_batch import span_processes
from lml_iqa.models.weights import Pretrained, create_network

_PLAIN_VITS = {"timm.models.vision_transformer", "timm.models.deit", "timm.models.eva"}


class Encoding(NamedTuple):
    """Encoder output for M crops.

    Attributes:
        tokens: (M, N, D) patch tokens, row by row over the crop.
        summary: (M, D) CLS token, or the mean of the patch tokens if there is none.
        attention: The last block's CLS query (M, H, d) and patch keys (M, H, N, d), as they enter the dot product;
            None unless requested.
    """

    tokens: Tensor
    summary: Tensor
    attention: tuple[Tensor, Tensor] | None


class Backbone(nn.Module):
    """Base class of the encoders: maps (M, 3, S, S) crops with pixels in 0..255, of any type, to :class:`Encoding`.

    Args:
        network: The timm network; its ``pretrained_cfg`` defines the normalization of pixels.
        width: Width D of the tokens.
    """

    is_feature_network = False
    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, width: int) -> None:
        super().__init__()
        self.network = network
        self.width = width
        for name in ("mean", "std"):
            value = torch.tensor(network.pretrained_cfg[name], dtype=torch.float32).view(1, 3, 1, 1) * 255.0
            self.register_buffer(name, value, persistent=False)

    def normalize(self, crops: Tensor) -> Tensor:
        """Normalize pixels in 0..255 as in pretraining, in float32."""
        return (crops.to(self.mean.dtype) - self.mean) / self.std

    def no_weight_decay(self) -> set[str]:
        """Parameters of ``network`` without weight decay, as defined by timm."""
        names: Callable[[], set[str]] = getattr(self.network, "no_weight_decay", set)
        return set(names())


class ViTBackbone(Backbone):
    """A timm vision transformer (VisionTransformer or Eva: DeiT-III, DINOv2, DINOv3, SigLIP 2, ...).

    Args:
        network: The timm network, without classifier.
        tap_attention: Whether to return the last block's CLS query and patch keys.

    Raises:
        ValueError: ``tap_attention`` is set, and the network has no CLS token or no separate queries and keys.
    """

    def __init__(self, network: Any, *, tap_attention: bool) -> None:
        super().__init__(network, int(network.num_features))
        self._prefix = int(network.num_prefix_tokens)
        self._has_cls = getattr(network, "cls_token", None) is not None
        network.attn_pool = None  # unused, and DDP requires a gradient for every parameter
        self.tap_attention = tap_attention
        if tap_attention and not (self._has_cls and hasattr(getattr(network.blocks[-1], "attn", None), "k_norm")):
            raise ValueError(
                f"{network.pretrained_cfg['architecture']} has no CLS token with separate queries and keys, which "
                "saliency: joint_attention needs; use saliency: panel_attention"
            )
        if tap_attention:
            _tap(network.blocks[-1].attn)

    def forward(self, crops: Tensor) -> Encoding:
        """Encode crops."""
        images = self.normalize(crops)
        if self.tap_attention:
            sequence, attention = self._forward_tapped(images)
        else:
            sequence, attention = self.network.forward_features(images), None
        # Networks with average pooling apply their last norm after the pooling; in others it is an identity.
        sequence = self.network.fc_norm(sequence)
        tokens = sequence[:, self._prefix :]
        return Encoding(tokens, sequence[:, 0] if self._has_cls else tokens.mean(dim=1), attention)

    def _forward_tapped(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the network and read the last block's queries and keys.

        timm passes them through ``q_norm`` and ``k_norm``, even if these are identities. Hooks on these layers avoid a
        second projection and keep the fused attention kernel.
        """
        sequence = self.network.forward_features(images)
        attention = self.network.blocks[-1].attn
        query, keys, rope = attention.q_norm.tapped, attention.k_norm.tapped, attention.tapped
        attention.q_norm.tapped = attention.k_norm.tapped = attention.tapped = None  # release the graph
        keys = keys[:, :, self._prefix :]
        if rope is not None:  # rotary embeddings apply to patch keys, not to the CLS query
            keys = apply_rot_embed_cat(keys, rope, half=getattr(attention, "rotate_half", False))
        query = query[:, :, 0]
        keys = keys.repeat_interleave(query.shape[1] // keys.shape[1], dim=1)  # grouped queries share their keys
        return sequence, (query, keys.type_as(query))


def _tap(attention: Any) -> None:
    """Register hooks that store an attention layer's queries, keys and rotary embedding.

    The hooks are plain functions that write to the module they are registered on, so copies and pickles of the layer
    are independent, and torch.compile does not need a graph break.
    """
    attention.q_norm.register_forward_hook(_leave_output)
    attention.k_norm.register_forward_hook(_leave_output)
    attention.register_forward_pre_hook(_leave_rope, with_kwargs=True)


def _leave_output(module: Any, inputs: Any, output: Tensor) -> None:
    module.tapped = output


def _leave_rope(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
    module.tapped = kwargs.get("rope")


class FeatureBackbone(Backbone):
    """Any other timm network (CNNs, hierarchical transformers): feature maps of its last stages on one grid.

    Quality is visible at several scales, so the maps are average-pooled to the grid of the last stage and concatenated:
    each token combines fine texture and coarse content, at negligible cost.

    Args:
        network: The timm network, without classifier; layers after the last map are removed.
        stages: Number of last stages to concatenate.
    """

    is_feature_network = True

    def __init__(self, network: Any, *, stages: int) -> None:
        name = network.pretrained_cfg["architecture"]
        if not hasattr(network, "forward_intermediates"):
            raise ValueError(f"{name} does not return feature maps in timm; choose another model.backbone")
        if stages > len(network.feature_info):
            raise ValueError(f"{name} has {len(network.feature_info)} stages, not {stages}; set model.stages")
        indices = network.prune_intermediate_layers(stages, prune_norm=True, prune_head=True)
        channels = [info["num_chs"] for info in network.feature_info]
        super().__init__(network.to(memory_format=torch.channels_last), sum(channels[i] for i in indices))
        self._indices = list(indices)

    def forward(self, crops: Tensor) -> Encoding:
        """Encode crops."""
        images = self.normalize(crops).contiguous(memory_format=torch.channels_last)
        maps = self.network.forward_intermediates(images, indices=self._indices, intermediates_only=True)
        grid = maps[-1].shape[-2:]
        tokens = torch.cat([F.adaptive_avg_pool2d(m, grid) for m in maps], dim=1).flatten(2).transpose(1, 2)
        return Encoding(tokens, tokens.mean(dim=1), None)


def create_backbone(
    name: str,
    *,
    pretrained: Pretrained,
    tap_attention: bool,
    stages: int = 4,
    drop_path: float = 0.0,
    img_size: int | None = None,
    train_batch_norm: bool = False,
) -> Backbone:
    """Build an encoder by its timm name.

    Args:
        name: A timm model, with or without tag, for example ``deit3_small_patch16_224.fb_in1k``.
        pretrained: Source of the weights, see :func:`lml_iqa.models.weights.create_network`.
        tap_attention: Whether a transformer returns its last CLS query and patch keys.
        stages: Number of last stages that a feature network concatenates.
        drop_path: Stochastic depth of the network, 0..1.
        img_size: Side of the crops in pixels, for networks that are built for one size.
        train_batch_norm: Whether batch normalization in training mode uses the statistics of all processes' crops.

    Raises:
        ValueError: timm has no such model, or the model does not support these options.
        WeightsError: The weights are not available or do not fit.
    """
    # Passed only if set: many timm networks do not support them.
    options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    if img_size is not None:
        options["img_size"] = img_size
    architecture = name.partition(".")[0]
    plain = timm.is_model(architecture) and timm.models.model_entrypoint(architecture).__module__ in _PLAIN_VITS
    if plain:
        options["dynamic_img_size"] = True  # crops of any size
    network: Any = _create(name, pretrained, options)
    patch = max(to_2tuple(getattr(getattr(network, "patch_embed", None), "patch_size", 1)))
    if img_size is not None and img_size % patch:  # timm would crop the border
        raise ValueError(f"model.img_size: {img_size} is not a multiple of the {patch}-pixel patches of {name}")
    span_processes(network, train_batch_norm=train_batch_norm)
    if plain:
        return ViTBackbone(network, tap_attention=tap_attention)
    if tap_attention:
        raise ValueError(
            f"{name} is not a vision transformer with a CLS token, which saliency: joint_attention needs; "
            "use saliency: panel_attention"
        )
    return FeatureBackbone(network, stages=stages)


def _create(name: str, pretrained: Pretrained, options: dict[str, Any]) -> nn.Module:
    try:
        return create_network(name, pretrained, **options)
    except TypeError as error:
        ours = {"drop_path_rate": "model.drop_path", "img_size": "model.img_size"}
        refused = [option for key, option in ours.items() if key in options and f"'{key}'" in str(error)]
        if not refused:
            raise
        raise ValueError(f"{name} does not support {refused[0]}; leave it out") from error
