"""Checkpoints that are whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lml_iqa.errors import LMLError


class CheckpointError(LMLError):
    """A checkpoint could not be written."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is whole.

    Lightning's own writes into the system's temporary folder, and copies from there where that is another disk: a kill
    or a full disk then leaves half a checkpoint in the place of the previous one. And where the place may not be
    written, it keeps the previous one without a word. Remote addresses are left to Lightning.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint.

        Raises:
            CheckpointError: It cannot be written; a previous one in its place is as it was.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        whole = Path(path)
        part = whole.with_name(f"{whole.name}.part")
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(whole)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by a RuntimeError
            with suppress(OSError):  # where nothing can be written, there is nothing to remove
                part.unlink(missing_ok=True)
            before = "the one before it is as it was" if whole.exists() else "there was none before it"
            raise CheckpointError(
                f"{whole}: the checkpoint could not be written ({_cause(error)}); {before}. "
                "Make room, or allow writing, and go on from the last whole one with --ckpt_path"
            ) from error


def _cause(error: BaseException) -> str:
    """The system's own words, where it is the cause of the cause."""
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    return str(error.strerror or error) if isinstance(error, OSError) else str(error).splitlines()[0]
