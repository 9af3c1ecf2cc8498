"""Writing checkpoints atomically, and reading them with clear errors."""

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
    """A checkpoint cannot be written, cannot be read, or is not one of :class:`~lml_iqa.tasks.LMLTask`."""


def read_checkpoint(path: str | Path, map_location: Any = "cpu", *, mmap: bool = False) -> dict[str, Any]:
    """Read a local checkpoint of an :class:`~lml_iqa.tasks.LMLTask`, without executing code in it.

    Args:
        path: The file; ``~`` is expanded.
        map_location: As in :func:`torch.load`.
        mmap: Leave tensors on disk until they are used: for looking at other entries.

    Raises:
        CheckpointError: There is no such file, it is damaged, or it is something else.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        raise CheckpointError(f"{file}: a folder, not a checkpoint; give a file in it, such as checkpoints/best.ckpt")
    if not file.is_file():
        raise CheckpointError(f"{file}: no such checkpoint; give the path of a run's .ckpt file")
    try:
        content = load_torch_file(file, map_location, mmap=mmap)
    except ValueError as error:
        raise CheckpointError(f"{file}: not readable as a checkpoint: {error}; {_CURE}") from error
    if not isinstance(content, Mapping) or not {"state_dict", "lml_iqa"} <= content.keys():
        other = isinstance(content, Mapping) and "pytorch-lightning_version" in content
        kind = "a checkpoint of another LightningModule" if other else "no checkpoint of lml-iqa"
        raise CheckpointError(f"{file}: {kind}; {_CURE}")
    return dict(content)


def is_local(path: Any) -> bool:
    """Whether a checkpoint is a local file, neither open already nor at a remote address."""
    return isinstance(path, (str, os.PathLike)) and "://" not in str(path)


_CURE = "give the .ckpt file of a run (weights alone: --model.pretrained, --model.initial_weights)"


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically, and reads those of :class:`~lml_iqa.tasks.LMLTask` with clear errors.

    Lightning's own IO writes into the system's temporary folder, and copies from there if that is another disk: a kill
    or a full disk then leaves a partial checkpoint in place of the previous one. And it ignores a folder that cannot be
    written. Remote addresses are left to Lightning.
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
            CheckpointError: It cannot be written; a previous one in its place is as it was.
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
