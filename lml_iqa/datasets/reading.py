"""Which image each worker process reads at the moment, as the main process sees it after a worker's death."""

from __future__ import annotations

import os
import re
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
        yield
        self._notes[worker.id, 1] = -1

    def of_dead(self, error: BaseException) -> list[int]:
        """Rows that were being read by the worker processes whose death an error of torch's data loader tells."""
        told = re.search(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)", str(error))
        dead = {int(number) for number in re.findall(r"\d+", told[1])} if told else set()
        return [row for process, row in self._notes.tolist() if process in dead and row >= 0]
