"""Detection of runs that diverged."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.errors import LMLError


class DivergedError(LMLError, RuntimeError):
    """The loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Stop a run whose loss is NaN or infinite, before each validation and at the end of each epoch.

    No checkpoint of the diverged epoch is written, and no earlier checkpoint is tested as if the run had succeeded.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the loss of the last step on every process.

        Raises:
            DivergedError: The loss is not finite on at least one process.
        """
        loss = trainer.callback_metrics.get("train/loss_step")
        if loss is None or trainer.sanity_checking:
            return
        if trainer.strategy.reduce_boolean_decision(not bool(loss.isfinite()), all=False):
            raise DivergedError(
                f"training diverged: the loss is {float(loss):g} after step {trainer.global_step}; lower model.lr, "
                "clip gradients (trainer.gradient_clip_val), or train in full precision (trainer.precision: 32-true)"
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check runs that do not validate; called before checkpoints are saved."""
        self.on_validation_start(trainer, pl_module)
