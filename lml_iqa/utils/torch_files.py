"""Reading ``torch.save`` files that may be damaged, foreign or malicious."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch


def load_torch_file(path: Path, map_location: Any = "cpu", *, mmap: bool = False) -> Any:
    """Load a ``torch.save`` file without executing code in it (``weights_only``).

    Args:
        path: An existing file.
        map_location: As in :func:`torch.load`.
        mmap: Leave tensors on disk until they are used, where the file's format allows it.

    Raises:
        ValueError: The file cannot be loaded; the message is a clause that says why.
    """
    try:
        return torch.load(path, map_location, weights_only=True, mmap=mmap and zipfile.is_zipfile(path))
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(_reason(path, error)) from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, OSError):
        return str(error.strerror or error)
    with path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "the file is empty"
    # torch.save writes ZIP archives, whose directory is at the end.
    if start == b"PK\x03\x04" and not (zipfile.is_zipfile(path) and "Unsupported" in str(error)):
        return "the file is cut off or damaged"
    if "Unsupported global" in str(error) or "Unsupported class" in str(error):
        return "it holds Python objects, which are not loaded because loading them could execute code"
    return "it is not a file of torch.save, or it is damaged"
