"""Atomic writing of checkpoints, and reading with clear errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from lml_iqa.errors import LMLError
from lml_iqa.utils.torch_files import load_torch_file


class CheckpointError(LMLError, RuntimeError):
    """A checkpoint cannot be written or read, or does not belong to :class:`~lml_iqa.tasks.LMLTask`."""


def read_checkpoint(path: str | Path, map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """Read a local checkpoint of an :class:`~lml_iqa.tasks.LMLTask`, without executing code in it.

    Args:
        path: The file; ``~`` is expanded.
        map_location: As in :func:`torch.load`.
        mmap: Whether to leave tensors on disk until they are used; for reading other entries.

    Raises:
        CheckpointError: The file is missing, damaged, or not such a checkpoint.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise CheckpointError(
            f"{file}: is a folder, not a checkpoint; give a file in it, such as checkpoints/best.ckpt"
        )
    if not file.is_file():
        raise CheckpointError(f"{file}: no such checkpoint; give the path of a run's .ckpt file")
    try:
        content = load_torch_file(file, map_location, mmap=mmap)
    except ValueError as error:
        raise CheckpointError(f"{file}: cannot be read as a checkpoint: {error}; {_CURE}") from error
    if not isinstance(content, Mapping) or not {"state_dict", "lml_iqa"} <= content.keys():
        other = isinstance(content, Mapping) and "pytorch-lightning_version" in content
        kind = "a checkpoint of another LightningModule" if other else "not a checkpoint of lml-iqa"
        raise CheckpointError(f"{file}: {kind}; {_CURE}")
    return dict(content)


def is_local(path: Any) -> bool:
    """Return whether a checkpoint is a local path, not an open file or a remote address."""
    return isinstance(path, (str, os.PathLike)) and "://" not in str(path)


_CURE = "give the .ckpt file of a run (for weights alone, use --model.pretrained or --model.initial_weights)"


class WholeCheckpointIO(TorchCheckpointIO):
    """Checkpoint IO that writes atomically, and reads checkpoints of :class:`~lml_iqa.tasks.LMLTask` with clear errors.

    Lightning's IO writes to the system's temporary folder and copies from there to other disks, so a kill or a full
    disk leaves a partial checkpoint in place of the previous one. It also ignores folders that are not writable. Remote
    addresses are left to Lightning.
    """

    def load_checkpoint(
        self, path: Any, map_location: Any = lambda storage, _: storage, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint; code in it is not executed unless ``weights_only`` is False.

        Raises:
            CheckpointError: See :func:`read_checkpoint`.
        """
        if weights_only is False or not is_local(path):
            content: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only is not False)
            return content
        return read_checkpoint(path, map_location)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save a checkpoint.

        Raises:
            CheckpointError: The checkpoint cannot be written; a previous file is unchanged.
        """
        if storage_options is not None or not is_local(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        whole = Path(path).expanduser()
        part = whole.with_name(f"{whole.name}.part")
        try:
            whole.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(whole)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            with suppress(OSError):  # nothing to remove if nothing could be written
                part.unlink(missing_ok=True)
            before = "the previous one is unchanged" if whole.exists() else "there is no previous one"
            raise CheckpointError(
                f"{whole}: the checkpoint could not be written ({_cause(error)}), {before}; "
                "free disk space or allow writing, and resume from the last complete checkpoint with --ckpt_path"
            ) from error


def _cause(error: BaseException) -> str:
    """Message of the operating system, if its error is the root cause."""
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    return str(error.strerror or error) if isinstance(error, OSError) else str(error).splitlines()[0]
