"""Where a run's files lie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch import Trainer

from lml_iqa.errors import LMLError


class RunFolderError(LMLError):
    """A run's folder is in use."""


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run: its logger's own where it has one, else ``default_root_dir``; ``~`` is expanded."""
    for logger in trainer.loggers:
        if logger.log_dir is not None:  # CSV, TensorBoard
            return Path(logger.log_dir).expanduser()
        if logger.save_dir is not None:  # wandb and others share save_dir between runs
            return Path(logger.save_dir, str(logger.name), str(logger.version)).expanduser()
    return Path(trainer.default_root_dir).expanduser()


def writes_files(trainer: Trainer) -> bool:
    """Whether this process writes a run's files: rank zero, and not in a dry run (``fast_dev_run``)."""
    return trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Keep a run's folder for this process; the system takes it from a killed one.

    The ``metrics.csv`` of an earlier part of the run becomes ``metrics_1.csv`` and so on: the logger would delete it.

    Raises:
        RunFolderError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(
            f"{folder}: another training writes there; wait for it, or give this one a folder of its own "
            "(--trainer.logger.init_args.version NAME; without a logger --trainer.default_root_dir DIR)"
        ) from None
    try:
        metrics = folder / "metrics.csv"
        if metrics.exists():
            metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")
        yield
    finally:
        lock.release()
