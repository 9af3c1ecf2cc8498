"""Record of the image that each worker process is reading, for errors after the death of a worker."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.data import get_worker_info


class Reading:
    """Shared-memory record of every worker: its process ID, and the row of the image it is reading.

    Args:
        workers: Number of worker processes; the main process records nothing.
    """

    def __init__(self, workers: int = 0) -> None:
        self._notes = torch.full((workers, 2), -1, dtype=torch.int64).share_memory_()

    @contextmanager
    def __call__(self, row: int) -> Iterator[None]:
        """Record that this process is reading the image of a row, while the context lasts."""
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
        """Rows that dead worker processes were reading."""
        alive = {process.pid for process in multiprocessing.active_children()}
        return [row for process, row in self._notes.tolist() if process >= 0 and process not in alive and row >= 0]
