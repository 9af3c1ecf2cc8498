"""A point from which a training that ends early goes on."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

from lml_iqa.utils.run_dir import run_folder

# Exit status by signal: EX_TEMPFAIL of sysexits.h (the same command, run again, goes on), and what shells give SIGTERM.
LEFT = {"SIGUSR1": 75, "SIGTERM": 143}


class ResumePoint(Callback):
    """Saves a point from which a run goes on, now and then and when it is asked to leave.

    The point is ``checkpoints/interrupted.ckpt`` in the run's folder, written before a batch by all processes together;
    ``--ckpt_path`` of it goes on within the epoch, to the same weights. A run that reaches its end removes it.

    SIGUSR1 and SIGTERM, which clusters send before they kill, make a run save one before its next batch and exit with
    the status that :data:`LEFT` gives; one process that gets the signal takes all others along. A test is left before
    its next batch, with nothing to save.

    Lightning's own requeueing saves inside the signal's handler: wherever in a step each process happens to be. That is
    a state which no unbroken run passes through, and it may wait for ever for a process that is elsewhere. Nor do its
    checkpoints of every n-th step serve where a run is resumed more than once: after one of the last batch of an epoch
    it counts the epochs wrongly.

    Args:
        every_minutes: Time between points.
    """

    def __init__(self, every_minutes: float = 10.0) -> None:
        if every_minutes < 0:
            raise ValueError(f"every_minutes must not be negative: {every_minutes}")
        self.every_minutes = every_minutes
        self._saved = 0.0  # when, on the clock of this process
        self._asked: str | None = None
        self._before: dict[str, Any] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with nothing asked."""
        self._asked, self._saved = None, time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen, in the place of Lightning, which did so when the run began."""
        if threading.current_thread() is threading.main_thread():  # Python hears signals nowhere else
            listened = [name for name in LEFT if hasattr(signal, name)]  # Windows has no SIGUSR1
            self._before = {name: signal.signal(getattr(signal, name), self._ask) for name in listened}

    on_test_start = on_train_start

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Listen no more."""
        for name, handler in self._before.items():
            signal.signal(getattr(signal, name), handler)
        self._before = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Save where it is time to, and leave where any process was asked to.

        Between two batches validation and checkpoints of the last one are done, and the next one has changed nothing;
        between two steps no accumulated gradients are lost.

        Raises:
            SystemExit: It was asked to leave.
        """
        if batch_idx % trainer.accumulate_grad_batches or getattr(trainer, "fast_dev_run", False):
            return
        any_process = partial(trainer.strategy.reduce_boolean_decision, all=False)
        due = time.monotonic() - self._saved >= 60 * self.every_minutes
        if not any_process(due or self._asked is not None):
            return
        leave = any_process(self._asked is not None)
        path = trainer.strategy.broadcast(run_folder(trainer) / "checkpoints" / "interrupted.ckpt")
        trainer.save_checkpoint(path)
        self._saved = time.monotonic()
        if leave:
            rank_zero_info(f"stopped by a signal after step {trainer.global_step}; go on with --ckpt_path {path}")
            raise SystemExit(LEFT[self._asked or "SIGUSR1"])

    def on_test_batch_start(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Leave, if this process was asked to: processes have different numbers of batches here, and cannot agree.

        Raises:
            SystemExit: It was asked to.
        """
        if self._asked is not None:
            rank_zero_info("stopped by a signal in the test")
            raise SystemExit(LEFT[self._asked])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what an earlier part of this run has left: the run is complete."""
        trainer.strategy.remove_checkpoint(run_folder(trainer) / "checkpoints" / "interrupted.ckpt")

    def _ask(self, number: int, frame: Any) -> None:
        self._asked = signal.Signals(number).name
