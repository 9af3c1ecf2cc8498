"""Folder of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from lightning.pytorch import Trainer

from lml_iqa.errors import LMLError


class RunFolderError(LMLError):
    """The folder is in use by another run."""


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run: that of its logger, or else ``default_root_dir``; ``~`` is expanded."""
    for logger in trainer.loggers:
        if logger.log_dir is not None:  # CSV, TensorBoard
            return Path(logger.log_dir).expanduser()
        if logger.save_dir is not None:  # wandb and others share save_dir between runs
            return Path(logger.save_dir, str(logger.name), str(logger.version)).expanduser()
    return Path(trainer.default_root_dir).expanduser()


def writes_files(trainer: Trainer) -> bool:
    """Return whether this process writes a run's files: on rank zero, unless ``fast_dev_run`` is set."""
    return trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Lock a run's folder for this process; the system releases the lock of a killed process.

    An existing ``metrics.csv`` is renamed to ``metrics_1.csv`` and so on, as the logger would delete it.

    Raises:
        RunFolderError: Another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunFolderError(
            f"{folder}: in use by another run; wait for it, or use another folder "
            "(--trainer.logger.init_args.version NAME; without a logger --trainer.default_root_dir DIR)"
        ) from None
    try:
        metrics = folder / "metrics.csv"
        if metrics.exists():
            metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")
        yield
    finally:
        lock.release()
