"""Which image each worker process reads at the moment, as the main process sees it after a worker's death."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.data import get_worker_info


class Reading:
    """A note of every worker in shared memory: its process id, and the row of the image it is at.

    Args:
        workers: Number of worker processes; in the main process nothing is noted.
    """

    def __init__(self, workers: int = 0) -> None:
        self._notes = torch.full((workers, 2), -1, dtype=torch.int64).share_memory_()

    @contextmanager
    def __call__(self, row: int) -> Iterator[None]:
        """Note that this process reads the image of a row, as long as it does."""
        worker = get_worker_info()
        if worker is None or worker.id >= len(self._notes):
            yield
            return
        self._notes[worker.id] = torch.tensor([os.getpid(), row])
        try:
            yield
        finally:  # not reached by a process that is killed
            self._notes[worker.id, 1] = -1

    def of_dead(self) -> list[int]:
        """Rows that were being read by worker processes that have died."""
        alive = {process.pid for process in multiprocessing.active_children()}
        return [row for process, row in self._notes.tolist() if process >= 0 and process not in alive and row >= 0]
