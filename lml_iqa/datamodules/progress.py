"""How far a training has come in images, where Lightning counts batches."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.samplers import EpochSampler, Position


class EpochProgress(Callback):
    """Translates between Lightning's count of batches and a :class:`~lml_iqa.samplers.Position`.

    Lightning stores how many batches of an epoch are done, and compares that with the number of batches today. With
    another batch size or number of processes the two do not fit, and it would end the epoch too early or too late. As
    a callback of a resumed training, this corrects the count once.

    Args:
        sampler: The sampler of the training.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler
        self._skipped = 0  # batches that Lightning counts as done in the epoch that was resumed

    def position(self, trainer: Trainer) -> Position:
        """What has been trained on so far."""
        start, epoch = self.sampler.start, trainer.current_epoch
        epochs: Any = trainer.fit_loop.epoch_progress.current
        batches: int = _batches(trainer).processed
        # The count of batches is that of the previous epoch until the first batch of the current one.
        if epoch > max(self.sampler.epoch, start.epoch) or epochs.ready > epochs.started:
            return Position(epoch)
        if batches >= trainer.num_training_batches:
            return Position(epoch + 1)
        if epoch > start.epoch:
            return Position(epoch, batches * self.sampler.global_batch)
        return Position(epoch, start.images + (batches - self._skipped) * self.sampler.global_batch)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the batches of the resumed epoch in batches of today's size."""
        done = _batches(trainer)
        total, images = int(trainer.num_training_batches), self.sampler.start.images
        if images:
            left = self.sampler.batches_left(images)
            if total < self.sampler.batches_left(0):  # trainer.limit_train_batches
                left = min(left, max(1, math.ceil(total - images / self.sampler.global_batch)))
            self._skipped = max(0, total - left)
            shift = self._skipped - done.processed
        else:  # the checkpoint is of the end of an epoch, or of its start
            shift = total - done.processed if done.processed else 0
        for name in ("ready", "started", "processed", "completed"):
            setattr(done, name, getattr(done, name) + shift)


def _batches(trainer: Trainer) -> Any:
    """Lightning's counters of the current epoch's batches."""
    return trainer.fit_loop.epoch_loop.batch_progress.current
