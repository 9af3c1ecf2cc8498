"""Optimizer parameter groups: learning rate and weight decay."""

from __future__ import annotations

from typing import Any

from timm.optim import param_groups_layer_decay
from torch import nn

from lml_iqa.models.lml import LMLNetwork


def parameter_groups(
    network: LMLNetwork, *, lr: float, weight_decay: float, backbone_lr: float, layer_decay: float
) -> list[dict[str, Any]]:
    """Split the trainable parameters into optimizer groups.

    Vectors, biases, the panel, position embeddings and class tokens have no weight decay (the protocol's rule).

    Args:
        network: The student.
        lr: Learning rate of the decoder and the heads.
        weight_decay: Weight decay of all other parameters.
        backbone_lr: Learning rate of the encoder's last layer, as a multiple of ``lr``.
        layer_decay: Factor on the learning rate from each encoder layer to the one before it; 1 for none.

    Returns:
        Groups with ``params``, ``lr`` and ``weight_decay``, one per pair of rates; none for a frozen encoder.
    """
    merged: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if not name.startswith("backbone.") and parameter.requires_grad:
            decays = parameter.ndim > 1 and name != "decoder.panel"
            merged.setdefault((lr, weight_decay if decays else 0.0), []).append(parameter)
    if not network.freeze_backbone:
        layers = param_groups_layer_decay(
            network.backbone.network,
            weight_decay=weight_decay,
            no_weight_decay_list=network.backbone.no_weight_decay(),
            layer_decay=layer_decay,
        )
        for group in layers:
            key = (lr * backbone_lr * group["lr_scale"], group["weight_decay"])
            merged.setdefault(key, []).extend(group["params"])
    return [{"params": params, "lr": rate, "weight_decay": decay} for (rate, decay), params in merged.items()]
