"""Stops a training that diverged."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.errors import LMLError


class DivergedError(LMLError, RuntimeError):
    """The loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Ends a run whose loss is NaN or infinite, before it is validated and before a checkpoint is written.

    Left alone it would train to its end, and be tested with the last epoch that was sound, as if nothing had happened.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the last step's loss, on every process.

        Raises:
            DivergedError: It is not finite, on any process.
        """
        loss = trainer.callback_metrics.get("train/loss_step")
        if loss is None or trainer.sanity_checking:
            return
        if trainer.strategy.reduce_boolean_decision(not bool(loss.isfinite()), all=False):
            raise DivergedError(
                f"training diverged: the loss is {float(loss):g} after step {trainer.global_step}; lower model.lr, "
                "clip gradients (trainer.gradient_clip_val), or train in full precision (trainer.precision: 32-true)"
            )
