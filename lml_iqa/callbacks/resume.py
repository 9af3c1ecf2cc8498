"""Resume points for interrupted runs."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lml_iqa.utils.run_dir import run_folder

# Exit status by signal: EX_TEMPFAIL of sysexits.h (run the command again to resume), and the shell's for SIGTERM.
LEFT = {"SIGUSR1": 75, "SIGTERM": 143}


class ResumePoint(Callback):
    """Save a resume point at regular intervals, and when the run receives SIGUSR1 or SIGTERM.

    The resume point is ``checkpoints/interrupted.ckpt`` in the run's folder, written between two batches by all
    processes together. ``--ckpt_path`` resumes from it within the epoch and reaches the same weights as a run without
    interruption. A run that completes removes it.

    Clusters send SIGUSR1 or SIGTERM before they kill a job. The run then saves a resume point before its next batch and
    exits with the status in :data:`LEFT`; a signal to one process stops all of them. A test exits before its next batch
    and saves nothing.

    Lightning's requeueing saves inside the signal handler, wherever in a step each process happens to be. An
    uninterrupted run never passes through such a state, and the save may wait forever for a process that is elsewhere.
    Lightning's checkpoints of every n-th step fail if a run is resumed more than once: after a checkpoint of the last
    batch of an epoch, the epochs are miscounted.

    Args:
        every_minutes: Minutes between resume points.
    """

    def __init__(self, every_minutes: float = 10.0) -> None:
        if every_minutes < 0:
            raise ValueError(f"every_minutes: {every_minutes} is negative; give at least 0")
        self.every_minutes = every_minutes
        self._saved = 0.0  # monotonic time of the last resume point
        self._signal: str | None = None
        self._previous_handlers: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reset the timer and the received signal."""
        self._signal, self._saved = None, time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Install the signal handlers in place of Lightning's, which it installed when the run began."""
        if threading.current_thread() is threading.main_thread():  # Python handles signals only there
            handled = [name for name in LEFT if hasattr(signal, name)]  # Windows has no SIGUSR1
            self._previous_handlers = {name: signal.signal(getattr(signal, name), self._on_signal) for name in handled}

    on_test_start = on_train_start

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        for name, handler in self._previous_handlers.items():
            signal.signal(getattr(signal, name), handler)
        self._previous_handlers = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save if a resume point is due, and exit if any process has received a signal.

        Between two batches, validation and checkpoints of the previous batch are done, and the next batch has changed
        nothing; between two optimizer steps, no accumulated gradients are lost.

        Raises:
            SystemExit: A process has received a signal.
        """
        if batch_idx % trainer.accumulate_grad_batches or getattr(trainer, "fast_dev_run", False):
            return
        any_process = partial(trainer.strategy.reduce_boolean_decision, all=False)
        due = time.monotonic() - self._saved >= 60 * self.every_minutes
        if not any_process(due or self._signal is not None):
            return
        leave = any_process(self._signal is not None)
        path = trainer.strategy.broadcast(run_folder(trainer) / "checkpoints" / "interrupted.ckpt")
        trainer.save_checkpoint(path)
        self._saved = time.monotonic()
        if leave:
            rank_zero_info(f"stopped by a signal after step {trainer.global_step}; resume with --ckpt_path {path}")
            raise SystemExit(LEFT[self._signal or "SIGUSR1"])

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Exit if this process has received a signal.

        The processes do not synchronize here, as their numbers of test batches may differ.

        Raises:
            SystemExit: This process has received a signal.
        """
        if self._signal is not None:
            rank_zero_info("stopped by a signal during the test")
            raise SystemExit(LEFT[self._signal])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the resume point of the completed run."""
        trainer.strategy.remove_checkpoint(run_folder(trainer) / "checkpoints" / "interrupted.ckpt")

    def _on_signal(self, number: int, frame: Any) -> None:
        self._signal = signal.Signals(number).name
