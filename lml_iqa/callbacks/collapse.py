"""Watches for collapse: embeddings that no longer differ, and a saliency that prefers no crop."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lml_iqa.metrics.representation import effective_rank, saliency_entropy
from lml_iqa.tasks import LMLTask, Prediction
from lml_iqa.utils.distributed import gather_rows, row_counts


class CollapseMonitor(Callback):
    """Logs two figures at every validation, over the images of all processes.

    - ``val/embedding_rank``: :func:`~lml_iqa.metrics.representation.effective_rank` of the salient crops' embeddings.
      Near 1, the projector has collapsed, and the manifold loss contrasts nothing.
    - ``val/saliency_entropy``: :func:`~lml_iqa.metrics.representation.saliency_entropy`. At 1, which crop is the
      salient one is a matter of rounding.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self._seen = []

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args: Any, **kwargs: Any
    ) -> None:
        """Keep embeddings and saliency of a batch."""
        if not isinstance(pl_module, LMLTask):
            raise TypeError(f"CollapseMonitor watches an LMLTask, not {type(pl_module).__name__}; leave it out")
        self._seen.append((outputs["embedding"], outputs["saliency"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both figures."""
        embeddings, saliency = (torch.cat(column) for column in zip(*self._seen, strict=True))
        counts = row_counts(embeddings)
        figures = {
            "val/embedding_rank": effective_rank(gather_rows(embeddings, counts)),
            "val/saliency_entropy": saliency_entropy(gather_rows(saliency, counts)),
        }
        pl_module.log_dict(figures, sync_dist=True)
        self._seen = []
