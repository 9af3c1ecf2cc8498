"""Monitoring of representation collapse: identical embeddings, uniform saliency."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from lml_iqa.metrics.representation import effective_rank, saliency_entropy
from lml_iqa.tasks import LMLTask, Prediction
from lml_iqa.utils.distributed import gather_rows, row_counts


class CollapseMonitor(Callback):
    """Log two collapse metrics at every validation, over the images of all processes.

    - ``val/embedding_rank``: :func:`~lml_iqa.metrics.representation.effective_rank` of the salient crops' embeddings.
      Near 1, the projector has collapsed and the manifold loss has nothing to contrast.
    - ``val/saliency_entropy``: :func:`~lml_iqa.metrics.representation.saliency_entropy`. At 1, all crops are equally
      salient, and rounding decides which one is selected.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the collected outputs."""
        self._seen = []

    def on_validation_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: LightningModule, outputs: Prediction, *args: Any, **kwargs: Any
    ) -> None:
        """Collect the embeddings and saliency of a batch."""
        if not isinstance(pl_module, LMLTask):
            raise TypeError(f"CollapseMonitor: needs an LMLTask, not {type(pl_module).__name__}; remove the callback")
        self._seen.append((outputs["embedding"], outputs["saliency"]))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both metrics."""
        embeddings, saliency = (torch.cat(column) for column in zip(*self._seen, strict=True))
        counts = row_counts(embeddings)
        metrics = {
            "val/embedding_rank": effective_rank(gather_rows(embeddings, counts)),
            "val/saliency_entropy": saliency_entropy(gather_rows(saliency, counts)),
        }
        pl_module.log_dict(metrics, sync_dist=True)
        self._seen = []
