"""Where a run's files lie."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer) -> Path:
    """Folder of a run: its logger's own where it has one, else ``default_root_dir``."""
    for logger in trainer.loggers:
        if logger.log_dir is not None:  # CSV, TensorBoard
            return Path(logger.log_dir)
        if logger.save_dir is not None:  # wandb and others share save_dir between runs
            return Path(logger.save_dir, str(logger.name), str(logger.version))
    return Path(trainer.default_root_dir)


def writes_files(trainer: Trainer) -> bool:
    """Whether this process writes a run's files: rank zero, and not in a dry run (``fast_dev_run``)."""
    return trainer.is_global_zero and not getattr(trainer, "fast_dev_run", False)
