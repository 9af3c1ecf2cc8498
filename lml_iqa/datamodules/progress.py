"""Progress of a run in images instead of Lightning's batches."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lml_iqa.samplers import EpochSampler, Position


class EpochProgress(Callback):
    """Converter between Lightning's count of batches and a :class:`~lml_iqa.samplers.Position`.

    Lightning stores how many batches of an epoch are done, and compares that with the current number of batches. If the
    batch size or the number of processes changes, the two do not match, and the epoch would end too early or too late.
    As a callback of a resumed run, this class corrects the count once.

    Args:
        sampler: The training sampler.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler = sampler
        self._skipped = 0  # batches that Lightning counts as done in the epoch that was resumed

    def position(self, trainer: Trainer) -> Position:
        """Position of the run so far."""
        start, epoch = self.sampler.start, trainer.current_epoch
        epochs: Any = trainer.fit_loop.epoch_progress.current
        batches: int = _batches(trainer).processed
        # Until the first batch of the current epoch, the count is that of the previous one.
        if epoch > max(self.sampler.epoch, start.epoch) or epochs.ready > epochs.started:
            return Position(epoch)
        if batches >= trainer.num_training_batches:
            return Position(epoch + 1)
        if epoch > start.epoch:
            return Position(epoch, batches * self.sampler.global_batch)
        return Position(epoch, start.images + (batches - self._skipped) * self.sampler.global_batch)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Convert the count of the resumed epoch to batches of the current size."""
        done = _batches(trainer)
        total, images = int(trainer.num_training_batches), self.sampler.start.images
        if images:
            left = self.sampler.batches_left(images)
            if total < self.sampler.batches_left(0):  # trainer.limit_train_batches
                left = min(left, max(1, math.ceil(total - images / self.sampler.global_batch)))
            self._skipped = max(0, total - left)
            shift = self._skipped - done.processed
        else:  # the checkpoint was saved at the end or the start of an epoch
            shift = total - done.processed if done.processed else 0
        for name in ("ready", "started", "processed", "completed"):
            setattr(done, name, getattr(done, name) + shift)


def _batches(trainer: Trainer) -> Any:
    """Lightning's counters of the current epoch's batches."""
    return trainer.fit_loop.epoch_loop.batch_progress.current
