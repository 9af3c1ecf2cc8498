"""Stops a training that diverged."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.errors import LMLError


class DivergedError(LMLError, RuntimeError):
    """The loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Ends a run whose loss is NaN or infinite, before each validation and at the end of each epoch.

    So neither is such an epoch's checkpoint written, nor an earlier one tested as if the run had not diverged.
    """

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the last step's loss, on every process.

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same for a run that does not validate; called before checkpoints are saved."""
        self.on_validation_start(trainer, pl_module)
